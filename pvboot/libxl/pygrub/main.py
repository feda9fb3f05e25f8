"""`pvboot-pygrub`: the trusted side of the boot loader for xl and libxl."""

# ruff: noqa: I001  (quick_start shortens the imports behind it)
from __future__ import annotations

import pvboot.libxl.pygrub.quick_start  # noqa: F401

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from fsdrivers.blocks import open_source
from pvboot import sandbox
from pvboot.errors import BootError, PvbootError
from pvboot.libxl.pygrub import guest
from pvboot.libxl.pygrub.options import PROGRAM, USAGE, Options, Stop, parse
from pvboot.libxl.pygrub.output_files import make_outputs, write_all
from pvboot.libxl.pygrub.results import Result, format_result, too_long_for_libxl
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource
    from pvboot.devices import Devices
    from pvboot.menu import Menu
    from pvboot.shell.session import Choice

NOBODY = 65534
# Somebody may look at the menu, edit and try for as long as they like.
PERSON_LIMITS = sandbox.Limits(wall_seconds=None, think_seconds=sandbox.Limits().cpu_seconds)
LINE_LIMIT = 2000


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns 0 or 1.  As a program (no `argv`) it ends the process without tidying memory."""
    code = run(list(sys.argv[1:] if argv is None else argv))
    if argv is None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def run(arguments: list[str]) -> int:
    """Every failure is one line on stderr and exit code 1."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for the process's life)
    try:
        options = parse(arguments)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminated)
        _run(options)
        return 0
    except Stop as stop:
        if stop.message:
            complain(stop.message)
        if stop.usage:
            print(USAGE, file=sys.stderr)
        return stop.code
    except PvbootError as err:
        complain(str(err))
    except OSError as err:
        complain(f"{err.strerror or err}: {err.filename}" if err.filename else f"{err.strerror or err}")
    except KeyboardInterrupt:
        complain("interrupted")
    return 1


def _terminated(number: int, _frame: object) -> NoReturn:
    raise Stop(1, f"ended by signal {number}")


def complain(text: str) -> None:
    """One line on stderr, harmless to the terminal."""
    line = safe(text if len(text) <= LINE_LIMIT else text[:LINE_LIMIT] + "...")
    print(f"{PROGRAM}: {line}".encode("utf-8", "backslashreplace").decode("utf-8"), file=sys.stderr, flush=True)


def _run(options: Options) -> None:
    source = _open_image(options)
    copying = not (options.list_entries or options.not_really or options.isconfig)
    looking = options.list_entries or options.isconfig
    output = sys.stdout.fileno() if options.output is None or looking else os.open(options.output, os.O_WRONLY)
    with contextlib.ExitStack() as undo:
        names, outputs = _make_outputs(options, undo) if copying else (None, None)
        messages = _read_guest(source, options, outputs)
        text = messages.get("text")
        if text is not None:
            sys.stdout.write(text.decode("utf-8", "backslashreplace"))
            return
        if "kernel" not in messages:
            raise BootError("the reader of the guest's disk gave no kernel")
        has_ramdisk = "ramdisk" in messages
        result = Result(
            names[0] if names else None, names[1] if names and has_ramdisk else None, messages.get("args", b"")
        )
        data = format_result(result, options.output_format)
        if too_long_for_libxl(data):
            complain("warning: libxl drops an argument string of more than 8 KiB")
        sys.stdout.flush()
        write_all(output, data)
        if names and not has_ramdisk:
            os.unlink(names[1])
        undo.pop_all()


def _open_image(options: Options) -> BlockSource:
    """The guest's disk, read-only.  Its bytes are the guest's, so nothing is guessed from them."""
    return open_source(options.image, raw=True)


def _make_outputs(options: Options, undo: contextlib.ExitStack) -> tuple[tuple[str, str], guest.Outputs]:
    """Both result files, open; `undo` removes them."""
    directory = options.result_directory
    if options.output_directory is None:
        os.makedirs(directory, 0o700, exist_ok=True)
    return make_outputs(directory, undo)


# --- the reader -------------------------------------------------------------------------------------------


def _read_guest(source: BlockSource, options: Options, outputs: guest.Outputs | None) -> dict[str, bytes]:
    """What the confined reader found; its notes are shown with -v, its error raised."""
    looking = options.list_entries or options.isconfig
    interactive = options.interactive and not looking and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        _import_everything()
    result_files = outputs or ()
    disk_fd = next(source.extents(0, 1)).fd
    assert disk_fd is not None

    def job(channel: sandbox.Channel) -> None:
        guest.read_guest(source, options, outputs, ask if interactive else None, channel)

    with _terminal_kept(interactive):
        report = sandbox.run(
            job,
            keep=(disk_fd, *result_files),
            outputs=result_files,
            limits=PERSON_LIMITS if interactive else sandbox.Limits(),
            uid=options.runas or NOBODY,
            terminal=interactive,
            confined=options.sandbox,
        )
    messages = dict(report.messages)
    if options.verbose or options.debug:
        _tell(report)
    if "error" in messages:
        raise BootError(messages["error"].decode("utf-8", "surrogateescape"))
    if not (options.verbose or options.debug):
        for name, value in report.messages:
            if name == "warning":
                complain("warning: " + value.decode("utf-8", "surrogateescape"))
    return messages


def _tell(report: sandbox.Report) -> None:
    for name, value in report.messages:
        if name in ("note", "warning"):
            complain(f"{name}: {value.decode('utf-8', 'surrogateescape')}")
    complain(f"sandbox: {', '.join(report.layers) or 'off'}")
    for missing in report.missing:
        complain(f"sandbox: missing: {missing}")
    complain(
        f"reader: {report.cpu_seconds * 1000:.0f} ms CPU, {report.max_rss_bytes >> 20} MiB, "
        f"started {report.children} time(s)"
    )


def ask(menu: Menu, devices: Devices) -> Choice:
    """The menu on the terminal.  A menu that names no time to wait waits a second, as with pygrub."""
    from pvboot.screen import choose

    seconds = DEFAULT_SECONDS if menu.timeout is None or menu.timeout < 1 else menu.timeout
    return choose(replace(menu, timeout=seconds, hidden=False), devices, sys.stdin, sys.stdout)


DEFAULT_SECONDS = guest.DEFAULT_SECONDS


def _import_everything() -> None:
    """A person at the menu would see it again if the reader had to start over for a module."""
    import importlib

    from pvboot.menu.dialects import DIALECTS
    from pvboot.screen import SCREEN_MODULES

    for module in (*SCREEN_MODULES, "pvboot.shell.interpreter", *(dialect.module for dialect in DIALECTS)):
        importlib.import_module(module)


@contextlib.contextmanager
def _terminal_kept(interactive: bool) -> Iterator[None]:
    """The terminal's modes are given back however the reader ends."""
    if not interactive:
        yield
        return
    import termios

    saved = termios.tcgetattr(0)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
