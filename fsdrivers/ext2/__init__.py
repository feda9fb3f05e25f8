"""Read-only ext2/3/4: super block, group descriptors, inodes, block maps, directories, journal replay.

What lives here: everything that knows ext structures; `open_ext(source)` is the door.  What must not:
partition tables, other file systems.
"""

from fsdrivers.ext2.filesystem import ExtFilesystem, open_ext

__all__ = ["ExtFilesystem", "open_ext"]
