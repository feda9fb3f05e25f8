"""Options of `pvboot check`: how deep it goes, and the loader and hypervisor it judges for."""

from __future__ import annotations

import argparse
from dataclasses import replace

from fsdrivers.light import TYPE_CHECKING
from pvboot.errors import UsageError

if TYPE_CHECKING:
    from pvboot.check.model import CheckOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """--target, --memory, --plan, --run, --until, --limit."""
    group = parser.add_argument_group("depth")
    group.add_argument(
        "--target",
        metavar="KEY=VALUE,...",
        help="judge as this loader and hypervisor would: loader=pvboot|pygrub|pv-grub|pvgrub2, "
        "xen=VERSION, arch=x86_64|x86_32p",
    )
    group.add_argument("--memory", metavar="SIZE", help="what the guest will have: MiB, or 64M, 2G")
    group.add_argument("--plan", action="store_true", help="also lay out every entry and plan its relocation")
    group.add_argument(
        "--run", action="store_true", help="also start every entry in the embedded machine until its first console line"
    )
    group.add_argument("--until", metavar="TEXT", help="with --run: wait for TEXT on the console instead")
    group.add_argument("--limit", metavar="SECONDS", type=float, help="with --run: CPU seconds an entry may use (60)")


def apply(args: argparse.Namespace, options: CheckOptions) -> CheckOptions:
    """Put these arguments into the options.  Raises `UsageError`."""
    if (args.plan or args.run) and options.depth == "text":
        raise UsageError("--plan and --run look at more than the text", expected="not with --text-only")
    if not args.run and (args.until is not None or args.limit is not None):
        raise UsageError("--until and --limit belong to --run")
    if args.limit is not None:
        if not 0 < args.limit <= 86_400:
            raise UsageError("impossible --limit", expected="seconds, more than 0", found=str(args.limit))
        options = replace(options, run_seconds=args.limit)
    if args.target is not None:
        from pvboot.check.target import parse_target

        options = replace(options, target=parse_target(args.target))
    if args.memory is not None:
        from pvboot.cli.boot import parse_memory

        options = replace(options, memory_mib=parse_memory(args.memory))
    depth = "run" if args.run else "plan" if args.plan else options.depth
    return replace(options, depth=depth, until=args.until)
