"""Pictures as text for a VT100 and everything that followed it: cursor addressing, reverse video, clear, no more.

There is no terminfo on a minimal system, and no switching of character sets: under a loader's log, in PuTTY and on
Linux consoles in UTF-8 mode it shows as noise.  Source: VT100 User Guide, chapter 3 (CUP, ED, EL, SGR).
"""

from __future__ import annotations

from pvboot.screen.picture import BLANK, Cell, Picture

CLEAR = "\x1b[0m\x1b[H\x1b[2J"
CLEAR_TO_END_OF_LINE = "\x1b[K"
_REVERSE, _NORMAL = "\x1b[7m", "\x1b[0m"


def render(old: Picture | None, new: Picture) -> str:
    """The text that turns a terminal showing `old` (None: anything) into one showing `new`."""
    out = []
    if old is None or old.size != new.size:
        out.append(CLEAR)
        old_rows: tuple[tuple[Cell, ...], ...] = ((BLANK,) * new.size[1],) * new.size[0]
    else:
        old_rows = old.rows
    for number, (before, after) in enumerate(zip(old_rows, new.rows, strict=True)):
        if before != after:
            # A character in the last cell of a screen makes some terminals scroll.
            last = len(after) - (1 if number == new.size[0] - 1 else 0)
            out.append(_changed(number, before[:last], after[:last]))
    out.append(cursor_to(*new.cursor))
    return "".join(out)


def cursor_to(row: int, column: int) -> str:
    """Move the cursor; rows and columns count from 0."""
    return f"\x1b[{row + 1};{column + 1}H"


def _changed(row: int, before: tuple[Cell, ...], after: tuple[Cell, ...]) -> str:
    """The part of a row that differs."""
    differing = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    if not differing:
        return ""
    first, last = differing[0], differing[-1]
    while first and "" in (before[first][0], after[first][0]):  # begin at a whole character, of both rows
        first -= 1
    out = [cursor_to(row, first)]
    reversed_now = False
    for at in range(first, last + 1):
        text, reverse = after[at]
        if reverse != reversed_now:
            out.append(_REVERSE if reverse else _NORMAL)
            reversed_now = reverse
        out.append(text)
        if len(text) != 1 and at < last:  # terminals disagree about the width of such characters
            out.append(cursor_to(row, at + 1))
    if reversed_now:
        out.append(_NORMAL)
    return "".join(out)
