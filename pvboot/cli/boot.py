"""`pvboot boot`: the main job."""

from __future__ import annotations

import argparse
import os
import sys

from fsdrivers.light import TYPE_CHECKING
from pvboot.cli.common import add_source_options, complain, open_guest, print_json
from pvboot.cli.entry_options import add_entry_options, load_options, menu_options
from pvboot.errors import UsageError

if TYPE_CHECKING:
    from pvboot.handoff.machine import MachineOptions
    from pvboot.kexec.relocate import KexecPlan
    from pvboot.loading import LoadedBoot
    from pvboot.machine.outcome import Outcome

HELP = "boot a guest's disk in the embedded PV machine"

DESCRIPTION = """\
Boot a guest: find its menu, show it or take the default, load kernel and ramdisk, plan the domain, and hand over
to the embedded PV machine, whose console is this terminal (Ctrl-] leaves it).
"""
EXAMPLES = """\
examples:
  pvboot boot disk.img                            the menu, then the guest
  pvboot boot disk.img --no-menu --until 'login:' as a test: exit 0 as soon as the text appears
  pvboot boot disk.img --entry 1 --append single  another entry, one more argument
  pvboot boot disk.img --handoff plan             stop before the hand-over and show the plan
"""

DEFAULT_MEMORY = "512M"
MEMORY_LIMIT_MIB = 64 << 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    add_source_options(parser)
    add_entry_options(parser)
    menu = parser.add_argument_group("menu")
    menu.add_argument("--no-menu", action="store_true", help="take the default entry at once")
    menu.add_argument("--timeout", metavar="S", type=int, help="seconds to wait in the menu, instead of the menu's own")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--memory", metavar="SIZE", default=DEFAULT_MEMORY, help=f"MiB, or 64M, 2G ({DEFAULT_MEMORY})")
    machine.add_argument("--until", metavar="TEXT", help="exit 0 as soon as the console shows TEXT, 1 if it never does")
    machine.add_argument("--limit", metavar="SECONDS", type=float, help="CPU seconds that the guest may use, or sleep")
    machine.add_argument("--handoff", choices=["machine", "plan"], default="machine", help="where to hand over to")
    machine.add_argument(
        "--direct", action="store_true", help="start a freshly built domain instead of relocating a loader"
    )
    machine.add_argument("--shuffle", metavar="SEED", type=int, help="give the domain its frames in random order")
    machine.add_argument("--lenient", action="store_true", help="allow page-table uses that Xen refuses")


def run(args: argparse.Namespace) -> int:
    """0 if the guest ended well (or --until was seen), else 1 with the reasons on stderr."""
    nr_pages = parse_memory(args.memory) * 256
    if args.timeout is not None and args.timeout < -1:
        raise UsageError("impossible --timeout", expected="-1 (wait) or more", found=str(args.timeout))
    if args.shuffle is not None and not 0 <= args.shuffle < 1 << 64:
        raise UsageError("impossible --shuffle", expected="0 to 2^64 - 1", found=str(args.shuffle))
    if args.limit is not None and not args.limit > 0:
        raise UsageError("impossible --limit", expected="more than 0 seconds", found=str(args.limit))
    devices = open_guest(args)
    from pvboot.boot import boot
    from pvboot.handoff.plan import plan_text
    from pvboot.kexec.relocate import KexecPlan
    from pvboot.shell.request import PowerControl

    machine = machine_options(args) if args.handoff == "machine" else None
    show = _show_plan if args.verbose else None
    result = boot(devices, menu_options(args, devices), load_options(args), nr_pages, machine, show)
    if isinstance(result, PowerControl):
        complain(f"the entry says {result.action}")
        return 0
    if isinstance(result, KexecPlan):
        sys.stdout.write(plan_text(result.image, result, as_json=args.json))
        return 0
    return _report(args, *result)


def _show_plan(plan: KexecPlan) -> None:
    from pvboot.handoff.plan import plan_text

    sys.stderr.write(plan_text(plan.image, plan, as_json=False))


def parse_memory(text: str) -> int:
    """MiB of "512", "512M", "2G" or "65536K".  Raises `UsageError`."""
    number, unit = text.strip(), "M"
    if number and number[-1].upper() in "KMG":
        number, unit = number[:-1], number[-1].upper()
    if not (number.isascii() and number.isdigit() and len(number) < 12):
        raise UsageError("--memory is not a size", expected="MiB, or a number with K, M or G", found=text)
    mib = int(number) * {"K": 1, "M": 1024, "G": 1 << 20}[unit] // 1024
    if not 1 <= mib <= MEMORY_LIMIT_MIB:
        raise UsageError("impossible --memory", expected=f"1 to {MEMORY_LIMIT_MIB} MiB", found=text)
    return mib


def machine_options(args: argparse.Namespace) -> MachineOptions:
    """The options of the machine; its console is stdout, or stderr beside a JSON document."""
    from pvboot.handoff.machine import MachineOptions

    stream = sys.stderr if args.json else sys.stdout

    def show(data: bytes) -> None:
        stream.flush()  # of what was written as text
        stream.buffer.write(data)
        stream.buffer.flush()

    return MachineOptions(
        output=show,
        interactive=sys.stdin is not None and sys.stdin.isatty(),
        direct=args.direct,
        strict=not args.lenient,
        frame_seed=args.shuffle,
        until=os.fsencode(args.until) if args.until else None,
        cpu_seconds=args.limit,
    )


def _report(args: argparse.Namespace, loaded: LoadedBoot, outcome: Outcome) -> int:
    from pvboot.machine.outcome import describe, summary

    good = outcome.reason == "until" if args.until else outcome.ok or outcome.reason == "stopped"
    if args.json:
        document = {
            "source": args.source,
            "kernel": loaded.kernel.name,
            "args": os.fsdecode(loaded.cmdline),
            "modules": list(loaded.modules),
            "outcome": summary(outcome),
            "console_tail": outcome.console_tail.decode("utf-8", "backslashreplace"),
        }
        print_json(document)
    for line in describe(outcome) if not good or args.verbose else describe(outcome)[:1]:
        complain(line)
    if args.until and not good:
        complain(f"the console never showed {args.until!r}")
    return 0 if good else 1
