"""`pvboot-pygrub`: the trusted side of the boot loader for xl and libxl."""

# ruff: noqa: I001  (quick_start shortens the imports behind it)
from __future__ import annotations

import pvboot.libxl.pygrub.quick_start  # noqa: F401

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from fsdrivers.light import replace
from fsdrivers.light import TYPE_CHECKING

from fsdrivers.blocks import open_source
from pvboot.confine import parent, preload
from pvboot.confine.jobs import (
    DEFAULT_LIMITS,
    NOBODY,
    NOTE,
    TERMINAL,
    TOTAL_LIMIT_BYTES,
    Grants,
    Job,
    Message,
    text_lines,
)
from pvboot.errors import BootError
from pvboot.libxl.program import BOOT_MESSAGES, Program
from pvboot.libxl.pygrub import guest
from pvboot.libxl.pygrub.options import PROGRAM, USAGE, Options, parse
from pvboot.libxl.results import ResultFiles, format_result

if TYPE_CHECKING:
    from pvboot.devices import Devices
    from pvboot.menu import Menu
    from pvboot.shell.session import Choice

program = Program(PROGRAM, USAGE)
READER = Job(
    "pvboot-reader",
    "the reader of the guest's disk",
    "reading the guest's disk",
    {**BOOT_MESSAGES, "args": Message(1 << 20)},
    on_demand=preload.ON_DEMAND,
)
# Somebody who had to be asked again because of a missing module would see the menu twice.
MENU = READER._replace(rights=TERMINAL, on_demand=())
LOOKER = READER._replace(
    messages={"note": NOTE, "warning": NOTE, "text": Message(TOTAL_LIMIT_BYTES, text_lines, final=True)}
)
# Somebody may look at the menu, edit and try for as long as they like.
PERSON_LIMITS = DEFAULT_LIMITS._replace(wall_seconds=None, parse_seconds=DEFAULT_LIMITS.cpu_seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns 0 or 1.  As a program (no `argv`) it ends the process without tidying memory."""
    code = run(list(sys.argv[1:] if argv is None else argv))
    if argv is None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def run(arguments: list[str]) -> int:
    """0, or 1 with one line on stderr."""
    return program.run(lambda: _run(parse(arguments)))


def _run(options: Options) -> None:
    looking = options.list_entries or options.isconfig
    output = sys.stdout.fileno() if options.output is None or looking else os.open(options.output, os.O_WRONLY)
    if looking:
        text = _read_guest(options, LOOKER).get("text")
        if text is None:
            raise BootError("the reader of the guest's disk said nothing")
        sys.stdout.write(str(text))
        return
    with contextlib.ExitStack() as stack:
        files = None if options.not_really else stack.enter_context(_result_files(options))
        interactive = options.interactive and sys.stdin.isatty() and sys.stdout.isatty()
        report = _read_guest(options, MENU if interactive else READER, files)
        args = report.get("args")
        program.hand_over(report, files, args, output, lambda result: format_result(result, options.output_format))


def _result_files(options: Options) -> ResultFiles:
    if options.output_directory is None:
        os.makedirs(options.result_directory, 0o700, exist_ok=True)
    return ResultFiles(options.result_directory)


def _read_guest(options: Options, job: Job, files: ResultFiles | None = None) -> parent.Report:
    """Let the confined reader read the guest, and show what it has to say.  Raises `PvbootError`."""
    source = open_source(options.image, raw=True)  # its bytes are the guest's, so nothing is guessed from them
    disk_fd = next(source.extents(0, 1)).fd
    assert disk_fd is not None
    outputs = () if files is None else (files.kernel, files.ramdisk)
    choose = None
    if job is MENU:
        preload.preload("boot-menu")
        choose = ask
    with _terminal_kept() if job is MENU else contextlib.nullcontext():
        report = parent.run(
            job,
            lambda channel: guest.read_guest(source, options, outputs or None, choose, channel),
            Grants((disk_fd, *outputs), uid=options.runas or NOBODY, confined=not options.no_sandbox),
            PERSON_LIMITS if job is MENU else DEFAULT_LIMITS,
            outputs=outputs,
        )
    verbose = options.verbose or options.debug
    failed = report.get("error") is not None
    program.tell(report, ("note", "warning") if verbose else () if failed else ("warning",), layers=verbose)
    return report


def ask(menu: Menu, devices: Devices) -> Choice:
    """The menu on the terminal.  A menu that names no time to wait waits a second, as with pygrub."""
    from pvboot.screen import choose

    seconds = guest.DEFAULT_SECONDS if menu.timeout is None or menu.timeout < 1 else menu.timeout
    return choose(replace(menu, timeout=seconds, hidden=False), devices, sys.stdin, sys.stdout)


@contextlib.contextmanager
def _terminal_kept() -> Iterator[None]:
    """Give the terminal's modes back however the reader ends."""
    import termios

    saved = termios.tcgetattr(0)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
