"""The MBR and its chain of extended boot records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fsdrivers import _formats
from fsdrivers.api import BlockSource, Volume
from fsdrivers.blocks import SliceSource
from fsdrivers.errors import Corrupt, FsError

SIGNATURE = b"\x55\xaa"
EXTENDED_TYPES = frozenset({0x05, 0x0F, 0x85})
PROTECTIVE_TYPE = 0xEE
FIRST_LOGICAL = 5
# Numbers of GRUB's devices end at 255; a longer chain is a loop or an attack.
MAX_EBRS = 256


class MbrEntry(_formats.MbrEntry):
    """One slot; `first_lba` in sectors from the start of the disk (or as the EBR counts it)."""

    @property
    def used(self) -> bool:
        """Whether the slot describes anything."""
        return self.type != 0 and self.sectors != 0


@dataclass(frozen=True, slots=True)
class Mbr:
    """The four slots and the disk signature that Linux' PARTUUID is made of."""

    entries: tuple[MbrEntry, ...]
    disk_signature: int

    @property
    def is_protective(self) -> bool:
        """Whether a GPT stands behind it; 0xEE may be in any slot (hybrid MBR)."""
        return any(entry.type == PROTECTIVE_TYPE for entry in self.entries)


def read_mbr(source: BlockSource) -> Mbr | None:
    """The table in the first sector; None if it is not one (no signature, or boot code where flags should be)."""
    if source.size < 512:
        return None
    sector = source.read_at(0, 512)
    entries = _entries(sector)
    return Mbr(entries, _formats.Mbr(sector).disk_signature) if entries is not None else None


def _entries(sector: bytes) -> tuple[MbrEntry, ...] | None:
    if _formats.Mbr(sector).signature != SIGNATURE:
        return None
    entries = tuple(MbrEntry(sector, _formats.MbrOffsets.entries + MbrEntry.SIZE * slot) for slot in range(4))
    # The boot sector of a FAT or a boot manager has code or text here; GRUB looks at the flags the same way.
    if any(entry.flag & 0x7F for entry in entries):
        return None
    return entries


def mbr_volumes(
    source: BlockSource, mbr: Mbr, sector_size: int, problems: list[FsError], *, zero_start: bool
) -> list[Volume]:
    """Primaries by slot (1-4, empty ones keep their number), then logicals from 5 in chain order.

    A partition that starts at or behind the end of the disk is left out, one that ends behind it is cut.
    `zero_start` admits a partition at sector 0 (isohybrid); elsewhere it would be the table's own disk.
    """
    found: list[Volume] = []
    logicals: list[Volume] = []
    for number, entry in enumerate(mbr.entries, 1):
        if not entry.used or entry.type == PROTECTIVE_TYPE or not (entry.first_lba or zero_start):
            continue
        if entry.type in EXTENDED_TYPES:
            chain = _logicals(source, entry.first_lba, sector_size, problems)
            for logical_number, (first_lba, logical) in enumerate(chain, FIRST_LOGICAL + len(logicals)):
                volume = _volume(source, mbr, logical_number, first_lba, logical, sector_size)
                if volume is not None:
                    logicals.append(volume)
            continue
        volume = _volume(source, mbr, number, entry.first_lba, entry, sector_size)
        if volume is not None:
            found.append(volume)
    return found + logicals


def _volume(
    source: BlockSource, mbr: Mbr, number: int, first_lba: int, entry: MbrEntry, sector_size: int
) -> Volume | None:
    offset = first_lba * sector_size
    size = min(entry.sectors * sector_size, source.size - offset)
    if size <= 0:
        return None
    return Volume(
        SliceSource(source, offset, size, f"{source.name}[msdos{number}]"),
        "msdos",
        number,
        offset,
        size,
        type_id=f"0x{entry.type:02x}",
        uuid=f"{mbr.disk_signature:08x}-{number:02x}",
        active=entry.flag == 0x80,
    )


def _logicals(
    source: BlockSource, extended_lba: int, sector_size: int, problems: list[FsError]
) -> Iterator[tuple[int, MbrEntry]]:
    """The logical partitions of one extended partition with their first sector on the disk.

    A damaged or looping chain ends with an entry in `problems`: what came before it is still good.
    """
    seen: set[int] = set()
    ebr_lba = extended_lba
    while True:
        where = f"{source.name}: extended boot record at sector {ebr_lba}"
        if ebr_lba in seen or len(seen) >= MAX_EBRS:
            problems.append(
                Corrupt(
                    "chain of logical partitions loops", where=where, expected=f"at most {MAX_EBRS} different records"
                )
            )
            return
        seen.add(ebr_lba)
        try:
            entries = _entries(source.read_at(ebr_lba * sector_size, 512))
        except FsError as err:
            problems.append(err)
            return
        if entries is None:
            problems.append(Corrupt("not an extended boot record", where=where, expected="55AA and flags 00 or 80"))
            return
        for entry in entries[:2]:
            if entry.used and entry.type not in EXTENDED_TYPES:
                # Relative to its own record, while the link to the next one is relative to the first record.
                yield ebr_lba + entry.first_lba, entry
        link = next((entry for entry in entries if entry.used and entry.type in EXTENDED_TYPES), None)
        if link is None:
            return
        ebr_lba = extended_lba + link.first_lba
