"""Group descriptors -> where inodes lie."""

from __future__ import annotations

from fsdrivers.api import BlockSource
from fsdrivers.errors import Corrupt, require
from fsdrivers.ext2._formats import GROUP_TABLE
from fsdrivers.ext2.checksum import Checksums
from fsdrivers.ext2.constants import SUPER_OFFSET, Compat, Incompat, RoCompat
from fsdrivers.ext2.superblock import SuperBlock

# Inodes of one directory lie close together: keep the piece of table that was read last.
TABLE_CACHE_BYTES = 16 << 10


class GroupTable:
    """Finds inodes; descriptors are read when their group is first needed."""

    def __init__(self, source: BlockSource, superblock: SuperBlock, checksums: Checksums | None) -> None:
        self._checksums = checksums
        self._source = source
        self._sb = superblock
        self._tables: dict[int, int] = {}
        self._cached_at = -1
        self._cached = b""

    def read_inode(self, number: int, where: str) -> bytes:
        """The bytes of an inode, whole inode_size."""
        sb = self._sb
        if not 1 <= number <= sb.inodes_count:
            expected = f"1..{sb.inodes_count}"
            raise Corrupt("inode number outside the file system", where=where, expected=expected, found=str(number))
        group, index = divmod(number - 1, sb.inodes_per_group)
        # Inodes are addressed by byte: nothing says that a block holds a whole number of them.
        offset = self.inode_table(group) * sb.block_size + index * sb.inode_size
        start = offset - offset % TABLE_CACHE_BYTES
        if start != self._cached_at:
            self._cached = self._source.read_at(start, min(TABLE_CACHE_BYTES, self._source.size - start))
            self._cached_at = start
        raw = self._cached[offset - start : offset - start + sb.inode_size]
        if len(raw) < sb.inode_size:
            raw = self._source.read_at(offset, sb.inode_size)
        return raw

    def inode_table(self, group: int) -> int:
        """First block of a group's inode table."""
        if group not in self._tables:
            self._tables[group] = self._read_inode_table(group)
        return self._tables[group]

    def _read_inode_table(self, group: int) -> int:
        sb = self._sb
        where = f"{self._source.name}: group descriptor {group}"
        raw = self._source.read_at(self.descriptor_offset(group), sb.desc_size)
        if self._checksums is not None:
            self._checksums.check_group(group, raw, where)
        block, *high = GROUP_TABLE[sb.desc_size >= 64].unpack_from(raw)
        if high:
            block |= high[0] << 32
        table_blocks = -(-sb.inodes_per_group * sb.inode_size // sb.block_size)
        first, last = sb.first_data_block + 1, sb.blocks_count - table_blocks
        require(
            first <= block <= last, "inode table outside the file system", where, f"{first}..{last}", f"block {block}"
        )
        return int(block)

    def descriptor_offset(self, group: int) -> int:
        """Byte offset of a group's descriptor.

        Without meta_bg the table follows the super block.  With it, each descriptor block from first_meta_bg on
        opens the first group of those it describes (behind the super block's copy if that group has one).
        """
        sb = self._sb
        per_block = sb.block_size // sb.desc_size
        index, slot = divmod(group, per_block)
        super_block = SUPER_OFFSET // sb.block_size
        if sb.incompat & Incompat.META_BG and index >= sb.first_meta_bg:
            first_group = index * per_block
            block = sb.first_data_block + first_group * sb.blocks_per_group
            if first_group == 0:
                block = super_block + 1
            elif self._has_super_copy(first_group):
                block += 1
        else:
            block = super_block + 1 + index
        return block * sb.block_size + slot * sb.desc_size

    def _has_super_copy(self, group: int) -> bool:
        sb = self._sb
        if group == 0:
            return True
        if sb.compat & Compat.SPARSE_SUPER2:
            return group in (sb.backup_bgs_0, sb.backup_bgs_1)
        if group == 1 or not sb.ro_compat & RoCompat.SPARSE_SUPER:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(value: int, base: int) -> bool:
    while value > 1 and value % base == 0:
        value //= base
    return value == 1
