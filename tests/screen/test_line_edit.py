"""Editing a line with GRUB's keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.screen.line_edit import HISTORY_LIMIT, LINE_LIMIT, LineEditor

A, B, D, E, F, K, N, P, U, Y = (chr(ord(letter) & 0x1F) for letter in "ABDEFKNPUY")
KEYS = st.sampled_from(
    [
        A,
        B,
        D,
        E,
        F,
        K,
        N,
        P,
        U,
        Y,
        "left",
        "right",
        "up",
        "down",
        "home",
        "end",
        "delete",
        "backspace",
        "unknown",
        "a",
        "日",
        "\u0301",
        "\udcff",
        "\x00",
        "\x9b",
        "\x1f",
        "enter",
        "escape",
    ]
)


def _edit(text: str, keys: list[str], history: list[str] | None = None) -> tuple[str, int]:
    editor = LineEditor(text, history or [])
    for key in keys:
        editor.press(key)
    return editor.text, editor.cursor


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        (["d"], "abcd", 4),
        ([A, "x"], "xabc", 1),
        (["home", "x", "end", "y"], "xabcy", 5),
        ([A, E], "abc", 3),
        ([B, B, "x"], "axbc", 2),
        (["left", "left", "x"], "axbc", 2),
        ([A, F, "x"], "axbc", 2),
        (["left", "right", "right"], "abc", 3),
        ([A, B, "left"], "abc", 0),
        (["backspace"], "ab", 2),
        ([A, "backspace"], "abc", 0),
        ([A, D], "bc", 0),
        ([D], "abc", 3),
        (["left", "delete"], "ab", 2),
        (["left", K], "ab", 2),
        (["left", U], "c", 0),
        (["left", U, E, Y], "cab", 3),
        (["left", K, A, Y, Y], "ccab", 2),
        (["unknown", "enter", "\x00", "\x9b", "\t"], "abc", 3),
        ([P], "newest", 6),
        (["up", "up"], "oldest", 6),
        ([P, P, P], "oldest", 6),
        ([P, P, N], "newest", 6),
        ([P, "x", N], "abc", 3),
        ([N], "abc", 3),
    ],
)
def test_keys(keys: list[str], text: str, cursor: int) -> None:
    assert _edit("abc", keys, ["oldest", "newest"]) == (text, cursor)


def test_a_line_has_an_end() -> None:
    editor = LineEditor(limit=3)
    for _ in range(10):
        editor.press("x")
    assert editor.text == "xxx"
    editor.insert("long")
    assert editor.text == "xxx"
    assert LineEditor().limit == LINE_LIMIT


def test_the_history_is_bounded_and_holds_no_line_twice_in_a_row() -> None:
    history: list[str] = []
    for number in range(HISTORY_LIMIT + 50):
        for _ in range(2):
            LineEditor(str(number), history).remember()
    LineEditor("", history).remember()
    assert history == [str(number) for number in range(50, HISTORY_LIMIT + 50)]


def test_a_password_shows_stars() -> None:
    seen, at = LineEditor("日x").view(10, masked=True)
    assert ("".join(seen), at) == ("**        ", 2)


@given(st.text(max_size=60), st.lists(KEYS, max_size=60), st.integers(2, 40))
def test_the_cursor_stays_in_the_line_and_in_view(text: str, keys: list[str], columns: int) -> None:
    editor = LineEditor(text, ["one", "two"], limit=100)
    for key in keys:
        editor.press(key)
        seen, at = editor.view(columns)
        assert 0 <= editor.cursor <= len(editor.text)
        assert len(seen) == columns
        assert 0 <= at < columns
