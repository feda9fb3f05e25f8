"""`pvboot boot` in front of a person: real keys on a real pseudo-terminal, real guests behind them."""

from __future__ import annotations

import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.screen.sessions import session

KERNEL = REPOSITORY / "fixtures" / "kernels" / "tiny64.elf"
UP, DOWN, ESC, ENTER = "\x1b[A", "\x1b[B", "\x1b", "\r"
CTRL_A, CTRL_C, CTRL_E, CTRL_K = "\x01", "\x03", "\x05", "\x0b"
MENU = """\
title One
kernel /boot/tiny which=one
title Two
kernel /boot/tiny which=two
title Three
kernel /boot/tiny which=three
"""

Guest = Callable[[str], Path]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    def make(menu: str) -> Path:
        grub = tmp_path / "guest" / "boot" / "grub"
        grub.mkdir(parents=True)
        (grub / "menu.lst").write_text(menu)
        (grub.parent / "tiny").write_bytes(KERNEL.read_bytes())
        return tmp_path / "guest"

    return make


@pytest.mark.parametrize(
    ("keys", "booted"),
    [
        ([ENTER], "one"),
        (["\n"], "one"),
        (["\x1b[B", "\x1b[B", "\x1b[A", ENTER], "two"),
        (["\x1bOB", "\x1bOB", "\x1bOA", "\x1bOC"], "two"),
        (["\x0e", "v", "\x10", ENTER], "two"),
        (["\x1b[F", "^", "\x06"], "two"),
        (["\x1b[6~", ENTER], "three"),
    ],
)
def test_arrows_and_enter(guest: Guest, keys: list[str], booted: str) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        assert screen.emulator.highlighted == ["One"]
        for key in keys:
            screen.send(key)
        screen.wait_for(f"command line: which={booted}")
        assert screen.end() == 0


def test_an_edited_argument_reaches_the_guest(guest: Guest) -> None:
    with session(guest("timeout 300\n" + MENU)) as screen:
        screen.wait_for("booted automatically in")
        screen.send(DOWN)
        screen.wait_for(lambda seen: seen.highlighted == ["Two"] and "automatically" not in seen.text)
        screen.send("e")
        screen.wait_for(lambda seen: seen.highlighted == ["kernel /boot/tiny which=two"])
        screen.send("e")
        screen.wait_for("grub edit> kernel /boot/tiny which=two")
        screen.send(" init=/bin/sh" + ENTER)
        screen.wait_for(lambda seen: seen.highlighted == ["kernel /boot/tiny which=two init=/bin/sh"])
        screen.send("b")
        screen.wait_for("command line: which=two init=/bin/sh")
        assert screen.end() == 0
    assert b"Booting command-list" in screen.transcript


def test_editing_works_on_a_copy_and_escape_leaves(guest: Guest) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.send("e")
        screen.wait_for("'b' boots the lines")
        screen.send("d")
        screen.wait_for(lambda seen: "kernel" not in seen.text)
        screen.send("o")
        screen.wait_for("grub edit>")
        screen.send("dropped" + ESC)
        screen.wait_for("'b' boots the lines")
        assert "dropped" not in screen.emulator.text
        screen.send(ESC)
        screen.wait_for("Three")
        screen.send(ENTER)
        screen.wait_for("command line: which=one")
        assert screen.end() == 0


def test_lines_are_opened_and_a_long_one_scrolls(guest: Guest) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.send("e")
        screen.wait_for("'b' boots the lines")
        screen.send("e")
        screen.wait_for("grub edit> kernel")
        screen.send(" " + "x" * 100)
        screen.wait_for(lambda seen: seen.rows[3].startswith("grub edit> <") and seen.rows[3].endswith("x"))
        screen.send(CTRL_A)
        screen.wait_for(lambda seen: seen.rows[3].startswith("grub edit> kernel") and seen.rows[3].endswith(">"))
        screen.send(CTRL_K + "kernel /boot/tiny retyped" + ENTER)
        screen.wait_for(lambda seen: seen.highlighted == ["kernel /boot/tiny retyped"])
        screen.send("O")
        screen.wait_for("grub edit>")
        screen.send("root (hd0,0)" + ENTER)
        screen.wait_for(lambda seen: seen.highlighted == ["root (hd0,0)"])
        screen.send("b")
        screen.wait_for("command line: retyped")
        assert screen.end() == 0


def test_the_prompt_boots_what_was_typed_with_tab(guest: Guest) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.send("c")
        screen.wait_for("grub>")
        screen.send("nonsense" + ENTER)
        screen.wait_for("Error 27: Unrecognized command")
        screen.send("ker\t")
        screen.wait_for("grub> kernel")
        screen.send("/boot/\t")
        screen.wait_for("Possible files are:  grub  tiny")
        screen.send("t\ttyped=1" + ENTER)
        screen.wait_for("grub> kernel /boot/tiny typed=1")
        screen.send(UP)
        screen.wait_for(lambda seen: seen.rows[seen.cursor[0]] == "grub> kernel /boot/tiny typed=1")
        screen.send(CTRL_E + "2" + ENTER + "boot" + ENTER)
        screen.wait_for("command line: typed=12")
        assert screen.end() == 0


def test_escape_leaves_the_prompt_and_the_history_stays(guest: Guest) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.send("c")
        screen.wait_for("grub>")
        screen.send("root" + ENTER)
        screen.wait_for("Filesystem type is dir")
        screen.send(ESC)
        screen.wait_for("Three")
        screen.send("ec")
        screen.wait_for("grub>")
        screen.send(UP)
        screen.wait_for("grub> root")
        screen.send(CTRL_C)
        assert screen.end() == 130


@pytest.mark.parametrize("key", ["x", ESC, b"\xff", "\x1b[99~"])
def test_any_key_stops_the_clock(guest: Guest, key: str | bytes) -> None:
    with session(guest("timeout 3\n" + MENU)) as screen:
        screen.wait_for("booted automatically in")
        screen.send(key)
        screen.wait_for(lambda seen: "automatically" not in seen.text)
        time.sleep(3.5)  # more than the clock had left
        screen.send("\x1b[H" + DOWN + ENTER)
        screen.wait_for("command line: which=two")
        assert screen.end() == 0


def test_the_clock_boots_the_default(guest: Guest) -> None:
    with session(guest("timeout 2\ndefault 1\n" + MENU)) as screen:
        screen.wait_for("booted automatically in 1 s.")
        screen.wait_for("command line: which=two")
        assert screen.end() == 0


def test_timeout_zero_shows_no_menu(guest: Guest) -> None:
    with session(guest("timeout 0\ndefault 2\n" + MENU)) as screen:
        screen.wait_for("command line: which=three")
        assert screen.end() == 0
    assert b"Use the ^ and v keys" not in screen.transcript


def test_a_hidden_menu_boots_unseen(guest: Guest) -> None:
    with session(guest("hiddenmenu\ntimeout 1\n" + MENU)) as screen:
        screen.wait_for("Press any key to see the menu... 1")
        screen.wait_for("command line: which=one")
        assert screen.end() == 0
    assert b"Three" not in screen.transcript


@pytest.mark.parametrize("key", [ESC, "x", ENTER])
def test_a_hidden_menu_is_shown_by_any_key(guest: Guest, key: str) -> None:
    with session(guest("hiddenmenu\ntimeout 300\n" + MENU)) as screen:
        screen.wait_for("Press any key to see the menu")
        screen.send(key)
        screen.wait_for("Three")
        screen.send(DOWN + ENTER)
        screen.wait_for("command line: which=two")
        assert screen.end() == 0


def test_a_password_locks_editor_prompt_and_locked_entries(guest: Guest) -> None:
    menu = "password secret\ntitle Open\nkernel /boot/tiny\ntitle Closed\nlock\nkernel /boot/tiny which=closed\n"
    with session(guest(menu)) as screen:
        screen.wait_for("'p' asks for the password")
        screen.send("ec" + DOWN)
        screen.wait_for(lambda seen: seen.highlighted == ["Closed (locked)"])
        screen.send(ENTER)
        screen.wait_for("Password:")
        screen.send("wrong")
        screen.wait_for("Password: *****")
        screen.send(ENTER)
        screen.wait_for("Failed!")
        screen.send("p")
        screen.wait_for("Password:")
        screen.send("secret" + ENTER)
        screen.wait_for("'e' edits its commands")
        assert "secret" not in screen.emulator.text
        screen.send(ENTER)
        screen.wait_for("command line: which=closed")
        assert screen.end() == 0
    assert b"secret" not in screen.transcript


def test_a_failed_entry_leads_back_to_the_menu(guest: Guest) -> None:
    with session(guest("timeout 1\ntitle Bad\nkernel /none\n" + MENU)) as screen:
        screen.wait_for("Error 15: File not found")
        screen.wait_for("Press Enter to continue")
        screen.send("\n")
        screen.wait_for("Three")
        screen.send(DOWN + ENTER)
        screen.wait_for("command line: which=one")
        assert screen.end() == 0


@pytest.mark.parametrize("term", ["dumb", None, ""])
def test_terminals_without_a_cursor_get_a_numbered_list(guest: Guest, term: str | None) -> None:
    with session(guest(MENU), term=term) as screen:
        screen.wait_for("Entry:")
        screen.send("1\n")
        screen.wait_for("command line: which=two")
        assert screen.end() == 0
    assert b"\x1b" not in screen.transcript.partition(b"command line")[0]


@pytest.mark.parametrize("during", ["menu", "editor", "line", "prompt", "clock"])
def test_ctrl_c_leaves_with_130_and_a_sane_terminal(guest: Guest, during: str) -> None:
    keys, seen = {
        "menu": ("", "Three"),
        "editor": ("e", "'b' boots"),
        "line": ("ee", "grub edit>"),
        "prompt": ("c", "grub>"),
        "clock": ("", "automatically"),
    }[during]
    with session(guest(("timeout 300\n" if during == "clock" else "") + MENU)) as screen:
        screen.wait_for("Three")
        screen.send(keys)
        screen.wait_for(seen)
        screen.send(CTRL_C)
        assert screen.end() == 130
    assert b"Traceback" not in screen.transcript


@pytest.mark.parametrize("keys", ["", "e", "ee", "c", "cker"])
def test_a_hang_up_ends_the_program(guest: Guest, keys: str) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        if keys:
            screen.send(keys)
            screen.wait_for({"e": "'b' boots", "ee": "grub edit>", "c": "grub>", "cker": "grub> ker"}[keys])
        screen.hang_up()
        screen.status()


def test_garbage_leaves_no_traceback(guest: Guest) -> None:
    noise = bytes(byte for byte in range(256) if byte not in b"\r\n\x03\x06\x04ecpb") * 3
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.send(noise)
        screen.send("\x1b[999999999999999999999999;1A\x1b]0;title\x07\x1b[H")
        screen.send("c")
        screen.wait_for("grub>")
        screen.send(noise.replace(ESC.encode(), b""))  # it leaves the prompt
        screen.send("\x15\x0b" + "root" + ENTER)
        screen.wait_for("Filesystem type is dir")
        screen.send(CTRL_C)
        assert screen.end() == 130
    assert b"Traceback" not in screen.transcript


def test_a_menu_of_ten_thousand_entries(guest: Guest) -> None:
    titles = "".join(f"title Number {n}\nkernel /boot/tiny which={n}\n" for n in range(10_000))
    with session(guest(titles)) as screen:
        screen.wait_for("Number 11")
        screen.send("\x1b[F")
        screen.wait_for(lambda seen: seen.highlighted == ["Number 9999"])
        screen.send(UP + ENTER)
        screen.wait_for("command line: which=9998")
        assert screen.end() == 0


def test_control_l_draws_the_screen_anew(guest: Guest) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.emulator.screen.reset()  # somebody else connects
        screen.send("\x0c")
        screen.wait_for("Three")
        screen.send(CTRL_C)
        assert screen.end() == 130


def test_control_c_stops_a_command_and_keeps_the_prompt(guest: Guest) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.send("c")
        screen.wait_for("grub>")
        screen.send("pause wait here" + ENTER)
        screen.wait_for(lambda seen: "wait here" in seen.rows)
        screen.send(CTRL_C)
        screen.wait_for("Interrupted")
        screen.send("kernel /boot/tiny after=it" + ENTER + "boot" + ENTER)
        screen.wait_for("command line: after=it")
        assert screen.end() == 0


def test_a_resized_window_is_filled(guest: Guest) -> None:
    with session(guest(MENU)) as screen:
        screen.wait_for("Three")
        screen.emulator.screen.resize(30, 100)
        termios.tcsetwinsize(screen.master, (30, 100))
        screen.send(DOWN)
        screen.wait_for(lambda seen: seen.rows[2] == " +" + "-" * 96 + "+" and seen.highlighted == ["Two"])
        screen.send(CTRL_C)
        assert screen.end() == 130


def test_the_pager_stops_at_a_full_screen(guest: Guest) -> None:
    comments = "".join(f"# line {number} of many\n" for number in range(60))
    with session(guest(comments + MENU)) as screen:
        screen.wait_for("Three")
        screen.send("c")
        screen.wait_for("grub>")
        screen.send("pager on" + ENTER)
        screen.wait_for("Internal pager is now on")
        screen.send("cat /boot/grub/menu.lst" + ENTER)
        for last in (22, 45):
            screen.wait_for("[ Press a key to go on ]")
            assert screen.emulator.rows[22] == f"# line {last} of many"
            screen.send(" ")
            screen.wait_for(lambda seen, last=last: f"# line {last + 10} of many" in seen.rows)  # type: ignore[misc]
        screen.wait_for("which=three")
        screen.send("kernel /boot/tiny" + ENTER + "boot" + ENTER)
        assert screen.end() == 0
