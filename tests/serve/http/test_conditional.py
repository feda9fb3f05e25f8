"""Conditions on a file's validator and date."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.http.conditional import precondition, wanted_range

NOW = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
SAME, EARLIER, LATER = (formatdate(NOW + shift, usegmt=True) for shift in (0, -60, 60))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"If-None-Match": '"tag"'}, 304),
        ({"If-None-Match": 'W/"tag"'}, 304),
        ({"If-None-Match": '"a", "tag" , W/"b"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, None),
        ({"If-None-Match": "tag"}, None),
        ({"If-None-Match": '"a,tag"'}, None),
        ({"If-None-Match": '"tag'}, None),
        ({"If-None-Match": 'w/"tag"'}, None),
        ({"If-Modified-Since": SAME}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, None),
        ({"If-Modified-Since": "yesterday"}, None),
        ({"If-None-Match": '"other"', "If-Modified-Since": SAME}, None),
        ({"If-None-Match": '"tag"', "If-Modified-Since": EARLIER}, 304),
        ({"If-Match": '"tag"'}, None),
        ({"If-Match": "*"}, None),
        ({"If-Match": '"x","tag"'}, None),
        ({"If-Match": 'W/"tag"'}, 412),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": '"other"', "If-None-Match": '"tag"'}, 412),
        ({"If-Match": '"tag"', "If-None-Match": '"tag"'}, 304),
        ({"If-Match": '"tag"', "If-Unmodified-Since": EARLIER}, None),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Unmodified-Since": SAME}, None),
        ({"If-Unmodified-Since": LATER}, None),
        ({"If-Unmodified-Since": "never"}, None),
    ],
)
def test_preconditions(headers: dict[str, str], expected: int | None) -> None:
    assert precondition(make_mocked_request("GET", "/", headers), "tag", NOW) == expected


@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since"])
def test_files_without_a_date_ignore_dates(name: str) -> None:
    assert precondition(make_mocked_request("GET", "/", {name: EARLIER}), "tag", None) is None


@pytest.mark.parametrize(
    ("condition", "applies"),
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
def test_a_range_counts_only_for_the_very_same_file(condition: str | None, applies: bool) -> None:
    headers = {"Range": "bytes=0-1"} | ({} if condition is None else {"If-Range": condition})
    request = make_mocked_request("GET", "/", headers)
    assert (wanted_range(request, "tag", NOW, 10) == (0, 2)) is applies
    assert (wanted_range(request, "tag", None, 10) == (0, 2)) is (applies and condition != SAME)


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60))
def test_any_text_is_a_condition(text: str) -> None:
    for name, statuses in {
        "If-None-Match": (304, None),
        "If-Match": (412, None),
        "If-Modified-Since": (304, None),
    }.items():
        request = make_mocked_request("GET", "/", {name: text, "Range": "bytes=0-1", "If-Range": text})
        assert precondition(request, "tag", NOW) in statuses
        assert wanted_range(request, "tag", NOW, 10) in (None, (0, 2))
