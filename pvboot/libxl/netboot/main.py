"""The trusted side of `pvboot-netboot`: makes the files, starts the child that fetches, tells libxl."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from pvboot import sandbox
from pvboot.errors import BootError, PvbootError
from pvboot.libxl.netboot.options import PROGRAM, Options, parse
from pvboot.libxl.pygrub.output_files import make_outputs, remove, write_all
from pvboot.libxl.pygrub.results import Result, format_result, too_long_for_libxl
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from pvboot.libxl.netboot.sources import Source

FETCH_LIMITS = sandbox.Limits(think_seconds=600, cpu_seconds=600, memory_bytes=1 << 30, wall_seconds=3600)
LINE_LIMIT = 2000


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The program; ends the process."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(arguments: list[str]) -> int:
    """0, or 1 with one line on stderr."""
    options = parse(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    try:
        _run(options)
        return 0
    except PvbootError as err:
        if options.debug:
            raise
        complain(str(err))
    except OSError as err:
        if options.debug:
            raise
        complain(f"{err.strerror or err}: {err.filename}" if err.filename else f"{err.strerror or err}")
    except KeyboardInterrupt:
        complain("interrupted")
    return 1


def _terminated(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def complain(text: str) -> None:
    """One line on stderr, harmless to the terminal."""
    line = safe(text if len(text) <= LINE_LIMIT else text[:LINE_LIMIT] + "...")
    print(f"{PROGRAM}: {line}", file=sys.stderr, flush=True)


def _run(options: Options) -> None:
    from pvboot.libxl.netboot.sources import open_location

    source = open_location(options)
    output = sys.stdout.fileno() if options.output is None else os.open(options.output, os.O_WRONLY)
    with contextlib.ExitStack() as undo:
        directory = options.output_directory.rstrip("/") + "/"
        os.makedirs(directory, 0o700, exist_ok=True)
        names, outputs = make_outputs(directory, undo)
        messages = _fetch(source, options, outputs)
        if "kernel" not in messages:
            raise BootError("the child that fetches gave no kernel")
        has_ramdisk = "ramdisk" in messages
        result = Result(names[0], names[1] if has_ramdisk else None, options.args)
        data = answer(result, options.output_format)
        if too_long_for_libxl(data):
            complain("warning: libxl drops an argument string of more than 8 KiB")
        write_all(output, data)
        if not has_ramdisk:
            remove(names[1])
        undo.pop_all()


def answer(result: Result, output_format: str) -> bytes:
    """What the toolstack is told.  The form for old toolstacks is xenpvnetboot's, which quotes otherwise than pygrub.

    Raises `BootError` for values that the format cannot carry.
    """
    if output_format != "sxp":
        return format_result(result, output_format)
    text = b"linux (kernel " + os.fsencode(str(result.kernel)) + b")"
    if result.ramdisk:
        text += b"(ramdisk " + os.fsencode(result.ramdisk) + b")"
    if result.args:
        if b'"' in result.args or b"\\" in result.args:
            raise BootError("the format sxp cannot carry these --args: they hold a quotation mark or a backslash")
        text += b'(args "' + result.args + b'")'
    return text


def _fetch(source: Source, options: Options, outputs: tuple[int, int]) -> dict[str, bytes]:
    """What the child found; raises `BootError` with its reason."""
    sys.stdout.flush()
    confined, network, keep = source.rights
    report = sandbox.run(
        _job(source, outputs),
        keep=(*keep, *outputs),
        outputs=outputs,
        limits=FETCH_LIMITS if network else sandbox.Limits(),
        uid=options.runas or None,
        confined=confined,
        network=network,
    )
    messages = dict(report.messages)
    for name, value in report.messages:
        if (name == "warning" or (name == "note" and options.verbose)) and not options.quiet:
            complain(f"{name}: {value.decode('utf-8', 'surrogateescape')}")
    if options.verbose:
        complain(f"sandbox: {', '.join(report.layers) or 'off'}")
    if "error" in messages:
        raise BootError(messages["error"].decode("utf-8", "surrogateescape"))
    return messages


def _job(source: Source, outputs: tuple[int, int]) -> Callable[[sandbox.Channel], None]:
    def job(channel: sandbox.Channel) -> None:
        try:
            source.deliver(outputs, channel)
        except PvbootError as err:
            channel.send("error", str(err))
        except OSError as err:
            channel.send("error", f"{err.filename or 'input or output'}: {err.strerror or err}")

    return job
