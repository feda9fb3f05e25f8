"""The menu's and the editor's screens, exactly as they stand on 24 by 80."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot import __version__
from pvboot.devices import Devices
from pvboot.menu.dialects import MenuContext
from pvboot.menu.menu_lst import build
from pvboot.menu.model import Menu
from pvboot.screen.editor import Lines, draw_lines
from pvboot.screen.list_screen import Position
from pvboot.screen.menu_screen import draw_hidden, draw_menu
from pvboot.screen.picture import Picture
from pvboot.screen.vt100 import render
from tests.screen.emulator import Emulator

SIZE = (24, 80)
EDGE = " +" + "-" * 76 + "+"


def _menu(*titles: str) -> Menu:
    text = "".join(f"title {title}\nboot\n" for title in titles)
    return build(text.encode("utf-8", "surrogateescape"), MenuContext("d", "(hd0,0)", "/boot/menu.lst", Devices(())))


def _seen(picture: Picture) -> Emulator:
    emulator = Emulator(*picture.size)
    emulator.feed(render(None, picture))
    return emulator


def _boxed(*lines: str, marks: str = "|" * 12) -> list[str]:
    return [f" | {line:<75}{mark}" for line, mark in zip([*lines, *[""] * 12][:12], marks, strict=True)]


def test_the_menu() -> None:
    emulator = _seen(draw_menu(SIZE, _menu("Debian", "Xen"), Position(2, 1), "Booting in 5 s."))
    assert emulator.rows == [
        "",
        f"    pvboot {__version__}  (hd0,0)/boot/menu.lst",
        EDGE,
        *_boxed("Debian", "Xen"),
        EDGE,
        "    Use the ^ and v keys to choose an entry, Enter to boot it.",
        "    'e' edits its commands before booting, 'c' is a command line.",
        "",
        "",
        "",
        "",
        "    Booting in 5 s.",
        "",
    ]
    assert emulator.highlighted == ["Xen"]
    assert emulator.cursor == (4, 2)


def test_a_locked_menu_offers_the_password_only() -> None:
    text = _seen(draw_menu(SIZE, _menu("a"), Position(1), "", locked=True)).text
    assert "'p' asks for the password" in text
    assert "'e'" not in text


def test_a_long_list_scrolls_and_says_so() -> None:
    menu = _menu(*(f"entry {number}" for number in range(40)))
    position = Position(40)
    shown = []
    for selected in (0, 11, 12, 39, 28, 27):
        position.selected = selected
        emulator = _seen(draw_menu(SIZE, menu, position, ""))
        assert emulator.highlighted == [f"entry {selected}"]
        shown.append((position.top, emulator.rows[3][-1], emulator.rows[14][-1]))
    assert shown == [(0, "|", "v"), (0, "|", "v"), (1, "^", "v"), (28, "^", "|"), (28, "^", "|"), (27, "^", "v")]


def test_ten_thousand_entries() -> None:
    menu = _menu(*(f"entry {number}" for number in range(10_000)))
    picture = draw_menu(SIZE, menu, Position(10_000, 9_999), "")
    assert _seen(picture).rows[3:15] == _boxed(*(f"entry {n}" for n in range(9_988, 10_000)), marks="^" + "|" * 11)


def test_a_long_title_is_cut_with_a_mark() -> None:
    row = _seen(draw_menu(SIZE, _menu("x" * 300), Position(1), "")).rows[3]
    assert row == " | " + "x" * 73 + "> |"


def test_wide_titles_keep_the_frame() -> None:
    emulator = _seen(draw_menu(SIZE, _menu("日本語" * 30), Position(1), ""))
    assert emulator.screen.buffer[3][78].data == "|"


@pytest.mark.parametrize("title", ["\x1b[2J\x1b[31mevil", "a\rb\x08c", "\x9b2J", "\x0e\x0f", "x\udcffy", "\u202eabc"])
def test_a_title_cannot_steer_the_terminal(title: str) -> None:
    text = render(None, draw_menu(SIZE, _menu(f"A{title}"), Position(1), ""))
    assert "evil" not in title or "\\x1b[31mevil" in text
    steering = [character for character in text if not character.isprintable() and character != "\x1b"]
    assert steering == []
    assert _seen(draw_menu(SIZE, _menu(f"A{title}"), Position(1), "")).rows[2] == EDGE


def test_the_first_screen_fits_libxls_buffer() -> None:
    menu = _menu(*("x" * 300 for _ in range(40)))
    assert len(render(None, draw_menu(SIZE, menu, Position(40, 20), "y" * 300)).encode()) < 4096


def test_a_second_of_the_clock_is_a_few_bytes() -> None:
    menu = _menu("a", "b")
    pictures = [draw_menu(SIZE, menu, Position(2), f"automatically in {left} s.") for left in (7, 6)]
    assert len(render(*pictures)) < 32


def test_a_submenu_is_named_before_its_entry() -> None:
    menu = _menu("inner")
    menu = replace(menu, entries=(replace(menu.entries[0], submenu=("Advanced", "Old"), locked=True),))
    assert "Advanced > Old > inner (locked)" in _seen(draw_menu(SIZE, menu, Position(1), "")).text


def test_a_hidden_menu_shows_one_line() -> None:
    assert _seen(draw_hidden(SIZE, 7)).text.strip() == "Press any key to see the menu... 7"


@pytest.mark.parametrize(
    ("keys", "selected"),
    [
        (["down"], 6),
        (["\x0e"], 6),
        (["v"], 6),
        (["up"], 4),
        (["\x10"], 4),
        (["^"], 4),
        (["page down"], 17),
        (["page up"], 0),
        (["home"], 0),
        (["end"], 29),
        (["end", "down"], 29),
        (["home", "up"], 0),
        (["x", "unknown", "escape", "left"], 5),
        (["end", "page up"], 17),
    ],
)
def test_moving(keys: list[str], selected: int) -> None:
    position = Position(30, 5)
    for key in keys:
        position.press(key, 12)
    assert position.selected == selected


# --- the editor


def test_the_editor() -> None:
    state = Lines(["root (hd0,0)", "kernel /vmlinuz ro", "initrd /initrd"])
    state.press("down", 12)
    emulator = _seen(draw_lines(SIZE, "Debian", state))
    assert emulator.rows[1] == f"    pvboot {__version__}  Debian"
    assert emulator.rows[3:15] == _boxed("root (hd0,0)", "kernel /vmlinuz ro", "initrd /initrd")
    assert emulator.highlighted == ["kernel /vmlinuz ro"]
    assert "'b' boots the lines" in emulator.text


@pytest.mark.parametrize(
    ("keys", "lines", "selected", "editing"),
    [
        (["e"], ["a", "b"], 0, True),
        (["o"], ["a", "", "b"], 1, True),
        (["O"], ["", "a", "b"], 0, True),
        (["down", "o"], ["a", "b", ""], 2, True),
        (["d"], ["b"], 0, False),
        (["down", "d"], ["a"], 0, False),
        (["d", "d"], [], 0, False),
        (["d", "d", "d", "e", "up"], [], 0, False),
        (["d", "d", "o"], [""], 0, True),
        (["d", "d", "O"], [""], 0, True),
        (["enter", "x"], ["a", "b"], 0, False),
    ],
)
def test_keys_of_the_editor(keys: list[str], lines: list[str], selected: int, editing: bool) -> None:
    state = Lines(["a", "b"])
    results = [state.press(key, 12) for key in keys]
    assert (state.lines, state.position.selected, results[-1]) == (lines, selected, editing)


def test_an_empty_editor_can_be_drawn() -> None:
    assert _seen(draw_lines(SIZE, "t", Lines([]))).rows[3:15] == _boxed()


MOVES = ["up", "down", "page up", "page down", "home", "end", "o", "O", "d", "e", "x"]


@given(st.lists(st.sampled_from(MOVES), max_size=50), st.integers(14, 50), st.integers(40, 160))
def test_whatever_is_pressed_one_line_is_highlighted(keys: list[str], rows: int, columns: int) -> None:
    state = Lines([str(number) for number in range(20)])
    for key in keys:
        state.press(key, 5)
        picture = draw_lines((rows, columns), "t", state)
        highlighted = sum(any(reverse for _text, reverse in row) for row in picture.rows)
        assert highlighted == bool(state.lines)
