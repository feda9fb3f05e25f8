"""The progress of a fleet: a bar on a terminal, else a line for each source if that was asked for; always on stderr."""

from __future__ import annotations

import shutil
import time
from typing import Final, TextIO

from pvboot.check.model import SourceResult, count
from pvboot.safe_text import safe

_CLEAR: Final = "\r\033[K"
REDRAW_SECONDS: Final = 0.1


class Progress:
    """Shows how many sources are done.  `terminal`: draw a bar.  `lines`: print each source's result."""

    def __init__(self, stream: TextIO, total: int, *, terminal: bool, lines: bool) -> None:
        self._stream = stream
        self._total = total
        self._terminal = terminal
        self._lines = lines
        self._done = 0
        self._bad = 0
        self._drawn = 0.0

    def done(self, result: SourceResult) -> None:
        """Count one more source."""
        self._done += 1
        self._bad += result.exit_code != 0
        if self._lines:
            self._say(f"[{self._done}/{self._total}] {safe(result.source)}: {outcome(result)}")
        if self._terminal and (self._done == self._total or time.monotonic() - self._drawn > REDRAW_SECONDS):
            self._drawn = time.monotonic()
            self._stream.write(_CLEAR + bar(self._done, self._total, self._bad, shutil.get_terminal_size().columns))
            self._stream.flush()

    def end(self) -> None:
        """Take the bar away."""
        if self._terminal:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def _say(self, text: str) -> None:
        self._stream.write(f"{_CLEAR if self._terminal else ''}pvboot: {text}\n")
        self._stream.flush()


def outcome(result: SourceResult) -> str:
    """Return a source's result in a few words."""
    if result.error is not None:
        return f"not checked: {safe(result.error.message)}"
    counted = [
        f"{number} {severity}{'' if number == 1 else 's'}"
        for severity, number in count(result.findings).items()
        if number
    ]
    return ", ".join(counted) or "nothing found"


def bar(done: int, total: int, bad: int, columns: int) -> str:
    """Return a line that fits into so many columns."""
    facts = f" {done}/{total}" + (f", {bad} bad" if bad else "")
    width = min(40, columns - len(facts) - 3)
    if width < 5:
        return facts.strip()[: max(0, columns - 1)]
    filled = width * done // max(1, total)
    return f"[{'#' * filled}{'.' * (width - filled)}]{facts}"
