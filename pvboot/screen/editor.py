"""The editor of an entry's lines.  It works on a copy, and nothing is ever written back to the guest's disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fsdrivers.light import TYPE_CHECKING, Final, dataclass, field
from pvboot.screen.keys import ESCAPE, ctrl
from pvboot.screen.line_edit import LineEditor
from pvboot.screen.list_screen import Position, draw_list, list_height
from pvboot.screen.picture import Picture
from pvboot.screen.prompt import read_line
from pvboot.screen.terminal import Terminal
from pvboot.screen.vt100 import CLEAR

if TYPE_CHECKING:
    from pvboot.shell.completion import Completion
    from pvboot.shell.request import Outcome

HELP: Final = (
    "Use the ^ and v keys to choose a line; 'e' edits it, 'o' opens a new one",
    "after it ('O' before it), 'd' deletes it.  'b' boots the lines as they",
    "stand, 'c' is a command line, ESC goes back to the menu.",
)
EDIT_PROMPT: Final = "grub edit> "
_EDIT_HELP = "\n [ Enter takes the line, ESC leaves it as it was. ]\n\n"


@dataclass(slots=True)
class Lines:
    """The copy: its lines and which one is highlighted."""

    lines: list[str]
    position: Position = field(init=False)

    def __post_init__(self) -> None:
        self.position = Position(len(self.lines))

    def press(self, key: str, page: int) -> bool:
        """Move, open and delete; whether the highlighted line is now to be edited."""
        at = self.position.selected
        if key in ("o", "O"):
            at += key == "o" and bool(self.lines)
            self.lines.insert(at, "")
        elif key == "d" and self.lines:
            del self.lines[at]
        else:
            self.position.press(key, page)
            return key == "e" and bool(self.lines)
        self.position.count = len(self.lines)
        self.position.selected = max(0, min(at, len(self.lines) - 1))
        return key != "d"


@dataclass(frozen=True, slots=True)
class Edited:
    """How the editor was left: with lines to boot, or with what came out of the command line."""

    lines: tuple[str, ...] | None = None
    outcome: Outcome | None = None


def draw_lines(size: tuple[int, int], title: str, state: Lines) -> Picture:
    """The editor's screen."""
    return draw_list(size, title, lambda number: state.lines[number], state.position, HELP)


def edit_entry(
    terminal: Terminal,
    title: str,
    lines: Sequence[str],
    complete: Callable[[str], Completion],
    prompt: Callable[[], Outcome | None],
) -> Edited | None:
    """Edit until the lines are booted, the prompt has an outcome, or ESC leaves (None)."""
    state = Lines(list(lines))
    while True:
        size = terminal.size()
        terminal.show(draw_lines(size, title, state))
        key = terminal.key()
        if key == ESCAPE:
            return None
        if key == "b":
            return Edited(lines=tuple(state.lines))
        if key == "c":
            outcome = prompt()
            if outcome is not None:
                return Edited(outcome=outcome)
        elif key == ctrl("L"):
            terminal.forget()
        elif key is not None and state.press(key, list_height(size[0])):
            _edit_line(terminal, state, complete)


def _edit_line(terminal: Terminal, state: Lines, complete: Callable[[str], Completion]) -> None:
    """Let one line be edited in place; ESC leaves it as it was."""
    at = state.position.selected
    terminal.write(CLEAR + _EDIT_HELP)
    text = read_line(terminal, EDIT_PROMPT, LineEditor(state.lines[at]), complete=complete)
    if text is not None:
        state.lines[at] = text
