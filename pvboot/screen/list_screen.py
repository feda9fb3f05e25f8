"""A boxed list of lines with one of them highlighted: how the menu and the entry editor look and move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fsdrivers.light import Final, dataclass
from pvboot import __version__
from pvboot.screen.keys import DOWN, END, HOME, PAGE_DOWN, PAGE_UP, UP, ctrl
from pvboot.screen.picture import Canvas, Picture, cells, window

SMALLEST_SIZE: Final = (14, 40)  # below, a list of lines says more than a box

_BOX_ROW = 3
_ROWS_AROUND = 12  # header, frame, help and status: twelve lines of list on 24 rows, as GRUB has it
_LEFT = 1


@dataclass(slots=True)
class Position:
    """The highlighted line and the first visible one, of `count`."""

    count: int
    selected: int = 0
    top: int = 0

    def press(self, key: str, page: int) -> bool:
        """Move, if the key says so; at both ends it stays there."""
        steps = {
            UP: -1,
            ctrl("P"): -1,
            "^": -1,
            DOWN: 1,
            ctrl("N"): 1,
            "v": 1,
            PAGE_UP: -page,
            ctrl("G"): -page,
            PAGE_DOWN: page,
            HOME: -self.count,
            ctrl("A"): -self.count,
            END: self.count,
            ctrl("E"): self.count,
        }
        if key not in steps:
            return False
        self.selected = max(0, min(self.selected + steps[key], self.count - 1))
        return True

    def scroll(self, height: int) -> None:
        """Bring the highlighted line into a box of this height, moving the list no further than needed."""
        self.selected = max(0, min(self.selected, self.count - 1))
        self.top = min(self.top, self.selected, max(0, self.count - height))
        self.top = max(self.top, self.selected - height + 1, 0)


def list_height(rows: int) -> int:
    """Lines of the list that fit on a screen of so many rows."""
    return max(1, rows - _ROWS_AROUND)


def draw_list(
    size: tuple[int, int],
    where: str,
    line: Callable[[int], str],
    position: Position,
    help_lines: Sequence[str],
    status: str = "",
) -> Picture:
    """The screen; `line` gives the text of a line, `where` names the menu.  Scrolls `position` as needed."""
    rows, columns = size
    height = list_height(rows)
    position.scroll(height)
    canvas = Canvas(rows, columns)
    _put_cut(canvas, 1, 4, f"pvboot {__version__}  {where}", columns - 8)
    _draw_frame(canvas, height, columns)
    width = columns - 2 * _LEFT - 4
    for row in range(min(height, position.count - position.top)):
        number = position.top + row
        shown = [" ", *window(cells(line(number)), 0, width), " "]
        canvas.put(_BOX_ROW + row, _LEFT + 1, shown, reverse=number == position.selected)
    if position.top:
        canvas.put(_BOX_ROW, columns - _LEFT - 1, "^")
    if position.top + height < position.count:
        canvas.put(_BOX_ROW + height - 1, columns - _LEFT - 1, "v")
    for row, text in enumerate(help_lines, _BOX_ROW + height + 1):
        if row < rows - 2:
            _put_cut(canvas, row, 4, text, columns - 4)
    _put_cut(canvas, rows - 2, 4, status, columns - 5)
    return canvas.picture((_BOX_ROW + position.selected - position.top, _LEFT + 1))


def _draw_frame(canvas: Canvas, height: int, columns: int) -> None:
    edge = "+" + "-" * (columns - 2 * _LEFT - 2) + "+"
    canvas.put(_BOX_ROW - 1, _LEFT, edge)
    canvas.put(_BOX_ROW + height, _LEFT, edge)
    for row in range(_BOX_ROW, _BOX_ROW + height):
        canvas.put(row, _LEFT, "|")
        canvas.put(row, columns - _LEFT - 1, "|")


def _put_cut(canvas: Canvas, row: int, column: int, text: str, width: int) -> None:
    canvas.put(row, column, window(cells(text), 0, width))
