"""Dates of directory records."""

from __future__ import annotations

from fsdrivers.iso9660._formats import SHORT_DATE


def short_date(raw: bytes) -> int:
    """Seconds since 1970 of a 7-byte date (ECMA-119 9.1.5); 0 if it is not one.

    The calendar arithmetic spares the import of datetime.
    """
    if len(raw) < SHORT_DATE.size:
        return 0
    year, month, day, hour, minute, second, zone = SHORT_DATE.unpack_from(raw)
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return 0
    # Years that begin in March put the leap day at their end.
    year += 1900 - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719468
    return int(days * 86400 + hour * 3600 + minute * 60 + second - zone * 900)
