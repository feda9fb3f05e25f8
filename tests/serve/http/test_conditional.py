"""Conditions and ranges that nginx does not judge (`test_against_nginx.py` has the others)."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.http.conditional import Unsatisfiable, parse_range, precondition, wanted_range

NOW = 1_700_000_000
EARLIER = formatdate(NOW - 60, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"If-None-Match": "tag"}, None),
        ({"If-None-Match": '"a,tag"'}, None),
        ({"If-None-Match": '"tag'}, None),
        ({"If-None-Match": 'w/"tag"'}, None),
        ({"If-None-Match": '"tag"', "If-Modified-Since": EARLIER}, 304),
        ({"If-Match": 'W/"tag"'}, 412),
        ({"If-Match": '"tag"', "If-None-Match": '"tag"'}, 304),
        ({"If-Match": '"tag"', "If-Unmodified-Since": EARLIER}, None),
        ({"If-Unmodified-Since": "never"}, None),
    ],
)
def test_preconditions(headers: dict[str, str], expected: int | None) -> None:
    assert precondition(make_mocked_request("GET", "/", headers), "tag", NOW) == expected


def test_files_without_a_date_ignore_dates() -> None:
    for name in ("If-Modified-Since", "If-Unmodified-Since", "If-Range"):
        request = make_mocked_request("GET", "/", {name: EARLIER, "Range": "bytes=0-1"})
        assert precondition(request, "tag", None) is None
        assert (wanted_range(request, "tag", None, 10) is None) is (name == "If-Range")


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60))
def test_any_text_is_a_condition(text: str) -> None:
    for name, status in {"If-None-Match": 304, "If-Match": 412, "If-Modified-Since": 304}.items():
        request = make_mocked_request("GET", "/", {name: text, "Range": "bytes=0-1", "If-Range": text})
        assert precondition(request, "tag", NOW) in (status, None)
        assert wanted_range(request, "tag", NOW, 10) in (None, (0, 2))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=1-2,", (1, 2)),
        ("bytes=0-" + "9" * 5000, (0, 10)),
        ("bytes=" + "0" * 5000 + "1-2", (1, 2)),
        ("bytes=-" + "9" * 5000, (0, 10)),
        ("bytes=0-1,3-4", None),
        ("bytes=" + "9" * 5000 + "-", ...),
        ("bytes=1--2", ...),
        ("bytes=+1-2", ...),
        ("bytes=١-٢", ...),
        ("bytes=0x1-2", ...),
    ],
)
def test_ranges(field: str, expected: object) -> None:
    if expected is ...:
        with pytest.raises(Unsatisfiable):
            parse_range(field, 10)
    else:
        assert parse_range(field, 10) == expected


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
