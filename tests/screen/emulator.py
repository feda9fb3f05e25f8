"""A terminal emulator (pyte) as the judge of what a person would see."""

from __future__ import annotations

import pyte


class Emulator:
    """`feed` what a program writes, look at `rows`."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)

    def feed(self, data: str | bytes) -> None:
        self._stream.feed(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)

    @property
    def rows(self) -> list[str]:
        """The rows without blanks at their ends."""
        return [row.rstrip() for row in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def cursor(self) -> tuple[int, int]:
        return self.screen.cursor.y, self.screen.cursor.x

    @property
    def highlighted(self) -> list[str]:
        """The reversed part of every row that has one."""
        parts = []
        for row in range(self.screen.lines):
            cells = [self.screen.buffer[row][column] for column in range(self.screen.columns)]
            if any(cell.reverse for cell in cells):
                parts.append("".join(cell.data for cell in cells if cell.reverse).strip())
        return parts
