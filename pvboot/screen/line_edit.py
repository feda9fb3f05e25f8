"""Editing one line: keys in, text and cursor out.  The keys are GRUB's, which are those of a shell."""

from __future__ import annotations

from fsdrivers.light import dataclass, field
from pvboot.screen.keys import BACKSPACE, DELETE, DOWN, END, HOME, LEFT, RIGHT, UP
from pvboot.screen.picture import cells, window

LINE_LIMIT = 1600  # characters that GRUB lets one type
HISTORY_LIMIT = 100

_NAMES = {HOME: "A", LEFT: "B", DELETE: "D", END: "E", RIGHT: "F", BACKSPACE: "H", DOWN: "N", UP: "P"}


@dataclass(slots=True)
class LineEditor:
    """One line; `history` holds earlier ones, the newest last, and `limit` the characters that it may have."""

    text: str = ""
    history: list[str] = field(default_factory=list)
    limit: int = LINE_LIMIT
    cursor: int = -1
    _killed: str = ""
    _recalled: int = 0  # lines back in the history
    _draft: str = ""  # what was typed before going back

    def __post_init__(self) -> None:
        if self.cursor < 0:
            self.cursor = len(self.text)

    def press(self, key: str) -> None:
        """Obey a key; one without meaning changes nothing."""
        letter = _NAMES.get(key) or (chr(ord(key) | 0x40) if len(key) == 1 and key < " " else "")
        if letter in ("P", "N"):
            self._recall(1 if letter == "P" else -1)
        elif letter in ("A", "E", "B", "F"):
            self.cursor = {
                "A": 0,
                "E": len(self.text),
                "B": max(0, self.cursor - 1),
                "F": min(len(self.text), self.cursor + 1),
            }[letter]
        elif letter == "H" and self.cursor:
            self._cut(self.cursor - 1, self.cursor)
        elif letter == "D":
            self._cut(self.cursor, self.cursor + 1)
        elif letter == "K":
            self._killed = self._cut(self.cursor, len(self.text))
        elif letter == "U":
            self._killed = self._cut(0, self.cursor)
        elif letter == "Y":
            self.insert(self._killed)
        elif len(key) == 1 and (key.isprintable() or "\udc80" <= key <= "\udcff"):  # names may be no UTF-8
            self.insert(key)

    def insert(self, text: str) -> None:
        """Insert at the cursor, as far as the line has room."""
        text = text[: max(0, self.limit - len(self.text))]
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def remember(self) -> None:
        """Put the line into the history, which other editors may share."""
        if self.text and self.history[-1:] != [self.text]:
            self.history.append(self.text)
            del self.history[:-HISTORY_LIMIT]

    def view(self, columns: int, *, masked: bool = False) -> tuple[list[str], int]:
        """`columns` cells of the line and the cursor's column among them; a long line is shown in half-screen steps."""
        pieces = [["*"] if masked else cells(character) for character in self.text]
        line = [cell for piece in pieces for cell in piece]
        at = sum(map(len, pieces[: self.cursor]))
        half = max(1, columns // 2)
        first = 0 if at < columns - 1 else ((at - (columns - 1)) // half + 1) * half
        return window(line, first, columns), at - first

    def _cut(self, start: int, end: int) -> str:
        gone = self.text[start:end]
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start
        return gone

    def _recall(self, step: int) -> None:
        wanted = self._recalled + step
        if not 0 <= wanted <= len(self.history):
            return
        if not self._recalled:
            self._draft = self.text
        self._recalled = wanted
        self.text = self.history[-wanted] if wanted else self._draft
        self.cursor = len(self.text)
