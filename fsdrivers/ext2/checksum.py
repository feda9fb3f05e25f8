"""metadata_csum: checking the descriptors, inodes, extent blocks and directory blocks that are read.

Rules: fs/ext4/ext4.h, inode.c, extents.c, namei.c.  The super block's own checksum is left alone: a crashed tune2fs
leaves a stale one behind on a good file system.
"""

from __future__ import annotations

from fsdrivers.errors import require, require_checksum
from fsdrivers.ext2._formats import (
    DIRENT,
    DIRENT_TAIL,
    DX_COUNTS,
    DX_ENTRY,
    DX_TAIL,
    EXTENT_HEADER,
    EXTENT_LEAF,
    EXTENT_TAIL,
    GROUP_CHECKSUM,
    INODE,
    INODE_CHECKSUM,
    INODE_EXTRA,
    DxNodeOffsets,
    DxRootOffsets,
    GroupOffsets,
    InodeOffsets,
)
from fsdrivers.ext2.constants import CHECKSUM_CRC32C, DIRENT_CHECKSUM_TYPE, Incompat, InodeFlag, RoCompat
from fsdrivers.ext2.crc32c import FRESH, crc32c, crc32c_blocks, zeroed
from fsdrivers.ext2.directory import record_length
from fsdrivers.ext2.inode import Inode
from fsdrivers.ext2.superblock import SuperBlock

# Inode, record length, name length and type of the entry that holds a block's checksum.
TAIL = [0, DIRENT_TAIL.size, 0, DIRENT_CHECKSUM_TYPE]
REMEMBERED_DIRECTORIES, REMEMBERED_BYTES = 64, 16 << 10


class Checksums:
    """The checks of one file system."""

    def __init__(self, superblock: SuperBlock) -> None:
        self._seed = superblock.checksum_seed
        if not superblock.incompat & Incompat.CSUM_SEED:
            self._seed = crc32c(FRESH, superblock.uuid)
        # Looking for a menu reads the same few directories again and again, and a checksum costs more than a read.
        self._verified: dict[int, bytes] = {}

    @staticmethod
    def are_used(superblock: SuperBlock) -> bool:
        """Whether the file system has them, in the one kind there is."""
        return bool(superblock.ro_compat & RoCompat.METADATA_CSUM) and superblock.checksum_type == CHECKSUM_CRC32C

    def check_group(self, group: int, raw: bytes, where: str) -> None:
        """Check the 16 bits in a group descriptor."""
        (stored,) = GROUP_CHECKSUM.unpack_from(raw)
        crc = crc32c(crc32c(self._seed, group.to_bytes(4, "little")), zeroed(raw, GroupOffsets.checksum, 2))
        require_checksum("the group descriptor", where, stored, crc & 0xFFFF)

    def check_inode(self, inode: Inode, where: str) -> None:
        """Check the 32 bits in an inode, 16 if it is too small for more."""
        raw = inode.raw
        data, mask = zeroed(raw, InodeOffsets.checksum_lo, 2), 0xFFFF
        (stored,) = INODE_CHECKSUM.unpack_from(raw)
        if len(raw) > INODE.size:
            extra_isize, high = INODE_EXTRA.unpack_from(raw)
            if extra_isize >= INODE_EXTRA.size - INODE.size:
                data, mask, stored = zeroed(data, InodeOffsets.checksum_hi, 2), 0xFFFFFFFF, stored | high << 16
        require_checksum("the inode", where, stored, crc32c(self._inode_seed(inode), data) & mask)

    def check_extent_block(self, inode: Inode, data: bytes, where: str) -> None:
        """Check the 32 bits behind the last possible entry of an extent block."""
        end = EXTENT_HEADER.size + EXTENT_HEADER.unpack_from(data)[2] * EXTENT_LEAF.size
        if end + EXTENT_TAIL.size <= len(data):
            (stored,) = EXTENT_TAIL.unpack_from(data, end)
            require_checksum("the extent block", where, stored, crc32c(self._inode_seed(inode), data[:end]))

    def check_directory(self, inode: Inode, data: bytes, block_size: int, where: str) -> None:
        """Check the tails of directory blocks, and those of an htree's index blocks."""
        if self._verified.get(inode.number) == data:
            return
        seed = self._inode_seed(inode)
        size = block_size - DIRENT_TAIL.size
        leaves: list[tuple[int, int]] = []
        for start in range(0, len(data), block_size):
            counts = _index_counts(data, start, block_size)
            if counts is None:
                *entry, stored = DIRENT_TAIL.unpack_from(data, start + size)
                if entry == TAIL:
                    leaves.append((start, stored))
            elif inode.flags & InodeFlag.INDEX:
                self._check_index(seed, data[start : start + block_size], counts, f"{where}: byte {start}")
        sums = crc32c_blocks([seed] * len(leaves), [data[start : start + size] for start, _ in leaves])
        for (start, stored), crc in zip(leaves, sums, strict=True):
            require_checksum("the directory block", f"{where}: byte {start}", stored, crc)
        if len(data) <= REMEMBERED_BYTES:
            if len(self._verified) >= REMEMBERED_DIRECTORIES:
                self._verified.clear()
            self._verified[inode.number] = data

    @staticmethod
    def _check_index(seed: int, block: bytes, counts: int, where: str) -> None:
        """Check the tail of an index block, which stands behind the last possible entry."""
        limit, count = DX_COUNTS.unpack_from(block, counts)
        tail = counts + limit * DX_ENTRY.size
        good = count <= limit and tail + DX_TAIL.size <= len(block)
        most = (len(block) - DX_TAIL.size - counts) // DX_ENTRY.size
        what = "directory index has no room for its checksum"
        require(good, what, where, f"at most {most} entries", f"{count} of {limit}")
        (stored,) = DX_TAIL.unpack_from(block, tail)
        covered = block[: counts + count * DX_ENTRY.size] + block[tail : tail + DX_TAIL.size]
        crc = crc32c(seed, zeroed(covered, len(covered) - 4, 4))
        require_checksum("the directory index block", where, stored, crc)

    def _inode_seed(self, inode: Inode) -> int:
        return crc32c(self._seed, inode.number.to_bytes(4, "little") + inode.generation.to_bytes(4, "little"))


def _index_counts(data: bytes, start: int, block_size: int) -> int | None:
    """The place of limit and count in an htree's index block; None for a block of entries.

    The entries of an index block fill it, so that it has no tail: where a block of entries became the root of the
    index, the bytes of its old tail may still be there.  Source: get_dx_countlimit of fs/ext4/namei.c.
    """
    first = record_length(DIRENT.unpack_from(data, start)[1], block_size)
    if first == block_size:
        return DxNodeOffsets.counts
    if first != DxRootOffsets.dotdot:
        return None
    second = record_length(DIRENT.unpack_from(data, start + first)[1], block_size)
    return DxRootOffsets.counts if first + second == block_size else None
