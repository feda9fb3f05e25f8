"""What `choose` does when the other side of the terminal is slow, silent or gone."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import tty
from collections.abc import Iterator

import pytest

from pvboot.devices import Devices
from pvboot.menu.dialects import MenuContext
from pvboot.menu.menu_lst import build
from pvboot.menu.model import Menu
from pvboot.screen import choose
from pvboot.screen.terminal import DEFAULT_SIZE, LARGEST_SIZE, window_size
from pvboot.shell.session import Choice


def _menu(head: str) -> Menu:
    text = f"{head}title A\nboot\ntitle B\nboot\n"
    return build(text.encode(), MenuContext("d", "(hd0)", "/m", Devices(())))


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    for fd in (master, slave):
        with contextlib.suppress(OSError):  # the test has hung up
            os.close(fd)


def _choose(menu: Menu, slave: int, term: str = "vt100") -> Choice:
    with os.fdopen(os.dup(slave), "r") as stdin, os.fdopen(os.dup(slave), "w") as stdout:
        return choose(menu, Devices(()), stdin, stdout, term=term)


def test_the_clock_runs_out_although_nobody_reads(terminal: tuple[int, int]) -> None:
    _master, slave = terminal
    os.set_blocking(slave, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(slave, b"x" * 4096)
    os.set_blocking(slave, True)
    assert _choose(_menu("default 1\ntimeout 1\n"), slave) == Choice(1)


def test_a_terminal_that_is_gone_means_the_default(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    os.close(master)
    assert _choose(_menu("default 1\n"), slave) == Choice(1)


def test_the_terminals_mode_is_restored(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    os.write(master, b"\x1b[B\r")
    assert _choose(_menu(""), slave) == Choice(1, by_key=True)
    assert termios.tcgetattr(slave) == before


def test_control_c_restores_the_mode_too(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    termios.tcsetattr(slave, termios.TCSANOW, [*before[:3], before[3] & ~termios.ISIG, *before[4:]])
    changed = termios.tcgetattr(slave)
    os.write(master, b"\x03")
    with pytest.raises(KeyboardInterrupt):
        _choose(_menu(""), slave)
    assert termios.tcgetattr(slave) == changed


@pytest.mark.parametrize(
    ("given", "size"),
    [((0, 0), DEFAULT_SIZE), ((30, 100), (30, 100)), ((65535, 65535), LARGEST_SIZE), ((0, 100), (24, 100))],
)
def test_sizes(terminal: tuple[int, int], given: tuple[int, int], size: tuple[int, int]) -> None:
    termios.tcsetwinsize(terminal[1], given)
    assert window_size(terminal[1]) == size


def test_a_tiny_window_gets_the_numbered_list(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    termios.tcsetwinsize(slave, (8, 30))
    os.write(master, b"1\n")
    assert _choose(_menu(""), slave) == Choice(1, by_key=True)
    shown = b""
    while b"Type a number" not in shown:
        assert select.select([master], [], [], 30)[0], shown
        shown += os.read(master, 4096)


def test_enter_of_a_raw_terminal_ends_a_line_of_the_numbered_list(terminal: tuple[int, int]) -> None:
    """libxl's terminal is raw: nobody makes a line end of the key."""
    master, slave = terminal
    termios.tcsetwinsize(slave, (8, 30))
    tty.setraw(slave)
    os.write(master, b"1\r")
    assert _choose(_menu(""), slave) == Choice(1, by_key=True)
