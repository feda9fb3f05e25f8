"""Read-only ISO 9660 with Rock Ridge, Joliet and zisofs: descriptors, directory records, system use entries.

All knowledge of ISO structures is here; `open_iso(source)` is the way in.  UDF, El Torito booting and partition tables
are not.
"""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource
    from fsdrivers.iso9660.filesystem import IsoFilesystem


def open_iso(source: BlockSource) -> IsoFilesystem:
    """Mount an ISO 9660 volume; `NotThisFilesystem`, `Corrupt`, `Unsupported`, `SourceError`.

    The driver is imported here and not with the package: looking for a descriptor must not cost it.
    """
    from fsdrivers.iso9660.descriptors import read_descriptors
    from fsdrivers.iso9660.filesystem import IsoFilesystem

    return IsoFilesystem(source, read_descriptors(source))
