"""The menu on a VT100: the box, the clock, and what the keys do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from fsdrivers.light import Final, TextIO
from pvboot.devices import Devices
from pvboot.errors import PvbootError
from pvboot.menu.model import Entry, Menu
from pvboot.screen.editor import edit_entry
from pvboot.screen.keys import ENTER, RIGHT, ctrl
from pvboot.screen.line_edit import LineEditor
from pvboot.screen.list_screen import Position, draw_list, list_height
from pvboot.screen.pager import Pager
from pvboot.screen.picture import Canvas, Picture
from pvboot.screen.prompt import ask_password, read_line, run_prompt
from pvboot.screen.terminal import EndOfInputError, Terminal
from pvboot.shell.completion import Completion, complete
from pvboot.shell.editing import command_lines
from pvboot.shell.interpreter import run_line
from pvboot.shell.passwords import matches
from pvboot.shell.request import Outcome
from pvboot.shell.session import Choice
from pvboot.shell.state import Console, new_shell

HELP: Final = (
    "Use the ^ and v keys to choose an entry, Enter to boot it.",
    "'e' edits its commands before booting, 'c' is a command line.",
)
LOCKED_HELP: Final = (
    "Use the ^ and v keys to choose an entry, Enter to boot it.",
    "'p' asks for the password that unlocks the other keys.",
)
HIDDEN_TEXT: Final = "Press any key to see the menu..."
_BOOT_KEYS = (ENTER, RIGHT, ctrl("F"))


def choose_on_screen(
    menu: Menu, devices: Devices, stdin: TextIO, stdout: TextIO, *, authenticated: bool = False
) -> Choice:
    """Show the menu until somebody has chosen, or its time is up; at the end of input it is the default entry."""
    seconds = None if menu.timeout is None or menu.timeout < 0 else menu.timeout
    screen: _MenuScreen | None = None
    try:
        with Terminal(stdin, stdout) as terminal:
            screen = _MenuScreen(terminal, menu, devices, authenticated=authenticated)
            return screen.run(seconds)
    except EndOfInputError:
        return Choice(menu.default, authenticated=screen.authenticated if screen else authenticated)


def draw_menu(size: tuple[int, int], menu: Menu, position: Position, status: str, *, locked: bool = False) -> Picture:
    """The menu's screen; `locked` says that the password is still wanted."""
    return draw_list(
        size,
        f"{menu.volume or ''}{menu.path}",
        lambda number: _title(menu.entries[number]),
        position,
        LOCKED_HELP if locked else HELP,
        status,
    )


def draw_hidden(size: tuple[int, int], seconds_left: int) -> Picture:
    """All that is seen of a hidden menu."""
    canvas = Canvas(*size)
    text = f"{HIDDEN_TEXT} {seconds_left}"
    canvas.put(1, 4, text)
    return canvas.picture((1, 4 + len(text)))


def _title(entry: Entry) -> str:
    return " > ".join((*entry.submenu, entry.title)) + (" (locked)" if entry.locked else "")


class _MenuScreen:
    """One visit to a menu."""

    def __init__(self, terminal: Terminal, menu: Menu, devices: Devices, *, authenticated: bool) -> None:
        self.terminal, self.menu, self.devices = terminal, menu, devices
        self.authenticated = authenticated
        self.position = Position(len(menu.entries), menu.default)
        self.status = ""
        self.history: list[str] = []

    @property
    def locked(self) -> bool:
        return self.menu.password is not None and not self.authenticated

    def run(self, seconds: int | None) -> Choice:
        key: str | None = None
        if seconds is not None:
            key = self._count_down(seconds)
            if key is None:
                return Choice(self.menu.default, authenticated=self.authenticated)
            if self.menu.hidden:
                key = None  # it has only asked for the menu
        while True:
            if key is not None:
                choice = self._press(key)
                if choice is not None:
                    return choice
            self.terminal.show(self._draw(self.status))
            key = self.terminal.key()

    def _draw(self, status: str) -> Picture:
        return draw_menu(self.terminal.size(), self.menu, self.position, status, locked=self.locked)

    def _count_down(self, seconds: int) -> str | None:
        """Wait for a key; None when the time is up."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            whole = math.ceil(left)
            if self.menu.hidden:
                self.terminal.show(draw_hidden(self.terminal.size(), whole))
            else:
                self.terminal.show(self._draw(f"The highlighted entry will be booted automatically in {whole} s."))
            key = self.terminal.key(end - whole + 1)
            if key is not None:
                return key
        return None

    def _press(self, key: str) -> Choice | None:
        """Obey a key; what was chosen, if it was one that boots."""
        self.status = ""
        selected = self.position.selected
        if key in _BOOT_KEYS:
            if self.menu.entries[selected].locked and not self.authenticated and not self._unlock():
                return None
            return Choice(selected, by_key=True, authenticated=self.authenticated)
        if key == ctrl("L"):
            self.terminal.forget()
        elif key == "p" and self.locked:
            self._unlock()
        elif key in ("e", "c") and not self.locked:
            return self._edit(selected) if key == "e" else self._at_prompt()
        else:
            self.position.press(key, list_height(self.terminal.size()[0]))
        return None

    def _unlock(self) -> bool:
        typed = ask_password(self.terminal)
        self.authenticated = typed is not None and self.menu.password is not None and matches(typed, self.menu.password)
        self.status = "" if self.authenticated or typed is None else "Failed!"
        return self.authenticated

    def _edit(self, selected: int) -> Choice | None:
        entry = self.menu.entries[selected]
        try:
            lines = command_lines(entry)
        except PvbootError as err:
            self.status = str(err)
            return None
        edited = edit_entry(self.terminal, _title(entry), lines, self._completer(), self._run_prompt)
        if edited is None:
            return None
        return Choice(selected, True, self.authenticated, edited.lines, edited.outcome)

    def _at_prompt(self) -> Choice | None:
        outcome = self._run_prompt()
        if outcome is None:
            return None
        return Choice(self.position.selected, True, self.authenticated, outcome=outcome)

    def _run_prompt(self) -> Outcome | None:
        """A session at the prompt, with a state of its own."""
        pager = Pager(self.terminal, lambda: shell.pager)
        console = Console(pager.out, self._ask)
        shell = new_shell(self.devices, self.menu, console=console, authenticated=self.authenticated)

        def run(text: str) -> Outcome | None:
            pager.start()
            return run_line(shell, text)

        return run_prompt(self.terminal, self.history, run, partial(complete, shell))

    def _ask(self, question: str) -> str | None:
        """Ask for the input of a command: a password, or just a key."""
        return read_line(self.terminal, question, LineEditor(), masked=True)

    def _completer(self) -> Callable[[str], Completion]:
        return partial(complete, new_shell(self.devices, self.menu))
