"""Requests that depend on the state of a file (RFC 9110 section 13)."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping

_TAGS = re.compile(r'[\t ,]*(?:(?:W/)?"[!\x23-\x7e\x80-\xff]*"[\t ]*(?:,[\t ,]*|$))*')
_TAG = re.compile(r'(W/)?"([!\x23-\x7e\x80-\xff]*)"')
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
# The three forms that RFC 9110 section 5.6.7 wants understood.
_DATES = [
    re.compile(r"[A-Z][a-z]{2}, (?P<d>\d\d) (?P<m>[A-Z][a-z]{2}) (?P<y>\d{4}) (?P<t>\d\d:\d\d:\d\d) GMT", re.ASCII),
    re.compile(r"[A-Z][a-z]{5,8}, (?P<d>\d\d)-(?P<m>[A-Z][a-z]{2})-(?P<y>\d\d) (?P<t>\d\d:\d\d:\d\d) GMT", re.ASCII),
    re.compile(r"[A-Z][a-z]{2} (?P<m>[A-Z][a-z]{2}) (?P<d>[ \d]\d) (?P<t>\d\d:\d\d:\d\d) (?P<y>\d{4})", re.ASCII),
]


def http_date(seconds: int) -> str:
    """Seconds since 1970 as an IMF-fixdate; no locale has a say in it."""
    moment = time.gmtime(seconds)
    month = _MONTHS[moment.tm_mon - 1]
    clock = f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
    return f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02} {month} {moment.tm_year:04} {clock} GMT"


def parse_date(text: str) -> int | None:
    """Seconds since 1970, None for what is no date."""
    found = next((found for form in _DATES if (found := form.fullmatch(text))), None)
    if found is None or found["m"] not in _MONTHS:
        return None
    year, day = int(found["y"]), int(found["d"])
    if len(found["y"]) == 2:
        year += 1900 if year >= 70 else 2000
    hour, minute, second = map(int, found["t"].split(":"))
    month = _MONTHS.index(found["m"]) + 1
    if year < 1 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        return None
    # timegm wants a day that the month has: count from its first one.
    return calendar.timegm((year, month, 1, hour, minute, second)) + (day - 1) * 86400


def _matches(field: str, etag: str, *, weakly: bool) -> bool:
    if field.strip("\t ") == "*":
        return True
    if _TAGS.fullmatch(field) is None:
        return False
    return any(tag == etag and (weakly or not weak) for weak, tag in _TAG.findall(field))


def precondition(headers: Mapping[str, str], etag: str, modified: int | None) -> int | None:
    """The status (412 or 304) that the request ends with, or None; for GET and HEAD, in the order of section 13.2.2.

    `etag` is strong and without quotes, `modified` the Last-Modified in seconds, None without one.
    """
    wanted, since = headers.get("if-match"), headers.get("if-unmodified-since")
    if wanted is not None:
        if not _matches(wanted, etag, weakly=False):
            return 412
    elif since is not None and modified is not None:
        limit = parse_date(since)
        if limit is not None and modified > limit:
            return 412
    known, since = headers.get("if-none-match"), headers.get("if-modified-since")
    if known is not None:
        return 304 if _matches(known, etag, weakly=True) else None
    if since is not None and modified is not None:
        limit = parse_date(since)
        if limit is not None and modified <= limit:
            return 304
    return None


def range_applies(headers: Mapping[str, str], etag: str, modified: int | None) -> bool:
    """Whether If-Range lets the Range count (section 13.1.5): the very same strong validator, or none given."""
    condition = headers.get("if-range")
    if condition is None:
        return True
    if condition.endswith('"'):
        return condition == f'"{etag}"'
    return modified is not None and parse_date(condition) == modified
