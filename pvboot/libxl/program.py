"""Parts that the boot loaders share: one line for every end, the child's messages, the answer to libxl."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping

from fsdrivers.light import Final, NoReturn
from pvboot.confine.jobs import NOTE, Message
from pvboot.confine.parent import Report
from pvboot.errors import BootError, PvbootError
from pvboot.libxl.results import FILE_LIMIT_BYTES, Result, ResultFiles, too_long_for_libxl, write_all
from pvboot.safe_text import safe

LINE_LIMIT = 2000
# What a child may say that puts kernel and ramdisk into the open result files.
BOOT_MESSAGES: Final[Mapping[str, Message]] = {
    "note": NOTE,
    "warning": NOTE,
    "ramdisk": Message(),
    "kernel": Message(final=True),
}


class Stop(Exception):  # noqa: N818 (it also ends a run that went well)
    """End with this exit code; `message` is one line for stderr, `usage` adds the usage line."""

    def __init__(self, code: int, message: str = "", *, usage: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.usage = usage


class Program:
    """A boot loader by its name."""

    def __init__(self, name: str, usage: str = "") -> None:
        self.name = name
        self.usage = usage

    def run(self, work: Callable[[], object], *, debug: bool = False) -> int:
        """Do the work; every failure is one line on stderr and exit code 1, with `debug` a traceback."""
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # the caller closed it
                setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for the process's life)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminated)
        try:
            work()
            return 0
        except Stop as stop:
            if stop.message:
                self.complain(stop.message)
            if stop.usage:
                print(self.usage, file=sys.stderr)
            return stop.code
        except (PvbootError, OSError) as err:
            if debug:
                raise
            if isinstance(err, PvbootError):
                self.complain(str(err))
            else:
                self.complain(f"{err.strerror or err}: {err.filename}" if err.filename else f"{err.strerror or err}")
        except KeyboardInterrupt:
            self.complain("interrupted")
        return 1

    def complain(self, text: str) -> None:
        """Print one line on stderr, harmless to the terminal."""
        line = safe(text if len(text) <= LINE_LIMIT else text[:LINE_LIMIT] + "...")
        print(f"{self.name}: {line}".encode("utf-8", "backslashreplace").decode("utf-8"), file=sys.stderr, flush=True)

    def tell(self, report: Report, kinds: Iterable[str], *, layers: bool) -> None:
        """Print what the child said of those kinds, and with `layers` what held it and what it used.

        Raises `BootError` if it failed.
        """
        for name, value in report.messages:
            if name in kinds:
                self.complain(f"{name}: {value}")
        if layers:
            self.complain(f"sandbox: {', '.join(report.layers) or 'off'}")
            for missing in report.missing:
                self.complain(f"sandbox: missing: {missing}")
            self.complain(
                f"reader: {report.cpu_seconds * 1000:.0f} ms CPU, {report.max_rss_bytes >> 20} MiB, "
                f"started {report.children} time(s)"
            )
        if (error := report.get("error")) is not None:
            raise BootError(str(error))

    def hand_over(
        self, report: Report, files: ResultFiles | None, args: object, output: int, to_bytes: Callable[[Result], bytes]
    ) -> None:
        """Tell libxl what the child found, and keep the files.

        Raises `BootError` if there is no kernel, or something that the form cannot carry.
        """
        if report.get("kernel") is None:
            raise BootError("the child that reads gave no kernel")
        has_ramdisk = report.get("ramdisk") is not None
        kernel = ramdisk = None
        if files is not None:
            for what, fd in (("kernel", files.kernel), ("ramdisk", files.ramdisk)):
                size = os.fstat(fd).st_size
                if size > FILE_LIMIT_BYTES or not (size or what == "ramdisk"):
                    raise BootError(f"the child that reads left an impossible {what}", found=f"{size} bytes")
            kernel, ramdisk = files.names[0], files.names[1] if has_ramdisk else None
        data = to_bytes(Result(kernel, ramdisk, args if isinstance(args, bytes) else b""))
        if too_long_for_libxl(data):
            self.complain("warning: libxl drops an argument string of more than 8 KiB")
        sys.stdout.flush()
        write_all(output, data)
        if files is not None:
            files.keep(ramdisk=has_ramdisk)


def _terminated(number: int, _frame: object) -> NoReturn:
    raise Stop(1, f"ended by signal {number}")
