"""Inodes and the data that is kept inside them."""

from __future__ import annotations

from dataclasses import dataclass

from fsdrivers.errors import Corrupt
from fsdrivers.ext2.layout import (
    INODE,
    INODE_BYTES,
    INODE_EXTRA,
    XATTR_ENTRY,
    XATTR_INDEX_SYSTEM,
    XATTR_MAGIC,
    InodeFlag,
)
from fsdrivers.modes import MODE_DIRECTORY, MODE_FORMAT, MODE_REGULAR, kind_of

FAST_SYMLINK_BYTES = 60


@dataclass(frozen=True, slots=True)
class Inode:
    """One inode; `block` is the 60 bytes of i_block, `raw` the whole inode as on disk, `size` in bytes."""

    number: int
    mode: int
    size: int
    mtime: int
    flags: int
    block: bytes
    generation: int
    raw: bytes

    @property
    def format(self) -> int:
        """The type bits of the mode."""
        return self.mode & MODE_FORMAT

    @property
    def kind(self) -> str:
        """ "file", "dir", "symlink" or "other"."""
        return kind_of(self.mode)

    @property
    def is_fast_symlink(self) -> bool:
        """Whether the target stands in i_block.

        i_blocks is no guide: an external attribute block (security labels) counts there too.
        """
        return self.size < FAST_SYMLINK_BYTES and not self.flags & (InodeFlag.EXTENTS | InodeFlag.INLINE_DATA)


def parse_inode(number: int, raw: bytes, where: str, *, large_dir: bool) -> Inode:
    """An inode from its bytes; the high half of the size is a directory's only with the large_dir feature."""
    mode, size_lo, mtime, flags, block, generation, size_hi, _ = INODE.unpack_from(raw)
    size = size_lo
    if mode & MODE_FORMAT == MODE_REGULAR or (large_dir and mode & MODE_FORMAT == MODE_DIRECTORY):
        size |= size_hi << 32
    if size >> 63:
        raise Corrupt("negative file size", where=where, found=f"{size:#x}")
    return Inode(number, mode, size, mtime, flags, block, generation, raw)


def inline_tail(inode: Inode, where: str) -> bytes:
    """What follows the 60 bytes of i_block in an inline_data inode: the attribute "system.data" in its body."""
    if len(inode.raw) < INODE_BYTES + 4:
        return b""
    extra_isize, _ = INODE_EXTRA.unpack_from(inode.raw, INODE_BYTES)
    start = INODE_BYTES + extra_isize
    if extra_isize & 3 or start + 4 > len(inode.raw):
        if extra_isize == len(inode.raw) - INODE_BYTES:
            return b""
        raise Corrupt(
            "bad extra inode size", where=where, expected=f"4..{len(inode.raw) - INODE_BYTES}", found=str(extra_isize)
        )
    if int.from_bytes(inode.raw[start : start + 4], "little") != XATTR_MAGIC:
        return b""
    return _system_data(inode.raw[start + 4 :], where)


def _system_data(region: bytes, where: str) -> bytes:
    """The value of the attribute "data" of index 7; value offsets count from the first entry."""
    position = 0
    while position + 4 <= len(region) and region[position : position + 4] != bytes(4):
        if position + XATTR_ENTRY.size > len(region):
            raise Corrupt("attribute entry is cut short", where=where)
        name_bytes, index, offset, value_inode, size, _ = XATTR_ENTRY.unpack_from(region, position)
        name = region[position + XATTR_ENTRY.size : position + XATTR_ENTRY.size + name_bytes]
        if index == XATTR_INDEX_SYSTEM and name == b"data":
            if value_inode or offset + size > len(region):
                raise Corrupt(
                    "inline data outside its inode",
                    where=where,
                    expected=f"at most {len(region)} bytes",
                    found=f"{size} bytes at {offset}",
                )
            return region[offset : offset + size]
        position += XATTR_ENTRY.size + (name_bytes + 3 & ~3)
    return b""
