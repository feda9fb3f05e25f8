"""The orders of versions and names, as rpm and systemd have them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.menu.versions import rpm_key, rpm_name_key, rpm_parts, uapi_key

Compare = Callable[[str, str], int]


def _comparison(key: Callable[[str], Any]) -> Compare:
    return lambda left, right: (key(left) > key(right)) - (key(left) < key(right))


compare_rpm, compare_rpm_names, compare_uapi = map(_comparison, (rpm_key, rpm_name_key, uapi_key))
ALL: list[Compare] = [compare_rpm, compare_rpm_names, compare_uapi]
VERSIONS = st.text("019aAb.-_~+^ ", max_size=12)


# Each row was confirmed with rpm's own rpm.vercmp (`+` written `^` there).
@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("1.0", "1.0", 0),
        ("1.9", "1.10", -1),
        ("1.0", "1.0.1", -1),
        ("10", "9", 1),
        ("1.001", "1.1", 0),
        ("1a", "1", 1),
        ("1.a", "1.1", -1),
        ("abc", "abd", -1),
        ("A", "a", -1),
        ("1_0", "1.0", 0),
        ("1~rc1", "1", -1),
        ("1~rc1", "1~rc2", -1),
        ("1~~", "1~", -1),
        ("1+git1", "1", 1),
        ("1+git1", "1.1", -1),
        ("1+git1", "1+git2", -1),
        ("5.14.0", "5.4.0", 1),
        ("10xyz", "10.1xyz", -1),
        ("18446744073709551616", "18446744073709551615", 1),
    ],
)
def test_rpm_order(left: str, right: str, order: int) -> None:
    assert (compare_rpm(left, right), compare_rpm(right, left)) == (order, -order)


# Each row was confirmed with `systemd-analyze compare-versions`.
@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("11", "11", 0),
        ("systemd-123", "systemd-123", 0),
        ("bar-123", "foo-123", -1),
        ("123a", "123", 1),
        ("123.a", "123", 1),
        ("123.a", "123.b", -1),
        ("123a", "123.a", 1),
        ("11α", "11β", 0),
        ("B", "a", -1),
        ("", "0", -1),
        ("0.", "0", 1),
        ("0.0", "0", 1),
        ("0", "~", 1),
        ("", "~", 1),
        ("1_", "1", 0),
        ("_1", "1", 0),
        ("1_", "1.2", -1),
        ("1.2.3", "1_2_3", -1),
        ("1+", "1", 0),
        ("+1", "1", 0),
        ("1~2", "1", -1),
        ("1-2", "1.2", -1),
        ("1^2", "1.2", -1),
        ("1^2", "1", 1),
        ("10xyz", "10.1xyz", 1),
        ("09", "9", 0),
    ],
)
def test_uapi_order(left: str, right: str, order: int) -> None:
    assert (compare_uapi(left, right), compare_uapi(right, left)) == (order, -order)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("abc-5.14.0-362.el9", ("abc", "5.14.0", "362.el9")),
        ("a-b-5.14.0-0-rescue", ("a-b-5.14.0", "0", "rescue")),
        ("x-1", ("x", "1", "1")),
        ("x", ("x", "", "")),
    ],
)
def test_parts_of_a_name(name: str, parts: tuple[str, str, str]) -> None:
    assert rpm_parts(name) == parts


@pytest.mark.parametrize("compare", ALL)
@given(left=VERSIONS, right=VERSIONS)
def test_turning_round_changes_the_sign(compare: Compare, left: str, right: str) -> None:
    assert compare(left, right) == -compare(right, left)
    assert compare(left, left) == 0


@pytest.mark.parametrize("compare", ALL)
@given(names=st.lists(st.text("019ab.-~+", max_size=6), min_size=3, max_size=3))
def test_order_is_transitive(compare: Compare, names: list[str]) -> None:
    low, middle, high = sorted(names, key=cmp_to_key(compare))
    assert compare(low, middle) <= 0
    assert compare(middle, high) <= 0
    assert compare(low, high) <= 0
