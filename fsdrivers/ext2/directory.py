"""Directory blocks -> names.  htree directories are scanned in order too: their index looks like free space."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.errors import Corrupt
from fsdrivers.ext2._formats import DIRENT

# (inode, name); the type byte is not trusted, the inode's mode is
RawEntry = tuple[int, bytes]
_unpack = DIRENT.unpack_from
DIRENT_BYTES = DIRENT.size


def live_entries(data: bytes, block_size: int, where: str, *, wide_names: bool = False) -> Iterator[RawEntry]:
    """The live entries (inode, name) of consecutive directory blocks, without "." and "..".

    `data` is whole blocks of `block_size`, or one shorter region (inline directories).  An entry never leaves its
    block.  `wide_names`: without the filetype feature the type byte is the high half of the name length.
    Raises `Corrupt` for record lengths and names that no writer makes.
    """
    position, total = 0, len(data)
    block_end = min(block_size, total)
    while position < total:
        if block_end - position < DIRENT_BYTES:
            raise Corrupt("directory entry is cut short", where=f"{where}: byte {position}")
        inode, length, name_bytes, high = _unpack(data, position)
        if wide_names:
            name_bytes |= high << 8
        if length & 3 or length < DIRENT_BYTES or position + length > block_end:
            length = record_length(length, block_size)
            if length & 3 or length < DIRENT_BYTES or position + length > block_end:
                raise Corrupt(
                    "bad directory record length",
                    where=f"{where}: byte {position}",
                    expected=f"a multiple of 4, 8..{block_end - position}",
                    found=str(length),
                )
        if inode:
            if not 0 < name_bytes <= length - DIRENT_BYTES or name_bytes > 255:
                raise Corrupt(
                    "bad directory name length",
                    where=f"{where}: byte {position}",
                    expected=f"1..{min(255, length - DIRENT_BYTES)}",
                    found=str(name_bytes),
                )
            start = position + DIRENT_BYTES
            name = data[start : start + name_bytes]
            if name != b"." and name != b"..":
                if b"/" in name or b"\0" in name:
                    raise Corrupt("name with a slash or NUL", where=f"{where}: byte {position}", found=repr(name))
                yield inode, name
        position += length
        if position >= block_end:
            block_end = min(block_end + block_size, total)


def find_name(data: bytes, name: bytes, block_size: int, where: str, *, wide_names: bool = False) -> int | None:
    """The inode behind `name` in consecutive blocks, None if it is not there.

    Only blocks that contain the bytes of the name are parsed: the name may also stand in free space.
    """
    position = data.find(name)
    while position >= 0:
        start = position - position % block_size
        block = data[start : start + block_size]
        for inode, found in live_entries(block, block_size, f"{where}: byte {start}", wide_names=wide_names):
            if found == name:
                return inode
        position = data.find(name, start + block_size)
    return None


def record_length(length: int, block_size: int) -> int:
    """A record length that does not fit the plain coding: 64 KiB blocks store 65536 as 0xFFFF or 0.

    The two low bits are the bits 16 and 17 (ext4_rec_len_from_disk of the kernel).
    """
    if block_size < 65536:
        return length
    if length in (0, 0xFFFF):
        return block_size
    return (length & 0xFFFC) | (length & 3) << 16
