"""The super block: every check before the first use, features by name."""

from __future__ import annotations

from fsdrivers.api import BlockSource
from fsdrivers.errors import Corrupt, NotThisFilesystem, Unsupported, require
from fsdrivers.ext2 import _formats
from fsdrivers.ext2.constants import SUPER_MAGIC, SUPER_OFFSET, Compat, Incompat, RoCompat

REFUSED_INCOMPAT_NAMES = {
    Incompat.COMPRESSION: "compression",
    Incompat.JOURNAL_DEV: "journal_dev (an external journal, not a file system)",
    Incompat.DIRDATA: "dirdata",
}
KNOWN_INCOMPAT = frozenset(bit for name, bit in vars(Incompat).items() if name.isupper())
MAX_LOG_BLOCK_SIZE = 6  # 64 KiB


class SuperBlock(_formats.SuperBlock):
    """A checked super block; numbers and counts of blocks are in file system blocks.

    Revision 0 has neither feature words nor an inode size: `compat`, `incompat`, `ro_compat`, `inode_size` and
    `desc_size` are what holds for the file system, whatever stands there.
    """

    def __init__(self, raw: bytes, name: str) -> None:
        """Check the bytes of a super block of the source `name`; raises as `read_superblock`."""
        where = f"{name}: ext super block"
        super().__init__(raw, where=where)
        if self.magic != SUPER_MAGIC:
            raise NotThisFilesystem("no ext super block", where=name, expected=f"{SUPER_MAGIC:#x} at byte 0x438")
        dynamic = self.rev_level != 0
        self.compat = self.feature_compat if dynamic else 0
        self.incompat = self.feature_incompat if dynamic else 0
        self.ro_compat = self.feature_ro_compat if dynamic else 0
        _refuse_features(self.incompat, self.ro_compat, where)

        def check(good: bool, what: str, expected: object, found: int) -> None:
            require(good, f"bad {what}", where, expected, found)

        log_size, log_cluster = self.log_block_size, self.log_cluster_size
        check(log_size <= MAX_LOG_BLOCK_SIZE, "block size", "1024 << 0..6", log_size)
        self.block_size = size = 1024 << log_size
        bigalloc = bool(self.ro_compat & RoCompat.BIGALLOC)
        if bigalloc:
            check(log_size <= log_cluster <= 20, "cluster size", "at least the block size", log_cluster)
        units = self.clusters_per_group if bigalloc else self.blocks_per_group
        check(0 < units <= 8 * size, "blocks per group", f"1..{8 * size}", units)
        check(self.blocks_per_group > 0, "blocks per group", "not 0", 0)
        inodes = self.inodes_per_group
        check(0 < inodes <= 8 * size, "inodes per group", f"1..{8 * size}", inodes)
        self.inode_size = self.inode_size if dynamic else 128
        good = 128 <= self.inode_size <= size and _is_power_of_two(self.inode_size)
        check(good, "inode size", f"a power of two, 128..{size}", self.inode_size)
        wide = bool(self.incompat & Incompat.BIT64)
        self.desc_size = self.desc_size if wide else 32
        good = not wide or (64 <= self.desc_size <= 1024 and _is_power_of_two(self.desc_size))
        check(good, "descriptor size", "a power of two, 64..1024", self.desc_size)

        # With 1 KiB blocks and bigalloc the first data block is 0, although the super block still sits in block 1.
        first = self.first_data_block
        good = first == (1 if size == 1024 and not bigalloc else 0)
        check(good, "first data block", "1 with 1 KiB blocks, else 0", first)
        self.blocks_count = self.blocks_count_lo | (self.blocks_count_hi << 32 if wide else 0)
        check(self.blocks_count > first, "block count", "more than the first data block", self.blocks_count)
        count = -(-(self.blocks_count - first) // self.blocks_per_group) * inodes
        check(self.inodes_count == count, "inode count", count, self.inodes_count)

    @property
    def kind(self) -> str:
        """ext2, ext3 or ext4, as blkid tells them apart."""
        if self.incompat & ~(Incompat.FILETYPE | Incompat.RECOVER | Incompat.META_BG) or self.ro_compat & ~0x7:
            return "ext4"
        return "ext3" if self.compat & Compat.HAS_JOURNAL else "ext2"


def looks_like_ext(source: BlockSource) -> bool:
    """Whether a believable super block is there; features are not looked at."""
    try:
        read_superblock(source)
    except (NotThisFilesystem, Corrupt):
        return False
    except Unsupported:
        return True
    return True


def read_superblock(source: BlockSource) -> SuperBlock:
    """The primary super block, checked.

    Raises `NotThisFilesystem` without the magic, `Corrupt` for contradictions, `Unsupported` naming the
    features that are not read.  Source of the rules: fs/ext4/super.c, lib/ext2fs/openfs.c.
    """
    size = SUPER_OFFSET + SuperBlock.SIZE
    if source.size < size:
        expected, found = f"at least {size} bytes", f"{source.size} bytes"
        raise NotThisFilesystem("too small for an ext file system", where=source.name, expected=expected, found=found)
    return SuperBlock(source.read_at(SUPER_OFFSET, SuperBlock.SIZE), source.name)


def _is_power_of_two(value: int) -> bool:
    return value & (value - 1) == 0


def _refuse_features(incompat: int, ro_compat: int, where: str) -> None:
    bits = (1 << number for number in range(32) if incompat >> number & 1)
    names = [
        REFUSED_INCOMPAT_NAMES.get(bit, f"unknown incompat {bit:#x}")
        for bit in bits
        if bit in REFUSED_INCOMPAT_NAMES or bit not in KNOWN_INCOMPAT
    ]
    if ro_compat & RoCompat.HAS_SNAPSHOT:
        names.append("has_snapshot")
    if names:
        raise Unsupported("file system feature is not supported", where=where, found=", ".join(names))
