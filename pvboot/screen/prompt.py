"""The `grub>` prompt: lines typed, completed and handed to whoever runs them; and single lines asked for."""

from __future__ import annotations

from collections.abc import Callable

from fsdrivers.light import TYPE_CHECKING, Final
from pvboot import __version__
from pvboot.errors import PvbootError
from pvboot.screen.keys import ENTER, ESCAPE, ctrl
from pvboot.screen.line_edit import LineEditor
from pvboot.screen.picture import cells
from pvboot.screen.terminal import Terminal
from pvboot.screen.vt100 import CLEAR, CLEAR_TO_END_OF_LINE

if TYPE_CHECKING:
    from pvboot.shell.completion import Completion
    from pvboot.shell.request import Outcome

PROMPT: Final = "grub> "
PASSWORD_LIMIT: Final = 31  # characters that GRUB lets one type

_INTRODUCTION = f"""\
    pvboot {__version__}

 [ Type a command; help lists them.  TAB completes commands, devices and
   files, ESC goes back to the menu. ]

"""


def run_prompt(
    terminal: Terminal, history: list[str], run: Callable[[str], Outcome | None], complete: Callable[[str], Completion]
) -> Outcome | None:
    """Read lines and run them until one has a result; None when ESC leaves.

    What a line gets wrong (`PvbootError`, `FsError`) is printed, and Ctrl-C stops it.
    """
    terminal.write(CLEAR + _INTRODUCTION)
    while (text := read_line(terminal, PROMPT, LineEditor(history=history), complete=complete)) is not None:
        try:
            with terminal.interruptible():
                result = run(text)
        except KeyboardInterrupt:
            terminal.write("\nInterrupted\n")
            continue
        except PvbootError as err:
            terminal.write_safely(f"\n{err}\n\n")
            continue
        if result is not None:
            return result
    return None


def read_line(
    terminal: Terminal,
    prompt: str,
    editor: LineEditor,
    *,
    masked: bool = False,
    complete: Callable[[str], Completion] | None = None,
) -> str | None:
    """One line, shown behind `prompt` on the current row; None if ESC broke it off."""
    while True:
        terminal.write(draw_line(prompt, editor, terminal.size()[1], masked=masked))
        key = terminal.key()
        if key in (ENTER, ESCAPE):
            terminal.write("\n")
            if key == ESCAPE:
                return None
            editor.remember()
            return editor.text
        if key == ctrl("L"):
            terminal.write(CLEAR)
        elif key == "\t" and complete is not None:
            _complete(terminal, editor, complete)
        elif key is not None:
            editor.press(key)


def draw_line(prompt: str, editor: LineEditor, columns: int, *, masked: bool = False) -> str:
    """The text that draws the line anew on the row where the cursor is."""
    label = cells(prompt)[: columns // 2]
    seen, at = editor.view(columns - len(label) - 1, masked=masked)
    shown = "".join(seen).rstrip(" ")
    column = len(label) + at
    back = f"\r\x1b[{column}C" if column else "\r"
    return f"\r{''.join(label)}{shown}{CLEAR_TO_END_OF_LINE}{back}"


def _complete(terminal: Terminal, editor: LineEditor, complete: Callable[[str], Completion]) -> None:
    try:
        found = complete(editor.text[: editor.cursor])
    except PvbootError as err:
        terminal.write_safely(f"\n{err}\n")
        return
    editor.insert(found.insert)
    if found.listing:
        terminal.write_safely(f"\n{found.listing}\n")


def ask_password(terminal: Terminal) -> str | None:
    """A line that is not shown, on a cleared screen; None if ESC broke it off."""
    terminal.write(CLEAR + "\n")
    return read_line(terminal, "    Password: ", LineEditor(limit=PASSWORD_LIMIT), masked=True)
