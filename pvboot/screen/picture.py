"""A screen as plain data: what stands in each cell.  How it gets onto a terminal is `vt100`'s matter."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from fsdrivers.light import TypeAlias, dataclass
from pvboot.safe_text import safe

MARKS_PER_CELL = 2  # combining marks that are kept on one character

Cell: TypeAlias = tuple[str, bool]
"""Text and whether it is shown reversed.  A wide character fills its cell and "" in the next one."""

BLANK: Cell = (" ", False)


@dataclass(frozen=True, slots=True)
class Picture:
    """`rows` of equal length; the cursor stands at (row, column), both from 0."""

    rows: tuple[tuple[Cell, ...], ...]
    cursor: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.rows[0])


class Canvas:
    """A picture while it is drawn; what lies outside is lost."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._cells = [[BLANK] * columns for _ in range(rows)]

    def put(self, row: int, column: int, text: str | Sequence[str], *, reverse: bool = False) -> None:
        """Text, made harmless, or ready cells."""
        if 0 <= row < self.rows:
            line = self._cells[row]
            for at, cell in enumerate(cells(text) if isinstance(text, str) else text, column):
                if 0 <= at < self.columns:
                    line[at] = (cell, reverse)

    def picture(self, cursor: tuple[int, int]) -> Picture:
        """Return the drawing, with the cursor moved inside."""
        row, column = min(cursor[0], self.rows - 1), min(cursor[1], self.columns - 1)
        return Picture(tuple(map(tuple, self._cells)), (row, column))


def cells(text: str) -> list[str]:
    """One string for each column the text takes; controls are escaped, so that none of them reaches a terminal."""
    text = safe(text)
    if text.isascii():
        return list(text)
    out: list[str] = []
    for character in text:
        if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
            _add_mark(out, character)
        else:
            out.append(character)
            if unicodedata.east_asian_width(character) in "WF":
                out.append("")
    return out


def _add_mark(out: list[str], mark: str) -> None:
    if not out:
        out.append(" ")
    at = len(out) - 2 if out[-1] == "" else len(out) - 1
    if len(out[at]) <= MARKS_PER_CELL:
        out[at] += mark


def window(line: Sequence[str], first: int, columns: int) -> list[str]:
    """`columns` cells of a line from `first` on, padded; `<` and `>` stand where something is cut off."""
    seen = list(line[first : first + columns])
    seen += [" "] * (columns - len(seen))
    if seen and seen[0] == "":  # the right half of a wide character
        seen[0] = " "
    if first + columns < len(line) and line[first + columns] == "":
        seen[-1] = " "
    if first > 0:
        _replace(seen, 0, "<")
    if first + columns < len(line):
        _replace(seen, columns - 1, ">")
    return seen


def _replace(seen: list[str], at: int, marker: str) -> None:
    """Put a marker into a cell; the other half of a wide character there goes, too."""
    if seen[at] == "" and at > 0:
        seen[at - 1] = " "
    if at + 1 < len(seen) and seen[at + 1] == "":
        seen[at + 1] = " "
    seen[at] = marker
