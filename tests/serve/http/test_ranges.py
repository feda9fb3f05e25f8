"""Ranges: what is sent of a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.http.conditional import Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("field", "size", "expected"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=3-5", 10, (3, 3)),
        ("bytes=9-9", 10, (9, 1)),
        ("bytes=5-100", 10, (5, 5)),
        ("bytes=-3", 10, (7, 3)),
        ("bytes=-100", 10, (0, 10)),
        ("Bytes= 1-2 ", 10, (1, 2)),
        ("bytes=1-2,", 10, (1, 2)),
        ("bytes=0-" + "9" * 5000, 10, (0, 10)),
        ("bytes=" + "0" * 5000 + "1-2", 10, (1, 2)),
        ("bytes=-" + "9" * 5000, 10, (0, 10)),
        # Ignored: the whole file is sent.
        ("bytes=0-1,3-4", 10, None),
        ("lines=1-2", 10, None),
        ("", 10, None),
        ("bytes", 10, None),
        ("bytes=", 10, None),
        ("bytes=-5", 0, None),
        ("bytes=0-", 0, None),
        ("bytes=0-0", 0, None),
        ("bytes=junk", 0, ...),
        ("bytes=1-", 0, ...),
        # No byte of the file.
        ("bytes=10-", 10, ...),
        ("bytes=10-20", 10, ...),
        ("bytes=5-4", 10, ...),
        ("bytes=-0", 10, ...),
        ("bytes=" + "9" * 5000 + "-", 10, ...),
        ("bytes=-", 10, ...),
        ("bytes=a-b", 10, ...),
        ("bytes=1", 10, ...),
        ("bytes=--1", 10, ...),
        ("bytes=1--2", 10, ...),
        ("bytes=+1-2", 10, ...),
        ("bytes=١-٢", 10, ...),
        ("bytes=1 - 2", 10, ...),
        ("bytes=0x1-2", 10, ...),
    ],
)
def test_ranges(field: str, size: int, expected: object) -> None:
    if expected is ...:
        with pytest.raises(Unsatisfiable):
            parse_range(field, size)
    else:
        assert parse_range(field, size) == expected


@given(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 60)), st.one_of(st.none(), st.integers(0, 60)))
def test_a_range_is_what_slicing_says(size: int, first: int | None, last: int | None) -> None:
    data = bytes(range(size))
    suffix, behind = data[-last:] if last else b"", None if last is None else last + 1
    wanted = suffix if first is None else data[first:behind]
    field = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        found = parse_range(field, size)
    except Unsatisfiable:
        assert wanted == b""
    else:
        assert found is None if not size else found is not None and data[found[0] : sum(found)] == wanted


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_text_gives_a_part_of_the_file_or_none(text: str, size: int) -> None:
    try:
        found = parse_range("bytes=" + text, size)
    except Unsatisfiable:
        return
    assert found is None or (found[0] >= 0 and found[1] > 0 and sum(found) <= size)
