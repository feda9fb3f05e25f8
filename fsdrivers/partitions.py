"""Partition tables -> volumes: which parts of a disk may hold a file system, and by what number."""

from __future__ import annotations

from fsdrivers import gpt, msdos
from fsdrivers.api import BlockSource, Volume
from fsdrivers.errors import FsError
from fsdrivers.ext2.superblock import looks_like_ext
from fsdrivers.iso9660 import looks_like_iso
from fsdrivers.light import dataclass, field


@dataclass(slots=True)
class PartitionTable:
    """The volumes of a disk, and the faults of its table that do not make it unreadable.

    `problems` are errors that a reader meets behind the listed volumes: a logical chain that loops, a primary
    GPT header with a bad checksum.
    """

    scheme: str
    volumes: list[Volume] = field(default_factory=list)
    problems: list[FsError] = field(default_factory=list)


def volumes(source: BlockSource, *, sector_size: int | None = None) -> list[Volume]:
    """The volumes of a disk in partition order; the whole disk (number 0) first where it is one.

    `sector_size` in bytes is needed only for an MBR disk whose sectors are not 512 bytes and that is not a
    block device.  Raises `SourceError`, and `Corrupt` if the table is so damaged that it gives no volume.
    """
    table = read_table(source, sector_size=sector_size)
    if not table.volumes and table.problems:
        raise table.problems[0]
    return table.volumes


def read_table(source: BlockSource, *, sector_size: int | None = None) -> PartitionTable:
    """As `volumes`, but with the scheme and the problems beside them.

    A valid table wins over an ext super block, which may be left over from the disk's former life, unless the
    table is empty or junk.  An ISO 9660 descriptor wins over every table (isohybrid), the partitions are
    offered behind it.
    """
    sector_size = sector_size or getattr(source, "sector_size", None)
    whole = Volume(source, "none", 0, 0, source.size)
    if looks_like_iso(source):
        table = _partitions(source, sector_size, zero_start=True)
        return PartitionTable(table.scheme, [whole, *table.volumes], table.problems)
    table = _partitions(source, sector_size, zero_start=False)
    if table.volumes:
        return table
    if table.problems and not looks_like_ext(source):
        return table
    return PartitionTable("none", [whole])


def _partitions(source: BlockSource, sector_size: int | None, *, zero_start: bool) -> PartitionTable:
    """The volumes of the valid table; scheme "none" and no volumes without one."""
    table = PartitionTable("none")
    mbr = msdos.read_mbr(source)
    if mbr is None:
        return table
    if mbr.is_protective:
        found = gpt.read_gpt(source, sector_size, table.problems)
        if found is not None:
            table.scheme, table.volumes = "gpt", found
            return table
    table.volumes = msdos.mbr_volumes(source, mbr, sector_size or 512, table.problems, zero_start=zero_start)
    if table.volumes:
        table.scheme = "msdos"
    return table
