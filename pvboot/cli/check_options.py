"""Options of `pvboot check`: sources, report, questions about rules."""

from __future__ import annotations

import argparse
from dataclasses import replace

from fsdrivers.light import TYPE_CHECKING
from pvboot.cli.common import add_guest_options

if TYPE_CHECKING:
    from pvboot.check.model import CheckOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """SOURCE..., --disk, --config, --format, --severity and the questions about rules."""
    parser.add_argument("sources", metavar="SOURCE", nargs="*", help="menu file, disk image, block device or directory")
    add_guest_options(parser)
    parser.add_argument("--text-only", action="store_true", help="look at the menu's text alone, not at any file")
    report = parser.add_argument_group("report")
    report.add_argument("--format", choices=_formats(), default="text", help="form of the report (text)")
    report.add_argument(
        "--severity", choices=("error", "warning", "note"), default="note", help="list nothing milder than this (note)"
    )
    rules = parser.add_argument_group("rules")
    rules.add_argument("--explain", metavar="RULE", help="print the page about a rule and leave")
    rules.add_argument("--list-rules", action="store_true", help="print every rule and leave")


def apply(args: argparse.Namespace, options: CheckOptions) -> CheckOptions:
    """Put these arguments into the options."""
    depth = "text" if args.text_only else options.depth
    return replace(options, disks=tuple(args.disk), config=args.config, depth=depth)


def _formats() -> tuple[str, ...]:
    from pvboot.check.report import FORMATS

    return tuple(FORMATS)
