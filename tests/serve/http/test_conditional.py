"""Conditions on a file's validator and date."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.http.conditional import http_date, parse_date, precondition, range_applies

NOW = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
SAME, EARLIER, LATER = (http_date(NOW + shift) for shift in (0, -60, 60))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"if-none-match": '"tag"'}, 304),
        ({"if-none-match": 'W/"tag"'}, 304),
        ({"if-none-match": '"a", "tag" , W/"b"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"other"'}, None),
        ({"if-none-match": "tag"}, None),
        ({"if-none-match": '"a,tag"'}, None),
        ({"if-none-match": '"tag'}, None),
        ({"if-none-match": 'w/"tag"'}, None),
        ({"if-none-match": '"tag", junk'}, None),
        ({"if-none-match": '"a" "tag"'}, None),
        ({"if-modified-since": SAME}, 304),
        ({"if-modified-since": LATER}, 304),
        ({"if-modified-since": EARLIER}, None),
        ({"if-modified-since": "yesterday"}, None),
        ({"if-none-match": '"other"', "if-modified-since": SAME}, None),
        ({"if-none-match": '"tag"', "if-modified-since": EARLIER}, 304),
        ({"if-match": '"tag"'}, None),
        ({"if-match": "*"}, None),
        ({"if-match": '"x","tag"'}, None),
        ({"if-match": 'W/"tag"'}, 412),
        ({"if-match": '"other"'}, 412),
        ({"if-match": ""}, 412),
        ({"if-match": '"other"', "if-none-match": '"tag"'}, 412),
        ({"if-match": '"tag"', "if-none-match": '"tag"'}, 304),
        ({"if-match": '"tag"', "if-unmodified-since": EARLIER}, None),
        ({"if-unmodified-since": EARLIER}, 412),
        ({"if-unmodified-since": SAME}, None),
        ({"if-unmodified-since": LATER}, None),
        ({"if-unmodified-since": "never"}, None),
    ],
)
def test_preconditions(headers: dict[str, str], expected: int | None) -> None:
    assert precondition(headers, "tag", NOW) == expected


@pytest.mark.parametrize("name", ["if-modified-since", "if-unmodified-since"])
def test_what_has_no_date_ignores_dates(name: str) -> None:
    assert precondition({name: EARLIER}, "tag", None) is None


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, True),
        ('"tag"', True),
        ('W/"tag"', False),
        ('"other"', False),
        ("tag", False),
        (SAME, True),
        (EARLIER, False),
        (LATER, False),
        ("", False),
    ],
)
def test_a_range_counts_only_for_the_very_same_file(condition: str | None, expected: bool) -> None:
    headers = {} if condition is None else {"if-range": condition}
    assert range_applies(headers, "tag", NOW) is expected
    assert range_applies(headers, "tag", None) is (expected and condition != SAME)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:60:37 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 32 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_dates(text: str, expected: int | None) -> None:
    assert parse_date(text) == expected


@given(st.integers(0, 253402300799))
def test_dates_come_back_and_are_those_of_the_standard_library(seconds: int) -> None:
    text = http_date(seconds)
    assert parse_date(text) == seconds
    assert text == email.utils.formatdate(seconds, usegmt=True)


@given(st.text(max_size=60))
def test_any_text_is_a_date_or_none_and_a_condition(text: str) -> None:
    parse_date(text)
    assert precondition({"if-none-match": text}, "tag", NOW) in (304, None)
    assert precondition({"if-match": text}, "tag", NOW) in (412, None)
