"""Inodes and the data that is kept inside them."""

from __future__ import annotations

from fsdrivers.errors import Corrupt, require
from fsdrivers.ext2._formats import INODE, INODE_EXTRA, XATTR_ENTRY
from fsdrivers.ext2.constants import XATTR_INDEX_SYSTEM, XATTR_MAGIC, InodeFlag
from fsdrivers.modes import MODE_DIRECTORY, MODE_FORMAT, MODE_REGULAR

FAST_SYMLINK_BYTES = 60


class Inode:
    """One inode; `block` is the 60 bytes of i_block, `raw` the whole inode as on disk, `size` in bytes."""

    __slots__ = ("block", "flags", "generation", "mode", "mtime", "number", "raw", "size")
    number: int
    mode: int
    size: int
    mtime: int
    flags: int
    block: bytes
    generation: int

    def __init__(self, number: int, raw: bytes, where: str, *, large_dir: bool) -> None:
        """Raises `Corrupt`.  The high half of the size is a directory's only with the large_dir feature."""
        self.number = number
        self.raw = raw
        self.mode, self.size, self.mtime, self.flags, self.block, self.generation, size_hi = INODE.unpack_from(raw)
        kind = self.mode & MODE_FORMAT
        if kind == MODE_REGULAR or (large_dir and kind == MODE_DIRECTORY):
            self.size |= size_hi << 32
        if self.size >> 63:
            raise Corrupt("negative file size", where=where, found=f"{self.size:#x}")

    @property
    def is_fast_symlink(self) -> bool:
        """Whether the target stands in i_block.

        i_blocks does not tell: an external attribute block (security labels) counts there too.
        """
        return self.size < FAST_SYMLINK_BYTES and not self.flags & (InodeFlag.EXTENTS | InodeFlag.INLINE_DATA)


def inline_tail(inode: Inode, where: str) -> bytes:
    """The inline data behind the 60 bytes of i_block: the attribute "system.data" in the inode's body."""
    raw = inode.raw
    if len(raw) < INODE_EXTRA.size:
        return b""
    extra, _ = INODE_EXTRA.unpack_from(raw)
    room = len(raw) - INODE.size
    if extra == room:
        return b""
    region = raw[INODE.size + extra :]
    require(extra & 3 == 0 and len(region) >= 4, "bad extra inode size", where, f"4..{room}", extra)
    return _system_data(region[4:], where) if region.startswith(XATTR_MAGIC) else b""


def _system_data(region: bytes, where: str) -> bytes:
    """The value of the attribute "data" of index 7; value offsets count from the first entry."""
    position = 0
    while position + 4 <= len(region) and region[position : position + 4] != bytes(4):
        if position + XATTR_ENTRY.size > len(region):
            raise Corrupt("attribute entry is cut short", where=where)
        name_bytes, index, offset, value_inode, size, _ = XATTR_ENTRY.unpack_from(region, position)
        name = region[position + XATTR_ENTRY.size : position + XATTR_ENTRY.size + name_bytes]
        if index == XATTR_INDEX_SYSTEM and name == b"data":
            good, found = not value_inode and offset + size <= len(region), f"{size} bytes at {offset}"
            require(good, "inline data outside its inode", where, f"at most {len(region)} bytes", found)
            return region[offset : offset + size]
        position += XATTR_ENTRY.size + (name_bytes + 3 & ~3)
    return b""
