"""Bytes of a terminal as keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.screen.keys import SEQUENCE_LIMIT, KeyDecoder

NAMES = {
    "up",
    "down",
    "left",
    "right",
    "page up",
    "page down",
    "home",
    "end",
    "enter",
    "escape",
    "backspace",
    "delete",
    "unknown",
}


def _decode(data: bytes) -> list[str]:
    decoder = KeyDecoder()
    return decoder.feed(data) + decoder.flush()


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1bOA\x1bOB\x1bOC\x1bOD", ["up", "down", "right", "left"]),
        (b"\x1b[1;5A", ["up"]),
        (b"\x1b[H\x1b[F\x1bOH\x1bOF\x1b[1~\x1b[4~\x1b[7~\x1b[8~", ["home", "end"] * 4),
        (b"\x1b[5~\x1b[6~\x1b[3~", ["page up", "page down", "delete"]),
        (b"\x1b[[A", ["unknown"]),
        (b"\x1b[15~\x1bOP", ["unknown", "unknown"]),
        (b"\r", ["enter"]),
        (b"\n", ["enter"]),
        (b"\r\n", ["enter"]),
        (b"\r\r\n\n", ["enter", "enter", "enter"]),
        (b"\x1bOM", ["enter"]),
        (b"\x7f\x08", ["backspace", "backspace"]),
        (b"\x1b", ["escape"]),
        (b"\x1b\x1b", ["escape", "escape"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x1bb", ["escape", "b"]),
        (b"\x1b[", ["unknown"]),
        (b"\x1b[\r", ["unknown", "enter"]),
        (b"\x1b[1\x1b[A", ["unknown", "up"]),
        (b"\x03\x10\t", ["\x03", "\x10", "\t"]),
        ("é日".encode(), ["é", "日"]),
        (b"\xff\xc3(", ["\udcff", "\udcc3", "("]),
        (b"\xc3", ["\udcc3"]),
        (b"", []),
    ],
)
def test_decoding(data: bytes, keys: list[str]) -> None:
    assert _decode(data) == keys


def test_a_lone_escape_waits_less_than_a_begun_sequence() -> None:
    decoder = KeyDecoder()
    assert decoder.patience() is None
    assert decoder.feed(b"\x1b") == []
    lone = decoder.patience()
    assert decoder.feed(b"[") == []
    begun = decoder.patience()
    assert lone is not None and begun is not None and 0 < lone < begun
    assert decoder.feed(b"A") == ["up"]
    assert decoder.patience() is None


def test_an_endless_sequence_is_given_up() -> None:
    keys = _decode(b"\x1b[" + b"1" * 1000 + b"A")
    assert keys[0] == "unknown"
    assert keys.count("1") == 1000 - SEQUENCE_LIMIT + 2


@given(st.binary(), st.lists(st.integers(0, 40), max_size=10))
def test_any_bytes_in_any_pieces_give_the_same_keys(data: bytes, cuts: list[int]) -> None:
    decoder, keys, at = KeyDecoder(), [], 0
    for cut in cuts:
        keys += decoder.feed(data[at : at + cut])
        at += cut
    keys += decoder.feed(data[at:]) + decoder.flush()
    assert keys == _decode(data)
    assert all(len(key) == 1 or key in NAMES for key in keys)
    assert decoder.patience() is None


@given(st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", codec="utf-8")))
def test_typed_text_arrives_as_it_is(text: str) -> None:
    assert _decode(text.encode()) == list(text)
