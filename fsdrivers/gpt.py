"""The GUID partition table with its backup header, for any logical sector size."""

from __future__ import annotations

import zlib

from fsdrivers._formats import GptEntry, GptHeader, GptHeaderOffsets
from fsdrivers.api import BlockSource, Volume
from fsdrivers.blocks import SliceSource
from fsdrivers.errors import Corrupt, FsError, require, require_checksum

MAGIC = b"EFI PART"
SECTOR_SIZES = (512, 4096, 2048, 1024)
# The standard table is 16 KiB; more than this is an attack on memory.
MAX_TABLE_BYTES = 1 << 20
LEGACY_BOOTABLE = 1 << 2


def read_gpt(source: BlockSource, sector_size: int | None, problems: list[FsError]) -> list[Volume] | None:
    """The partitions, numbered by slot from 1; None if no header, primary or backup, is good.

    The sector size is tried by looking for the header unless it is known.  What is wrong with the primary is
    noted in `problems`.
    """
    sizes = (sector_size,) if sector_size else SECTOR_SIZES
    backups: list[tuple[int, int]] = []
    for size in sizes:
        try:
            return _read_at(source, 1, size, backups)
        except FsError as err:
            if (source.size >= 2 * size and source.read_at(size, 8) == MAGIC) or sector_size:
                problems.append(err)
    backups += [(source.size // size - 1, size) for size in sizes]
    for lba, size in backups:
        try:
            return _read_at(source, lba, size, [])
        except FsError as err:
            if 0 < (lba + 1) * size <= source.size and source.read_at(lba * size, 8) == MAGIC:
                problems.append(err)
    problems.append(
        Corrupt(
            "protective MBR, but no good GPT header",
            where=source.name,
            expected="EFI PART in the second or last sector",
        )
    )
    return None


def _read_at(source: BlockSource, lba: int, sector_size: int, backups: list[tuple[int, int]]) -> list[Volume]:
    """The volumes of the table whose header is at sector `lba`; notes where its other copy is in `backups`."""
    where = f"{source.name}: GPT header at sector {lba} of {sector_size} bytes"
    raw = source.read_at(lba * sector_size, min(sector_size, 4096))
    header = GptHeader(raw, where=where)
    require(header.magic == MAGIC, "no GPT header", where, repr(MAGIC), repr(header.magic))
    length, expected = header.header_bytes, f"{GptHeader.SIZE}..{len(raw)} bytes"
    require(GptHeader.SIZE <= length <= len(raw), "bad header size", where, expected, length)
    start, end = GptHeaderOffsets.header_crc, GptHeaderOffsets.reserved
    crc = zlib.crc32(raw[:start] + bytes(end - start) + raw[end:length])
    require_checksum("the header", where, header.header_crc, crc)
    require(header.my_lba == lba, "header is not for this sector", where, lba, header.my_lba)
    backups.append((header.alternate_lba, sector_size))
    return _volumes(source, _entries(source, header, sector_size, where), header.entry_bytes, sector_size)


def _entries(source: BlockSource, header: GptHeader, sector_size: int, where: str) -> bytes:
    count, entry_bytes = header.entry_count, header.entry_bytes
    good = entry_bytes >= GptEntry.SIZE and entry_bytes % 8 == 0 and count * entry_bytes <= MAX_TABLE_BYTES
    expected = f"entries of at least {GptEntry.SIZE} bytes, at most {MAX_TABLE_BYTES} bytes together"
    require(good, "bad partition entry array", where, expected, f"{count} entries of {entry_bytes} bytes")
    table = source.read_at(header.entries_lba * sector_size, count * entry_bytes)
    require_checksum("the partition entries", where, header.entries_crc, zlib.crc32(table))
    return table


def _volumes(source: BlockSource, table: bytes, entry_bytes: int, sector_size: int) -> list[Volume]:
    found: list[Volume] = []
    for number, start in enumerate(range(0, len(table), entry_bytes), 1):
        entry = GptEntry(table, start, where=source.name)
        if not any(entry.type_guid):
            continue
        offset = entry.first_lba * sector_size
        size = min((entry.last_lba + 1) * sector_size, source.size) - offset
        if size <= 0:
            continue
        label = entry.name.decode("utf-16-le", "replace").split("\0", 1)[0]
        found.append(
            Volume(
                SliceSource(source, offset, size, f"{source.name}[gpt{number}]"),
                "gpt",
                number,
                offset,
                size,
                type_id=format_guid(entry.type_guid),
                label=label or None,
                uuid=format_guid(entry.guid),
                active=bool(entry.attributes & LEGACY_BOOTABLE),
            )
        )
    return found


def format_guid(raw: bytes) -> str:
    """A GUID as text; its first three fields are little-endian on disk."""
    digits = (raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
