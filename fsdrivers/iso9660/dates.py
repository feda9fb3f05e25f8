"""Dates of directory records."""

from __future__ import annotations


def short_date(raw: bytes) -> int:
    """Seconds since 1970 of a 7-byte date (ECMA-119 9.1.5); 0 if it is not one.

    The calendar arithmetic spares the import of datetime.
    """
    if len(raw) < 7 or not 1 <= raw[1] <= 12 or not 1 <= raw[2] <= 31:
        return 0
    # Years that begin in March put the leap day at their end.
    year = 1900 + raw[0] - (raw[1] <= 2)
    day_of_year = (153 * ((raw[1] + 9) % 12) + 2) // 5 + raw[2] - 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719468
    zone_quarters = raw[6] - 256 if raw[6] > 127 else raw[6]
    return days * 86400 + raw[3] * 3600 + raw[4] * 60 + raw[5] - zone_quarters * 900
