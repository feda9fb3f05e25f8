"""`pvboot boot`: the main job."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from pvboot.cli.common import add_source_options, complain, print_json, print_warnings
from pvboot.cli.entry_options import add_entry_options, load_options, menu_chooser, open_guest
from pvboot.errors import UsageError

if TYPE_CHECKING:
    from pvboot.boot import LoadedBoot
    from pvboot.machine.machine import Machine
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
CPU_LIMIT_SECONDS = 600.0  # of a guest that nobody watches
SILENT_SECONDS = 120.0
SHORTEST_IDLE_SECONDS = 10.0


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
    from pvboot.shell.request import PowerControl

    nr_pages = parse_memory(args.memory) * 256
    if args.timeout is not None and args.timeout < -1:
        raise UsageError("impossible --timeout", expected="-1 (wait) or more", found=str(args.timeout))
    if args.shuffle is not None and not 0 <= args.shuffle < 1 << 64:
        raise UsageError("impossible --shuffle", expected="0 to 2^64 - 1", found=str(args.shuffle))
    if args.limit is not None and not args.limit > 0:
        raise UsageError("impossible --limit", expected="more than 0 seconds", found=str(args.limit))
    with open_guest(args) as devices:
        from pvboot.boot import boot_from
        from pvboot.screen.plain import terminal_console

        interactive = not args.no_menu and args.entry is None and sys.stdin.isatty() and sys.stdout.isatty()
        loaded = boot_from(
            devices,
            config=args.config,
            choose=menu_chooser(args, devices),
            options=load_options(args),
            console=terminal_console(sys.stdin, sys.stderr),
            interactive=interactive,
            warn=lambda menu: print_warnings(menu.warnings),
            check=lambda loaded: loaded.layout(nr_pages),
        )
        if isinstance(loaded, PowerControl):
            complain(f"the entry says {loaded.action}")
            return 0
        if args.handoff == "plan":
            return _show_plan(args, loaded, nr_pages)
        machine = _prepare(args, loaded, nr_pages)
    outcome = _run_machine(args, machine)
    return _report(args, loaded, outcome)


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


def _show_plan(args: argparse.Namespace, loaded: LoadedBoot, nr_pages: int) -> int:
    """Lay out and plan as the embedded machine would, and print it."""
    from pvboot.handoff.machine import plan_in_fresh_domain

    plan = plan_in_fresh_domain(loaded.layout(nr_pages))
    if args.json:
        from pvboot.kexec.report import plan_report

        print_json(plan_report(plan))
    else:
        from pvboot.kexec.text import describe

        sys.stdout.write(describe(plan.image, plan))
    return 0


def _prepare(args: argparse.Namespace, loaded: LoadedBoot, nr_pages: int) -> Machine:
    """A machine that stands at its first instruction."""
    from pvboot.handoff.machine import start_by_kexec, start_direct
    from pvboot.machine.machine import Machine

    stream = sys.stderr.buffer if args.json else sys.stdout.buffer

    def show(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    machine = Machine(
        loaded.kernel.width,
        nr_pages,
        strict=not args.lenient,
        frame_seed=args.shuffle,
        output=show,
        interactive=sys.stdin is not None and sys.stdin.isatty(),
    )
    layout = loaded.layout(nr_pages)
    if args.direct:
        start_direct(machine, layout)
    else:
        plan = start_by_kexec(machine, layout)
        if args.verbose:
            from pvboot.kexec.text import describe

            sys.stderr.write(describe(plan.image, plan))
    return machine


def _run_machine(args: argparse.Namespace, machine: Machine) -> Outcome:
    from pvboot.handoff.terminal import guest_keyboard
    from pvboot.machine.outcome import RunLimits

    sys.stdout.flush()
    with guest_keyboard(machine.feed, machine.stop) as watched:
        limits = RunLimits(
            cpu_seconds=args.limit if args.limit is not None else (None if watched else CPU_LIMIT_SECONDS),
            silent_seconds=None if watched else SILENT_SECONDS,
            idle_seconds=None if watched else _idle_limit(args.limit),
        )
        return machine.run(limits, os.fsencode(args.until) if args.until else None)


def _idle_limit(cpu_limit: float | None) -> float:
    """Seconds of sleep without output: a guest that sleeps uses no CPU, so that --limit alone would never end it."""
    return SILENT_SECONDS if cpu_limit is None else min(SILENT_SECONDS, max(cpu_limit, SHORTEST_IDLE_SECONDS))


def _report(args: argparse.Namespace, loaded: LoadedBoot, outcome: Outcome) -> int:
    from pvboot.machine.outcome import describe

    good = outcome.reason == "until" if args.until else outcome.ok or outcome.reason == "stopped"
    if args.json:
        print_json(_document(args, loaded, outcome))
    for line in describe(outcome) if not good or args.verbose else describe(outcome)[:1]:
        complain(line)
    if args.until and not good:
        complain(f"the console never showed {args.until!r}")
    return 0 if good else 1


def _document(args: argparse.Namespace, loaded: LoadedBoot, outcome: Outcome) -> dict[str, Any]:
    request = loaded.request
    return {
        "source": args.source,
        "kernel": request.name,
        "args": os.fsdecode(loaded.cmdline),
        "modules": [module.name for module in request.modules],
        "outcome": {
            "reason": outcome.reason,
            "code": outcome.code,
            "detail": outcome.detail,
            "cpu_seconds": round(outcome.cpu_seconds, 3),
            "first_console_cpu_seconds": outcome.first_console,
            "counters": outcome.counters,
        },
        "console_tail": outcome.console_tail.decode("utf-8", "backslashreplace"),
    }
