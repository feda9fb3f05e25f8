"""A plain numbered menu: lines out, lines in, no cursor movement, so that every terminal can show it."""

from __future__ import annotations

import os
import select
import time

from fsdrivers.light import TextIO
from pvboot.menu.model import Menu
from pvboot.safe_text import safe, safe_lines
from pvboot.shell.passwords import matches
from pvboot.shell.session import Choice
from pvboot.shell.state import Console

LINE_LIMIT_BYTES = 4096  # what one types is a number


class TypedLines:
    """Lines from a terminal, waited for with a time limit."""

    def __init__(self, stream: TextIO) -> None:
        self._fd = stream.fileno()
        self._waiting = b""

    def read(self, seconds: float | None) -> str | None:
        """The next line without its end; "" is a bare Enter.

        Raises `TimeoutError` if none comes within `seconds` (None waits for ever); None at the end of input.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._waiting and len(self._waiting) < LINE_LIMIT_BYTES:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._fd], [], [], left)[0]:
                raise TimeoutError
            try:
                typed = os.read(self._fd, LINE_LIMIT_BYTES)
            except OSError:  # the terminal went away
                typed = b""
            if not typed:
                return None
            self._waiting += typed.replace(b"\r", b"\n")  # a raw terminal (libxl's) gives Enter as it is
        line, _end, self._waiting = self._waiting.partition(b"\n")
        return line.decode("utf-8", "replace").strip()


def choose(menu: Menu, stdin: TextIO, stdout: TextIO, *, authenticated: bool = False) -> Choice:
    """Show the menu and wait for a number, Enter, or the end of the menu's time.

    Without a terminal on both sides, at the end of input, and when the time is up, it is the default entry.
    Another time than the menu's: give `dataclasses.replace(menu, timeout=seconds)`.
    """
    seconds = None if menu.timeout is None or menu.timeout < 0 else menu.timeout
    nobody = Choice(menu.default, authenticated=authenticated)
    if seconds == 0 or not (stdin.isatty() and stdout.isatty()):
        return nobody
    lines = TypedLines(stdin)
    hidden = menu.hidden and seconds is not None
    if not hidden:
        _show(menu, stdout)
    if seconds is not None:
        stdout.write("Press Enter to see the menu.\n" if hidden else "")
        try:
            typed = _count_down(lines, stdout, f"Booting entry {menu.default} in", seconds)
        except TimeoutError:
            return nobody
        if hidden and typed is not None:
            _show(menu, stdout)
            typed = _ask(lines, stdout)
    else:
        typed = _ask(lines, stdout)
    while typed is not None:
        index = _index(menu, typed)
        if index is None:
            stdout.write(f"There is no entry {safe(typed[:40])!r}: 0 to {len(menu.entries) - 1}.\n")
        elif not menu.entries[index].locked or authenticated or _unlock(menu, lines, stdout):
            return Choice(index, by_key=True, authenticated=authenticated or menu.entries[index].locked)
        typed = _ask(lines, stdout)
    return nobody


def _show(menu: Menu, stdout: TextIO) -> None:
    stdout.write(f"\n  {safe((menu.volume or '') + menu.path)}\n\n")
    width = len(str(len(menu.entries) - 1))
    for entry in menu.entries:
        mark = "*" if entry.index == menu.default else " "
        lock = " (locked)" if entry.locked else ""
        title = " > ".join((*entry.submenu, entry.title))
        stdout.write(f" {mark} {entry.index:>{width}}  {safe(title)}{lock}\n")
    stdout.write(f"\nType a number and Enter; Enter alone boots entry {menu.default}.\n")
    stdout.flush()


def _count_down(lines: TypedLines, stdout: TextIO, text: str, seconds: int) -> str | None:
    """Read what is typed before the time is up.  Raises `TimeoutError`."""
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            stdout.write(f"\r{text} {round(left + 0.4)} s   ")
            stdout.flush()
            try:
                return lines.read(min(1.0, left))
            except TimeoutError:
                continue
        raise TimeoutError
    finally:
        stdout.write("\n")
        stdout.flush()


def _ask(lines: TypedLines, stdout: TextIO, prompt: str = "Entry: ") -> str | None:
    stdout.write(prompt)
    stdout.flush()
    return lines.read(None)


def _index(menu: Menu, typed: str) -> int | None:
    """The entry that was typed; Enter is the default."""
    if not typed:
        return menu.default
    if typed.isascii() and typed.isdigit() and len(typed) < 10 and int(typed) < len(menu.entries):
        return int(typed)
    return None


def _unlock(menu: Menu, lines: TypedLines, stdout: TextIO) -> bool:
    typed = _ask(lines, stdout, "This entry is locked.  Password: ")
    right = typed is not None and menu.password is not None and matches(typed, menu.password)
    stdout.write("" if right else "Failed!\n")
    return right


def terminal_console(stdin: TextIO, stdout: TextIO) -> Console:
    """A console that escapes the output of commands; it asks questions only if both sides are a terminal."""

    def out(text: str) -> None:
        stdout.write(safe_lines(text))
        stdout.flush()

    if not (stdin.isatty() and stdout.isatty()):
        return Console(out)
    lines = TypedLines(stdin)
    return Console(out, lambda prompt: _ask(lines, stdout, prompt))
