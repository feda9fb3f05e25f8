"""Directory records: one directory's bytes -> its members, multi-extent files put together; their dates."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.errors import Corrupt
from fsdrivers.iso9660 import SECTOR_BYTES
from fsdrivers.iso9660._formats import DIRECTORY_RECORD, SHORT_DATE
from fsdrivers.light import dataclass, replace

SELF, PARENT = b"\x00", b"\x01"


class RecordFlag:
    """Bits of a directory record's flags."""

    DIRECTORY = 0x02
    ASSOCIATED = 0x04
    MULTI_EXTENT = 0x80


@dataclass(frozen=True, slots=True)
class Member:
    """One directory record, or the records of one multi-extent file.

    `name` as on disk; `sections` are (first byte on the volume, size in bytes); `system_use` is the area behind
    the name of the first record; `position` is its byte on the volume.
    """

    name: bytes
    flags: int
    date: bytes
    sections: tuple[tuple[int, int], ...]
    interleaved: bool
    system_use: bytes
    position: int

    @property
    def size(self) -> int:
        """Size in bytes, all sections together."""
        return sum(size for _, size in self.sections)

    @property
    def is_directory(self) -> bool:
        """Whether ISO 9660 itself calls it a directory."""
        return bool(self.flags & RecordFlag.DIRECTORY)


def parse_record(data: bytes, offset: int, position: int, where: str) -> tuple[Member, int]:
    """The record at `offset` of `data`, and its length; `position` is its byte on the volume.

    Raises `Corrupt` if it does not fit into its sector or its name does not fit into it.
    """
    room = min(len(data), offset - offset % SECTOR_BYTES + SECTOR_BYTES) - offset
    length = data[offset]
    if not DIRECTORY_RECORD.size < length <= room:
        expected, where = f"{DIRECTORY_RECORD.size + 1}..{room}", f"{where}: byte {offset}"
        raise Corrupt("bad length of a directory record", where=where, expected=expected, found=str(length))
    _, xar_blocks, extent, size, date, flags, unit, gap, name_bytes = DIRECTORY_RECORD.unpack_from(data, offset)
    name_end = DIRECTORY_RECORD.size + name_bytes
    if not name_bytes or name_end > length:
        expected, where = f"1..{length - DIRECTORY_RECORD.size}", f"{where}: byte {offset}"
        raise Corrupt("bad name length of a directory record", where=where, expected=expected, found=str(name_bytes))
    name = data[offset + DIRECTORY_RECORD.size : offset + name_end]
    # A name of even length is followed by a padding byte.
    system_use = data[offset + name_end + (name_bytes + 1) % 2 : offset + length]
    # The extended attribute record comes first in the extent and is not the file's content.
    section = (extent + xar_blocks) * SECTOR_BYTES, size
    return Member(name, flags, date, (section,), bool(unit or gap), system_use, position), length


def members(data: bytes, position: int, where: str) -> Iterator[Member]:
    """The members of a directory whose bytes start at byte `position` of the volume, its own two records left out.

    Consecutive records of one name belong together as long as they carry the multi-extent flag; padding at the
    end of a sector does not part them.
    """
    pending: list[Member] = []
    for record in _records(data, position, where):
        if pending and record.name != pending[0].name:
            break
        pending.append(record)
        if record.flags & RecordFlag.MULTI_EXTENT:
            continue
        yield _join(pending) if len(pending) > 1 else record
        pending = []
    if pending:
        raise Corrupt("last part of a multi-extent file is missing", where=where, found=repr(pending[0].name))


def _records(data: bytes, position: int, where: str) -> Iterator[Member]:
    offset = 0
    while offset < len(data):
        if not data[offset]:
            offset += SECTOR_BYTES - offset % SECTOR_BYTES
            continue
        record, length = parse_record(data, offset, position + offset, where)
        offset += length
        if record.name not in (SELF, PARENT) and not record.flags & RecordFlag.ASSOCIATED:
            yield record


def _join(parts: list[Member]) -> Member:
    sections = tuple(part.sections[0] for part in parts)
    return replace(
        parts[0], flags=parts[-1].flags, sections=sections, interleaved=any(part.interleaved for part in parts)
    )


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
