"""Read-only ISO 9660 with Rock Ridge, Joliet and zisofs: descriptors, directory records, system use entries.

All knowledge of ISO structures is here; `open_iso(source)` is the way in.  UDF, El Torito booting and partition tables
are not.
"""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource
    from fsdrivers.iso9660.filesystem import IsoFilesystem


SECTOR_BYTES = 2048
FIRST_DESCRIPTOR = 16
MAGIC = b"CD001"


def looks_like_iso(source: BlockSource) -> bool:
    """Whether an ISO 9660 descriptor stands in sector 16."""
    start = FIRST_DESCRIPTOR * SECTOR_BYTES
    return source.size >= start + SECTOR_BYTES and source.read_at(start + 1, len(MAGIC)) == MAGIC


def open_iso(source: BlockSource) -> IsoFilesystem:
    """Mount an ISO 9660 volume; `NotThisFilesystem`, `Corrupt`, `Unsupported`, `SourceError`.

    The driver is imported here and not with the package: looking for a descriptor must not cost it.
    """
    from fsdrivers.iso9660.descriptors import read_descriptors
    from fsdrivers.iso9660.filesystem import IsoFilesystem

    return IsoFilesystem(source, read_descriptors(source))
