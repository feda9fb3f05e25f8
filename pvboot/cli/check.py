"""`pvboot check`: find what would go wrong before the guest meets it.

Options stand in modules of their own, one row in `OPTION_MODULES` each: `add_options(parser)` declares them and
`apply(args, options)` puts them into the `CheckOptions`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from fsdrivers.light import TYPE_CHECKING
from pvboot.errors import UsageError

if TYPE_CHECKING:
    from pvboot.check.model import CheckOptions, SourceResult

HELP = "find what is wrong with a guest's boot menu and all it leads to"

DESCRIPTION = """\
Check boot menus and everything they lead to, without booting: every menu of every source, every entry.
Exit code: 0 nothing at error level, 1 an error was found, 3 a source is damaged or cannot be read, 4 network
trouble; of several sources the highest.
"""
EXAMPLES = """\
examples:
  pvboot check disk.img                      what this guest would stumble over
  pvboot check menu.lst grub.cfg             plain menu files
  pvboot check --severity error *.img        only what stops a boot
  pvboot check --format json disk.img | jq '.summary'
  pvboot check --explain crlf-line-ends      what a rule means
"""

OPTION_MODULES = (
    "pvboot.cli.check_options",
    "pvboot.cli.check_depth",
    "pvboot.cli.check_rules",
    "pvboot.cli.check_fleet",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of all modules."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    for name in OPTION_MODULES:
        import_module(name).add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Return the worst exit code of the sources."""
    from pvboot.cli import check_fleet, check_rules

    if args.explain is not None:
        return _explain(args.explain)
    if args.list_rules:
        return _list_rules()
    if not args.sources:
        raise UsageError("nothing to check", expected="at least one SOURCE")
    if args.disk and len(args.sources) > 1:
        raise UsageError("--disk belongs to one guest", expected="one SOURCE", found=str(len(args.sources)))
    sources = check_fleet.expand(args)
    options = check_rules.options_for(args, options_of(args))
    if args.fix or args.diff:
        changed = check_rules.mend(args, sources, options)
        if args.diff:
            return int(changed)
    if check_fleet.is_fleet(args, sources):
        return report(args, check_fleet.fleet_results(args, sources, options))
    return report(args, results(sources, options))


def options_of(args: argparse.Namespace) -> CheckOptions:
    """Make the options of the command line, module by module.  Raises `UsageError`."""
    from pvboot.check.model import DEFAULTS

    options = DEFAULTS
    for name in OPTION_MODULES:
        options = import_module(name).apply(args, options)
    return options


def results(sources: Iterable[str], options: Callable[[str], CheckOptions]) -> Iterator[SourceResult]:
    """Check the sources one after the other."""
    from pvboot.check.engine import check_source

    return (check_source(source, options(source)) for source in sources)


def report(args: argparse.Namespace, found: Iterable[SourceResult]) -> int:
    """Print the results as they come; returns the worst exit code."""
    from pvboot.check.report import ReportSettings, reporter
    from pvboot.cli import check_fleet

    colour = args.format == "text" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    writer = reporter(args.format, sys.stdout, ReportSettings(args.severity, colour))
    worst = 0
    page = check_fleet.Page(args.html)
    for result in found:
        writer.add(result)
        page.add(result)
        sys.stdout.flush()
        worst = max(worst, result.exit_code)
    writer.end()
    page.write()
    return worst


def _explain(rule_id: str) -> int:
    from pvboot.check.explain import page

    sys.stdout.write(page(rule_id))
    return 0


def _list_rules() -> int:
    from pvboot.check.api import RULES
    from pvboot.check.rules import load_rules

    load_rules()
    width = max(map(len, RULES))
    for rule in sorted(RULES.values(), key=lambda rule: rule.id):
        print(f"{rule.id:<{width}}  {rule.severity:<7}  {rule.summary}")
    return 0
