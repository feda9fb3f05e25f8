"""The numbered menu on a real pseudo-terminal, and text made safe for it."""

from __future__ import annotations

import io
import os
import pty
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.devices import Devices
from pvboot.menu.dialects import MenuContext
from pvboot.menu.menu_lst import build
from pvboot.menu.model import Menu
from pvboot.safe_text import safe, safe_lines
from pvboot.screen.plain import choose, terminal_console
from pvboot.shell.session import Choice

END_OF_INPUT = "\x04"
ABC = "title A\nboot\ntitle B\nboot\ntitle C\nlock\nboot\n"


def _menu(text: str) -> Menu:
    data = text.encode("utf-8", "surrogateescape")
    return build(data, MenuContext("d", "(hd0)", "/m", Devices(())))


def _choose(menu: Menu, typed: str) -> tuple[Choice, str]:
    """The choice when `typed` comes from a terminal, and what that terminal showed."""
    master, slave = pty.openpty()
    shown = bytearray()

    def watch() -> None:
        try:
            while piece := os.read(master, 4096):
                shown.extend(piece)
        except OSError:
            pass  # the other side is closed

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        os.write(master, typed.encode())
        with os.fdopen(os.dup(slave), "r") as stdin, os.fdopen(os.dup(slave), "w") as stdout:
            choice = choose(menu, stdin, stdout)
            stdout.flush()
    finally:
        os.close(slave)
        watcher.join(10)
        os.close(master)
    return choice, shown.decode()


@pytest.mark.parametrize(
    ("head", "typed", "index", "by_key"),
    [
        ("default 1\n", "\n", 1, True),
        ("", "1\n", 1, True),
        ("", "9\n1\n", 1, True),
        ("", "junk\n-1\n99999999999999999999\n1\n", 1, True),
        ("timeout 60\n", "1\n", 1, True),
        ("timeout 60\nhiddenmenu\n", "\n1\n", 1, True),
        ("default 1\n", END_OF_INPUT, 1, False),
        ("default 1\ntimeout 60\n", END_OF_INPUT, 1, False),
        ("default 1\ntimeout 1\n", "", 1, False),
        ("default 1\ntimeout 1\nhiddenmenu\n", "", 1, False),
        ("default 1\ntimeout 0\n", "0\n", 1, False),
        ("password secret\n", "2\nsecret\n", 2, True),
        ("password secret\n", "2\nwrong\n1\n", 1, True),
    ],
)
def test_choice(head: str, typed: str, index: int, by_key: bool) -> None:
    choice, _shown = _choose(_menu(head + ABC), typed)
    assert (choice.index, choice.by_key) == (index, by_key)


def test_password_authenticates() -> None:
    assert _choose(_menu("password secret\n" + ABC), "2\nsecret\n")[0].authenticated


def test_menu_shows_entries_and_marks_the_default() -> None:
    _choice, shown = _choose(_menu("default 1\n" + ABC), "\n")
    lines = [line.strip() for line in shown.splitlines()]
    assert "0  A" in lines
    assert "* 1  B" in lines


def test_hidden_menu_stays_hidden() -> None:
    _choice, shown = _choose(_menu("timeout 1\nhiddenmenu\ntitle secret name\nboot\n"), "")
    assert "secret name" not in shown
    assert "Booting entry 0 in 1 s" in shown


def test_title_cannot_steer_the_terminal() -> None:
    _choice, shown = _choose(_menu("title \x1b[2Jevil\x9b\udcff\nboot\n"), "\n")
    assert "\x1b" not in shown
    assert "\\x1b[2Jevil" in shown


@pytest.mark.parametrize("stream", [io.StringIO, lambda: io.StringIO("1\n")])
def test_without_a_terminal_the_default_is_taken(stream: Callable[[], io.StringIO]) -> None:
    output = io.StringIO()
    assert choose(_menu("default 1\n" + ABC), stream(), output) == Choice(1)
    assert output.getvalue() == ""


def test_console_without_a_terminal_prints_safely_and_asks_nothing() -> None:
    output = io.StringIO()
    console = terminal_console(io.StringIO(), output)
    console.out("a\tb\n\x1b[2J\n")
    assert output.getvalue() == "a       b\n\\x1b[2J\n"
    assert console.ask is None


@given(st.text())
def test_safe_text_prints_and_keeps_what_printed(text: str) -> None:
    assert safe(text).isprintable()
    assert not text.isprintable() or safe(text) == text
    assert all(line.isprintable() for line in safe_lines(text).split("\n"))
