"""Requests that depend on the state of a file, and ranges of it (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aiohttp import ETag
from aiohttp.web import BaseRequest

_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
# Longer numbers lie behind the end of every file; int() refuses those of thousands of digits.
_DIGITS = 18


class Unsatisfiable(Exception):  # noqa: N818  (the name says what is wrong)
    """The range has no byte of the file: 416."""


def precondition(request: BaseRequest, etag: str, modified: int | None) -> int | None:
    """Return the status (412 or 304) that the request ends with, or None; the order is that of section 13.2.2.

    `etag` is strong and without quotes, `modified` the Last-Modified in seconds, None without one.
    """
    if request.if_match is not None:
        if not _matches(request.if_match, etag, weakly=False):
            return 412
    elif request.if_unmodified_since is not None and modified is not None:
        limit = request.if_unmodified_since.timestamp()
        if modified > limit:
            return 412
    if request.if_none_match is not None:
        return 304 if _matches(request.if_none_match, etag, weakly=True) else None
    if request.if_modified_since is not None and modified is not None:
        return 304 if modified <= request.if_modified_since.timestamp() else None
    return None


def _matches(tags: Iterable[ETag], etag: str, *, weakly: bool) -> bool:
    return any(tag.value == "*" or (tag.value == etag and (weakly or not tag.is_weak)) for tag in tags)


def wanted_range(request: BaseRequest, etag: str, modified: int | None, size: int) -> tuple[int, int] | None:
    """Return first byte and length of what the request wants of a file of `size` bytes, None for the whole.

    If-Range lets a range count for the very same strong tag or date only (section 13.1.5).  Raises `Unsatisfiable`.
    """
    field = request.headers.get("Range")
    if request.method != "GET" or field is None:
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and condition != f'"{etag}"':
        date = request.if_range
        if condition.endswith('"') or date is None or date.timestamp() != modified:
            return None
    return parse_range(field, size)


def parse_range(field: str, size: int) -> tuple[int, int] | None:
    """Return first byte and length of the range in a file of `size` bytes; None: send the whole file.

    Several ranges and unknown units are ignored, as the RFC allows, and as in nginx the beginning or end of an empty
    file, which no Content-Range could describe.  Raises `Unsatisfiable`, also for text that is not a range.
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
