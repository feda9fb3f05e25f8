"""Pictures, and what a terminal makes of the text that draws them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.screen.picture import Canvas, Picture, cells, window
from pvboot.screen.vt100 import render
from tests.screen.emulator import Emulator

ROWS, COLUMNS = 4, 12
TEXTS = st.text(st.sampled_from("ab =é日\x1b[mH\u0301\n\udcff"), max_size=COLUMNS + 3)
PUTS = st.lists(st.tuples(st.integers(-1, ROWS), st.integers(-2, COLUMNS), TEXTS, st.booleans()), max_size=6)


def _draw(puts: list[tuple[int, int, str, bool]]) -> Picture:
    canvas = Canvas(ROWS, COLUMNS)
    for row, column, text, reverse in puts:
        canvas.put(row, column, text, reverse=reverse)
    return canvas.picture((1, 2))


def _narrow(puts: list[tuple[int, int, str, bool]]) -> list[tuple[int, int, str, bool]]:
    """Texts without wide characters, half of which one put could overwrite."""
    return [(row, column, text.replace("日", "x"), reverse) for row, column, text, reverse in puts]


@given(PUTS.map(_narrow), PUTS.map(_narrow))
def test_drawing_over_another_picture_shows_the_new_one(
    before: list[tuple[int, int, str, bool]], after: list[tuple[int, int, str, bool]]
) -> None:
    old, new = _draw(before), _draw(after)
    emulator = Emulator(ROWS, COLUMNS)
    emulator.feed("what stood there before\r\n" * ROWS)
    emulator.feed(render(None, old))
    emulator.feed(render(old, new))
    for row, line in enumerate(new.rows):
        for column, (text, reverse) in enumerate(line):
            if (row, column) != (ROWS - 1, COLUMNS - 1):  # never written: it would scroll some terminals
                cell = emulator.screen.buffer[row][column]
                assert (cell.data, cell.reverse) == (_composed(text), reverse)
    assert emulator.cursor == new.cursor


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@given(PUTS)
def test_nothing_that_is_drawn_steers_the_terminal(puts: list[tuple[int, int, str, bool]]) -> None:
    picture = _draw(puts)
    assert all(text.isprintable() for row in picture.rows for text, _reverse in row)


def test_an_unchanged_picture_costs_next_to_nothing() -> None:
    picture = _draw([(1, 1, "text", True)])
    assert len(render(picture, picture)) < 10


def test_a_change_of_one_cell_sends_no_more() -> None:
    before, after = _draw([(1, 1, "9 s", False)]), _draw([(1, 1, "8 s", False)])
    assert "8" in render(before, after)
    assert " s" not in render(before, after)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab", ["a", "b"]),
        ("日b", ["日", "", "b"]),
        ("e\u0301x", ["e\u0301", "x"]),
        ("\u0301x", [" \u0301", "x"]),
        ("日\u0301", ["日\u0301", ""]),
        ("\x1bé", ["\\", "x", "1", "b", "é"]),
        ("e" + "\u0301" * 1000, ["e\u0301\u0301"]),
    ],
)
def test_cells(text: str, expected: list[str]) -> None:
    assert cells(text) == expected


@pytest.mark.parametrize(
    ("text", "first", "columns", "expected"),
    [
        ("abc", 0, 5, "abc  "),
        ("abcde", 0, 5, "abcde"),
        ("abcdef", 0, 5, "abcd>"),
        ("abcdef", 1, 5, "<cdef"),
        ("abcdefgh", 1, 5, "<cde>"),
        ("日本語", 0, 5, "日本>"),
        ("日本語", 0, 4, "日 >"),
        ("日本語", 1, 4, "<本>"),
        ("", 0, 3, "   "),
    ],
)
def test_window(text: str, first: int, columns: int, expected: str) -> None:
    assert "".join(window(cells(text), first, columns)) == expected


@given(st.text(max_size=30), st.integers(0, 40), st.integers(2, 20))
def test_a_window_has_its_width_and_whole_characters(text: str, first: int, columns: int) -> None:
    seen = window(cells(text), first, columns)
    assert len(seen) == columns
    assert seen[0] != ""
    for left, right in zip(seen, [*seen[1:], " "], strict=True):
        wide = bool(left) and len(cells(left)) == 2
        assert wide == (right == "") or right != ""


def test_terminals_that_count_columns_otherwise_are_put_right_after_such_characters() -> None:
    text = render(None, _draw([(0, 0, "日b", False)]))
    assert "日\x1b[1;3Hb" in text.replace("\x1b[1;2H", "")
