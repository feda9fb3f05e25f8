"""Read-only ISO 9660 with Rock Ridge, Joliet and zisofs: descriptors, directory records, system use entries.

What lives here: everything that knows ISO structures; `open_iso(source)` is the door.  What must not: UDF, El
Torito booting, partition tables, importing construct at run time (`structs.py` is for readers and tests).
"""

from fsdrivers.iso9660.filesystem import IsoFilesystem, open_iso

__all__ = ["IsoFilesystem", "open_iso"]
