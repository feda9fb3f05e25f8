"""Read-only ext2/3/4: super block, group descriptors, inodes, block maps, directories, journal replay.

All knowledge of ext structures is here; `open_ext(source)` is the way in.  Partition tables and other file systems are
not.
"""

from fsdrivers.ext2.filesystem import ExtFilesystem, open_ext

__all__ = ["ExtFilesystem", "open_ext"]
