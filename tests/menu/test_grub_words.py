"""Words of one line as GRUB 2's lexer makes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.menu.grub2_rules import join_arguments
from pvboot.menu.grub_words import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc ", ["a", "b", "c"]),
        ("a'b c'd", ["ab cd"]),
        ('a="b c" d', ["a=b c", "d"]),
        ('"a\\"b" "a\\b" "\\$x" "\\\\"', ['a"b', "a\\b", "$x", "\\"]),
        ("'a\\' b", ["a\\", "b"]),
        ("a\\ b \\c", ["a b", "c"]),
        ('\\x20 "\\x20"', ["\\x20", "\\x20"]),
        ("'' \"\" a", ["", "", "a"]),
        ("'never closed", ["never closed"]),
        ("end\\", ["end\\"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(st.lists(st.text("abc=/.-_", min_size=1, max_size=5), max_size=5))
def test_plain_words_come_back(words: list[str]) -> None:
    assert split_words(join_arguments(words)) == words
