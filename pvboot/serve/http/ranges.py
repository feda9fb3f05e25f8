"""The Range field (RFC 9110 section 14): one range of bytes or the whole."""

from __future__ import annotations

import re

_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
# Longer numbers lie behind the end of every file; int() refuses those of thousands of digits.
_DIGITS = 18


class Unsatisfiable(Exception):  # noqa: N818  (what it is)
    """No byte of the file is in the range: 416."""


def parse_range(field: str, size: int) -> tuple[int, int] | None:
    """First byte and length of the range in a file of `size` bytes; None: send the whole file.

    Several ranges and unknown units are ignored, as the RFC allows, and as in nginx the beginning or end of an empty
    file, which no Content-Range could describe.  Raises `Unsatisfiable`, also for what is no range.
    """
    unit, equals, text = field.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    ranges = [part.strip("\t ") for part in text.split(",") if part.strip("\t ")]
    if len(ranges) != 1:
        return None
    found = _RANGE.fullmatch(ranges[0])
    if found is None or found[0] == "-":
        raise Unsatisfiable
    first, last = (_number(digits) for digits in found.groups())
    if size == 0 and not first:
        return None
    if first is None:
        if not last:
            raise Unsatisfiable
        return max(size - last, 0), min(last, size)
    if first >= size or (last is not None and last < first):
        raise Unsatisfiable
    return first, size - first if last is None else min(last, size - 1) - first + 1


def _number(digits: str) -> int | None:
    if not digits:
        return None
    return int(digits[-_DIGITS:]) if len(digits.lstrip("0")) <= _DIGITS else 10**_DIGITS
