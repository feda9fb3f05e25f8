"""How loaders compare versions and file names of boot entries, newest last."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key

from fsdrivers.light import Any

_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MARKS = "~-^."  # in the order systemd looks at them


def compare_rpm(left: str, right: str) -> int:
    """-1, 0 or 1 as rpm does it: digits as numbers, `~` lowest, `+` (rpm's `^`) just above the bare version.

    Source: rpmvercmp as Fedora's GRUB carries it in `blscfg`.
    """
    i = j = 0
    while i < len(left) or j < len(right):
        i, j = _skip_separators(left, i), _skip_separators(right, j)
        one, two = left[i : i + 1], right[j : j + 1]
        if "~" in (one, two):
            if one != two:
                return -1 if one == "~" else 1
            i, j = i + 1, j + 1
            continue
        if "+" in (one, two):
            if not one or not two:
                return 1 if one else -1
            if one != two:
                return -1 if one == "+" else 1
            i, j = i + 1, j + 1
            continue
        if not one or not two:
            break
        kind = _DIGITS if one in _DIGITS else _LETTERS
        first, second = _run(left, i, kind), _run(right, j, kind)
        if not second:  # other kinds: a number is newer than letters
            return 1 if kind is _DIGITS else -1
        i, j = i + len(first), j + len(second)
        order = _compare_numbers(first, second) if kind is _DIGITS else _sign(first, second)
        if order:
            return order
    return _sign(i < len(left), j < len(right))


def _skip_separators(text: str, at: int) -> int:
    while at < len(text) and text[at] not in _DIGITS and text[at] not in _LETTERS and text[at] not in "~+":
        at += 1
    return at


def rpm_parts(name: str) -> tuple[str, str, str]:
    """Name, version and release of a file name: what stands before, between and behind its last two `-`.

    With one `-` the part behind it is version and release; without any, all is the name.
    """
    rest, dash, release = name.rpartition("-")
    if not dash:
        return name, "", ""
    package, dash, version = rest.rpartition("-")
    return (package, version, release) if dash else (rest, release, release)


def compare_rpm_names(left: str, right: str) -> int:
    """-1, 0 or 1: names first, then versions, then releases."""
    orders = (compare_rpm(one, two) for one, two in zip(rpm_parts(left), rpm_parts(right), strict=True))
    return next((order for order in orders if order), 0)


def compare_uapi(left: str, right: str) -> int:
    """-1, 0 or 1 by the UAPI group's version format specification, as systemd-boot does it."""
    i = j = 0
    while True:
        i, j = _skip_foreign(left, i), _skip_foreign(right, j)
        one, two = left[i : i + 1], right[j : j + 1]
        if "~" in (one, two) and one != two:
            return -1 if one == "~" else 1
        if (not one or not two) and "~" not in (one, two):
            return _sign(bool(one), bool(two))
        mark = next((mark for mark in _MARKS if mark in (one, two)), None)
        if mark is not None:
            if one != two:
                return -1 if one == mark else 1
            i, j = i + 1, j + 1
            continue
        kind = _DIGITS if one in _DIGITS or two in _DIGITS else _LETTERS
        first, second = _run(left, i, kind), _run(right, j, kind)
        i, j = i + len(first), j + len(second)
        if kind is _DIGITS:
            order = _sign(bool(first), bool(second)) or _compare_numbers(first, second)
        else:
            order = _sign(first, second)
        if order:
            return order


def _skip_foreign(text: str, at: int) -> int:
    while at < len(text) and text[at] not in _DIGITS and text[at] not in _LETTERS and text[at] not in _MARKS:
        at += 1
    return at


def _run(text: str, at: int, kind: frozenset[str]) -> str:
    """The characters of one kind from `at` on."""
    end = at
    while end < len(text) and text[end] in kind:
        end += 1
    return text[at:end]


def _compare_numbers(left: str, right: str) -> int:
    """Digits as numbers of any length; never converted, a file name may hold hundreds."""
    left, right = left.lstrip("0"), right.lstrip("0")
    return _sign(len(left), len(right)) or _sign(left, right)


def _sign(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def sort_key(compare: Callable[[str, str], int]) -> Callable[[str], Any]:
    """A comparison as the `key` of sorted()."""
    return cmp_to_key(compare)
