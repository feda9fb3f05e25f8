"""metadata_csum: checking the descriptors, inodes, extent blocks and directory blocks that are read.

Rules: fs/ext4/ext4.h, inode.c, extents.c, namei.c.  The super block's own checksum is left alone: a crashed tune2fs
leaves a stale one behind on a good file system.
"""

from __future__ import annotations

from fsdrivers.errors import Corrupt
from fsdrivers.ext2.crc32c import FRESH, crc32c, crc32c_blocks
from fsdrivers.ext2.inode import Inode
from fsdrivers.ext2.layout import (
    EXTENT_ENTRY_BYTES,
    EXTENT_HEADER,
    GROUP_CHECKSUM_OFFSET,
    INODE,
    INODE_BYTES,
    INODE_EXTRA,
    RoCompat,
)
from fsdrivers.ext2.superblock import SuperBlock

CHECKSUM_TYPE_OFFSET = 0x175
TYPE_CRC32C = 1
INODE_CHECKSUM_LO_OFFSET = 0x7C
INODE_CHECKSUM_HI_OFFSET = 0x82
# The last entry of a directory block: inode 0, record length 12, no name, type 0xDE, then the checksum.
DIRECTORY_TAIL = b"\0\0\0\0\x0c\0\0\xde"
DIRECTORY_TAIL_BYTES = 12

REMEMBERED_DIRECTORIES, REMEMBERED_BYTES = 64, 16 << 10


class Checksums:
    """The checks of one file system."""

    def __init__(self, superblock: SuperBlock) -> None:
        seed = superblock.checksum_seed
        self._seed = crc32c(FRESH, superblock.uuid) if seed is None else seed
        # Looking for a menu reads the same few directories again and again, and a checksum costs more than a read.
        self._verified: dict[int, bytes] = {}

    @staticmethod
    def are_used(superblock: SuperBlock) -> bool:
        """Whether the file system has them, in the one kind there is."""
        return bool(superblock.ro_compat & RoCompat.METADATA_CSUM) and (
            superblock.raw[CHECKSUM_TYPE_OFFSET] == TYPE_CRC32C
        )

    def check_group(self, group: int, raw: bytes, where: str) -> None:
        """The 16 bits in a group descriptor."""
        at = GROUP_CHECKSUM_OFFSET
        crc = crc32c(crc32c(self._seed, group.to_bytes(4, "little")), raw[:at] + bytes(2) + raw[at + 2 :])
        _compare("group descriptor", int.from_bytes(raw[at : at + 2], "little"), crc & 0xFFFF, where)

    def check_inode(self, inode: Inode, where: str) -> None:
        """The 32 bits in an inode, 16 if it is too small for more."""
        raw = bytearray(inode.raw)
        stored, mask = INODE.unpack_from(raw)[-1], 0xFFFF
        raw[INODE_CHECKSUM_LO_OFFSET : INODE_CHECKSUM_LO_OFFSET + 2] = bytes(2)
        if len(raw) > INODE_BYTES:
            extra_isize, high = INODE_EXTRA.unpack_from(raw, INODE_BYTES)
            if extra_isize >= 4:
                stored, mask = stored | high << 16, 0xFFFFFFFF
                raw[INODE_CHECKSUM_HI_OFFSET : INODE_CHECKSUM_HI_OFFSET + 2] = bytes(2)
        _compare("inode", stored, crc32c(self._inode_seed(inode), bytes(raw)) & mask, where)

    def check_extent_block(self, inode: Inode, data: bytes, where: str) -> None:
        """The 32 bits behind the last possible entry of an extent block."""
        end = EXTENT_ENTRY_BYTES * (1 + EXTENT_HEADER.unpack_from(data)[2])
        if end + 4 <= len(data):
            stored = int.from_bytes(data[end : end + 4], "little")
            _compare("extent block", stored, crc32c(self._inode_seed(inode), data[:end]), where)

    def check_directory(self, inode: Inode, data: bytes, block_size: int, where: str) -> None:
        """The tails of directory blocks; the index blocks of an htree have none."""
        if self._verified.get(inode.number) == data:
            return
        tail = block_size - DIRECTORY_TAIL_BYTES
        starts = [
            start
            for start in range(0, len(data), block_size)
            if data[start + tail : start + tail + 8] == DIRECTORY_TAIL
        ]
        sums = crc32c_blocks([self._inode_seed(inode)] * len(starts), [data[start : start + tail] for start in starts])
        for start, crc in zip(starts, sums, strict=True):
            stored = int.from_bytes(data[start + block_size - 4 : start + block_size], "little")
            _compare("directory block", stored, crc, f"{where}: byte {start}")
        if len(data) <= REMEMBERED_BYTES:
            if len(self._verified) >= REMEMBERED_DIRECTORIES:
                self._verified.clear()
            self._verified[inode.number] = data

    def _inode_seed(self, inode: Inode) -> int:
        return crc32c(self._seed, inode.number.to_bytes(4, "little") + inode.generation.to_bytes(4, "little"))


def _compare(what: str, stored: int, computed: int, where: str) -> None:
    if stored != computed:
        raise Corrupt(f"bad checksum of the {what}", where=where, expected=f"{stored:#x}", found=f"{computed:#x}")
