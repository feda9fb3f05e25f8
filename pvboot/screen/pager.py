"""Output of a command at the prompt, a screenful at a time if that is wanted."""

from __future__ import annotations

from collections.abc import Callable

from fsdrivers.light import Final
from pvboot.screen.picture import cells
from pvboot.screen.terminal import Terminal
from pvboot.screen.vt100 import CLEAR_TO_END_OF_LINE

MORE: Final = "[ Press a key to go on ]"


class Pager:
    """`out` prints the guest's text, made safe; while `is_on` says so it waits whenever the screen is full."""

    def __init__(self, terminal: Terminal, is_on: Callable[[], bool]) -> None:
        self._terminal, self._is_on = terminal, is_on
        self._rows = 0

    def start(self) -> None:
        """Begin a command's output: what stands on the screen has been read."""
        self._rows = 0

    def out(self, text: str) -> None:
        """Print text; it may end in the middle of a line."""
        if not self._is_on():
            self._terminal.write_safely(text)
            return
        *lines, rest = text.split("\n")
        for line in lines:
            self._make_room(line)
            self._terminal.write_safely(line + "\n")
        self._terminal.write_safely(rest)

    def _make_room(self, line: str) -> None:
        rows, columns = self._terminal.size()
        needed = max(1, -(-len(cells(line)) // columns))
        if self._rows and self._rows + needed >= rows:
            self._terminal.write(MORE)
            self._terminal.key()
            self._terminal.write("\r" + CLEAR_TO_END_OF_LINE)
            self._rows = 0
        self._rows += needed
