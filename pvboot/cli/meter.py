"""A progress line on the terminal for slow transfers."""

from __future__ import annotations

import time
from collections.abc import Callable

from fsdrivers.light import Final, TextIO
from pvboot.fetch.settings import Progress
from pvboot.safe_text import safe

SILENT_SECONDS: Final = 1.0  # a short transfer shows nothing
STEP_SECONDS: Final = 0.2
BAR_WIDTH: Final = 30
NAME_WIDTH: Final = 40


def meter_for(stream: TextIO) -> Callable[[str], Progress | None]:
    """Return a maker of meters on `stream`, which makes none if that is not a terminal."""
    return (lambda name: _Meter(stream, name)) if stream.isatty() else (lambda _name: None)


class _Meter:
    """A bar, drawn at most five times a second and wiped when the transfer is complete."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = safe(name[-NAME_WIDTH:])
        self._next = time.monotonic() + SILENT_SECONDS
        self._shown = False

    def __call__(self, received: int, total: int | None) -> None:
        done = received == total
        now = time.monotonic()
        if done and self._shown:
            self._shown = False
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        elif not done and now >= self._next:
            self._next, self._shown = now + STEP_SECONDS, True
            filled = BAR_WIDTH * received // total if total else 0
            bar = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {100 * received // total:3d} %" if total else ""
            self._stream.write(f"\r\x1b[K{self._name} {bar} {received / 1e6:.1f} MB")
            self._stream.flush()
