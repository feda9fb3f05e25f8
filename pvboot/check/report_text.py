"""Findings for people, as a compiler prints them: the place, what is wrong, the line, a caret under what is meant."""

from __future__ import annotations

import unicodedata
from typing import Final, TextIO

from pvboot.check.model import SEVERITIES, Finding, SourceResult, count
from pvboot.check.report import ReportSettings
from pvboot.safe_text import safe

TAB_WIDTH: Final = 8
SHOWN_CELLS: Final = 120  # of a long source line, around what is meant
CELLS_BEFORE: Final = 40
MESSAGE_CHARACTERS: Final = 1000

_COLOURS: Final = {"error": "\033[1;31m", "warning": "\033[1;35m", "note": "\033[1;36m"}
_BOLD: Final = "\033[1m"
_CARET: Final = "\033[1;32m"
_PLAIN: Final = "\033[0m"


def reporter(stream: TextIO, settings: ReportSettings) -> TextReporter:
    """Return a reporter that writes each source as it comes."""
    return TextReporter(stream, settings)


class TextReporter:
    """Prints findings source by source and a summary line at the end."""

    def __init__(self, stream: TextIO, settings: ReportSettings) -> None:
        self._stream = stream
        self._settings = settings
        self._counts = dict.fromkeys(SEVERITIES, 0)
        self._sources = 0
        self._failed = 0

    def add(self, result: SourceResult) -> None:
        """Print one source's findings, or why it could not be checked."""
        self._sources += 1
        if result.error is not None:
            self._failed += 1
            message = safe(result.error.message[:MESSAGE_CHARACTERS])
            self._write(f"{self._in(_COLOURS['error'], 'not checked:')} {message}")
        for severity, number in count(self._settings.listed(result.findings)).items():
            self._counts[severity] += number
        for finding in self._settings.listed(result.findings):
            self._print(result, finding)

    def end(self) -> None:
        """Print how many findings there are of each severity."""
        parts = [f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in self._counts.items()]
        sources = f"{self._sources} source{'' if self._sources == 1 else 's'}"
        failed = f", {self._failed} not checked" if self._failed else ""
        self._write(f"{sources}{failed}: {', '.join(parts)}")

    def _print(self, result: SourceResult, finding: Finding) -> None:
        place = finding.file if finding.file.startswith(result.source) else f"{result.source}: {finding.file}"
        if finding.line:
            place += f":{finding.line}:{finding.column}"
        severity = self._in(_COLOURS[finding.severity], f"{finding.severity}:")
        message = safe(finding.message[:MESSAGE_CHARACTERS])
        self._write(f"{self._in(_BOLD, safe(place) + ':')} {severity} {message} [{finding.rule}]")
        text = result.excerpts.get((finding.file, finding.line)) if finding.line else None
        if text is not None:
            line, marks = excerpt(text, finding.column, finding.end_column)
            if line.strip():
                self._write(f"    {line}\n    {self._in(_CARET, marks)}")

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._settings.colour and text else text

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")


def excerpt(text: str, column: int, end_column: int) -> tuple[str, str]:
    """Return a source line as a terminal shows it, and the line of marks below it.

    Tabs become blanks, what does not print is escaped, wide letters take two cells, and of a long line only the part
    around the marks is shown.
    """
    pieces: list[str] = []
    starts: list[int] = []  # the cell at which each character begins
    cell = 0
    for character in text:
        shown = " " * (TAB_WIDTH - cell % TAB_WIDTH) if character == "\t" else safe(character)
        starts.append(cell)
        pieces.append(shown)
        cell += cells(shown)
    starts.append(cell)
    first = starts[min(max(column - 1, 0), len(text))]
    behind = max(starts[min(max(end_column - 1, 0), len(text))], first + 1)
    return _window(pieces, starts, first, behind)


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _window(pieces: list[str], starts: list[int], first: int, behind: int) -> tuple[str, str]:
    if starts[-1] <= SHOWN_CELLS:
        return "".join(pieces).rstrip(), " " * first + "^" + "~" * (behind - first - 1)
    left = max(0, first - CELLS_BEFORE)
    kept = [i for i in range(len(pieces)) if left <= starts[i] and starts[i + 1] <= left + SHOWN_CELLS]
    if not kept:
        return "", ""
    origin, end = starts[kept[0]], starts[kept[-1] + 1]
    before, after = "..." if origin else "", "..." if end < starts[-1] else ""
    line = before + "".join(pieces[i] for i in kept) + after
    width = max(1, min(behind, end) - first)
    return line, " " * (len(before) + first - origin) + "^" + "~" * (width - 1)
