"""Options of `pvboot check`: settings of a project, and mending."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from fsdrivers.light import TYPE_CHECKING

if TYPE_CHECKING:
    from pvboot.check.model import CheckOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """--rules-config, --no-ignore, --fix, --fix-links, --diff."""
    rules = parser.add_argument_group("rules of a project")
    rules.add_argument(
        "--rules-config", metavar="FILE", help="severities of rules (pvboot-check.toml beside the source, or here)"
    )
    rules.add_argument(
        "--no-ignore",
        action="store_true",
        help="do not obey the ignore comments of a menu, which a guest may have written",
    )
    fix = parser.add_argument_group("mending (plain menu files only)")
    fix.add_argument("--fix", action="store_true", help="show what can be mended safely, and mend it")
    fix.add_argument("--fix-links", action="store_true", help="with --fix: also mend what a symbolic link leads to")
    fix.add_argument("--diff", action="store_true", help="only show what --fix would change")


def apply(args: argparse.Namespace, options: CheckOptions) -> CheckOptions:
    """Put --no-ignore into the options; settings depend on the source, see `options_for`."""
    from dataclasses import replace

    return replace(options, ignore_comments=not args.no_ignore)


def options_for(args: argparse.Namespace, options: CheckOptions) -> Callable[[str], CheckOptions]:
    """Return a function that adds the settings of a source to the options; a file of settings is read once."""
    from dataclasses import replace

    from pvboot.check.settings import Settings, settings_file

    read: dict[str | None, Settings] = {None: Settings()}

    def of_source(source: str) -> CheckOptions:
        file = settings_file(source, args.rules_config)
        if file is not None and file not in read:
            from pvboot.check.settings_toml import load_settings  # pydantic is slow to import

            read[file] = load_settings(file)
        settings = read[file]
        return replace(
            options,
            severities=(*settings.rules, *options.severities),
            overrides=(*settings.overrides, *options.overrides),
            ignore_comments=options.ignore_comments and settings.ignore_comments,
        )

    return of_source


def mend(args: argparse.Namespace, sources: Sequence[str], options: Callable[[str], CheckOptions]) -> bool:
    """Print the changes of --fix and --diff as a diff (stderr, stdout), then write; returns whether there are any.

    Raises `UsageError` before anything is written if one of the sources is not a plain menu file.
    """
    from pvboot.check.fix import fix_text, fixable_rules, read_plain_menu, unified_diff, write_fixed
    from pvboot.cli.common import complain

    menus = [(source, *read_plain_menu(source, links=args.fix_links or args.diff)) for source in sources]
    changed = False
    for source, data, status in menus:
        fixed = fix_text(data, source, fixable_rules(data, source, options(source)))
        for rule in fixed.left:
            complain(f"{source}: {rule} is not mended: that would change what the menu means")
        if fixed.after == fixed.before:
            continue
        changed = True
        (sys.stdout if args.diff else sys.stderr).write(unified_diff(fixed))
        if not args.diff:
            write_fixed(fixed, status, links=args.fix_links)
            complain(f"{source}: mended {', '.join(fixed.done)}")
    return changed
