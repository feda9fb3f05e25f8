"""The MBR and its chain of extended boot records."""

from __future__ import annotations

from collections.abc import Iterator

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


class Mbr(_formats.Mbr):
    """The four slots and the disk signature that Linux' PARTUUID is made of; an EBR has the same form."""

    def __init__(self, sector: bytes) -> None:
        super().__init__(sector)
        first = _formats.MbrOffsets.entries
        self.entries = [MbrEntry(sector, first + MbrEntry.SIZE * slot) for slot in range(4)]

    @property
    def is_valid(self) -> bool:
        """Whether it is a table: the boot sector of a FAT or a boot manager has code or text where flags should be."""
        # GRUB looks at the flags the same way.
        return self.signature == SIGNATURE and not any(entry.flag & 0x7F for entry in self.entries)

    @property
    def is_protective(self) -> bool:
        """Whether a GPT stands behind it; 0xEE may be in any slot (hybrid MBR)."""
        return any(entry.type == PROTECTIVE_TYPE for entry in self.entries)


def read_mbr(source: BlockSource) -> Mbr | None:
    """The table in the first sector, None if there is none."""
    if source.size < Mbr.SIZE:
        return None
    mbr = Mbr(source.read_at(0, Mbr.SIZE))
    return mbr if mbr.is_valid else None


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
                logicals += _volume(source, mbr, logical_number, first_lba, logical, sector_size)
        else:
            found += _volume(source, mbr, number, entry.first_lba, entry, sector_size)
    return found + logicals


def _volume(
    source: BlockSource, mbr: Mbr, number: int, first_lba: int, entry: MbrEntry, sector_size: int
) -> list[Volume]:
    """The volume of an entry, none if it starts at or behind the end of the disk."""
    offset = first_lba * sector_size
    size = min(entry.sectors * sector_size, source.size - offset)
    if size <= 0:
        return []
    part = SliceSource(source, offset, size, f"{source.name}[msdos{number}]")
    type_id, uuid = f"0x{entry.type:02x}", f"{mbr.disk_signature:08x}-{number:02x}"
    return [Volume(part, "msdos", number, offset, size, type_id=type_id, uuid=uuid, active=entry.flag == 0x80)]


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
            expected = f"at most {MAX_EBRS} different records"
            problems.append(Corrupt("chain of logical partitions loops", where=where, expected=expected))
            return
        seen.add(ebr_lba)
        try:
            ebr = Mbr(source.read_at(ebr_lba * sector_size, Mbr.SIZE))
        except FsError as err:
            problems.append(err)
            return
        if not ebr.is_valid:
            problems.append(Corrupt("not an extended boot record", where=where, expected="55AA and flags 00 or 80"))
            return
        for entry in ebr.entries[:2]:
            if entry.used and entry.type not in EXTENDED_TYPES:
                # Relative to its own record, while the link to the next one is relative to the first record.
                yield ebr_lba + entry.first_lba, entry
        link = next((entry for entry in ebr.entries if entry.used and entry.type in EXTENDED_TYPES), None)
        if link is None:
            return
        ebr_lba = extended_lba + link.first_lba
