"""Fixed records of ext2/3/4 as they are read (little-endian); `structs.py` is the readable truth."""

from __future__ import annotations

from struct import Struct

from fsdrivers.records import FieldTable

SUPER_OFFSET = 1024
SUPER_BYTES = 1024
SUPER_MAGIC = 0xEF53
SUPER_MAGIC_OFFSET = 0x38
ROOT_INODE = 2

SUPER = FieldTable(
    "ext super block",
    "<",
    SUPER_BYTES,
    {
        "inodes_count": (0x00, "I"),
        "blocks_count_lo": (0x04, "I"),
        "first_data_block": (0x14, "I"),
        "log_block_size": (0x18, "I"),
        "log_cluster_size": (0x1C, "I"),
        "blocks_per_group": (0x20, "I"),
        "clusters_per_group": (0x24, "I"),
        "inodes_per_group": (0x28, "I"),
        "magic": (0x38, "H"),
        "rev_level": (0x4C, "I"),
        "inode_size": (0x58, "H"),
        "block_group_nr": (0x5A, "H"),
        "feature_compat": (0x5C, "I"),
        "feature_incompat": (0x60, "I"),
        "feature_ro_compat": (0x64, "I"),
        "uuid": (0x68, "16s"),
        "volume_name": (0x78, "16s"),
        "journal_uuid": (0xD0, "16s"),
        "journal_inum": (0xE0, "I"),
        "journal_dev": (0xE4, "I"),
        "desc_size": (0xFE, "H"),
        "first_meta_bg": (0x104, "I"),
        "blocks_count_hi": (0x150, "I"),
        "checksum_type": (0x175, "B"),
        "backup_bgs": (0x24C, "8s"),
        "checksum_seed": (0x270, "I"),
        "checksum": (0x3FC, "I"),
    },
)

GROUP = FieldTable(
    "group descriptor", "<", 32, {"inode_table_lo": (0x08, "I"), "flags": (0x12, "H"), "checksum": (0x1E, "H")}
)
GROUP_INODE_TABLE_HI_OFFSET = 0x28
GROUP_CHECKSUM_OFFSET = 0x1E

INODE_BYTES = 128
INODE = FieldTable(
    "inode",
    "<",
    INODE_BYTES,
    {
        "mode": (0x00, "H"),
        "size_lo": (0x04, "I"),
        "mtime": (0x10, "i"),
        "flags": (0x20, "I"),
        "block": (0x28, "60s"),
        "generation": (0x64, "I"),
        "size_hi": (0x6C, "I"),
        "checksum_lo": (0x7C, "H"),
    },
)
INODE_EXTRA = FieldTable("inode extension", "<", 4, {"extra_isize": (0, "H"), "checksum_hi": (2, "H")})

EXTENT_HEADER = FieldTable(
    "extent header", "<", 12, {"magic": (0, "H"), "entries": (2, "H"), "max": (4, "H"), "depth": (6, "H")}
)
EXTENT_MAGIC = 0xF30A
EXTENT_ENTRY_BYTES = 12
# Leaf: first file block, length (+0x8000: uninitialised), disk block high, low.
EXTENT_LEAF = Struct("<IHHI")
# Index: first file block, child block low, high: the other way round than in a leaf.
EXTENT_INDEX = Struct("<IIHxx")

DIRENT = Struct("<IHBB")  # inode, rec_len, name_len, file type; the name follows
DIRENT_BYTES = 8

XATTR_MAGIC = 0xEA020000
# name length, name index, value offset (from the first entry), value inode, value size, hash; the name follows
XATTR_ENTRY = Struct("<BBHIII")
XATTR_INDEX_SYSTEM = 7


class Incompat:
    """Bits of s_feature_incompat."""

    COMPRESSION = 0x1
    FILETYPE = 0x2
    RECOVER = 0x4
    JOURNAL_DEV = 0x8
    META_BG = 0x10
    EXTENTS = 0x40
    BIT64 = 0x80
    MMP = 0x100
    FLEX_BG = 0x200
    EA_INODE = 0x400
    DIRDATA = 0x1000
    CSUM_SEED = 0x2000
    LARGE_DIR = 0x4000
    INLINE_DATA = 0x8000
    ENCRYPT = 0x10000
    CASEFOLD = 0x20000


class RoCompat:
    """Bits of s_feature_ro_compat that change what a reader sees."""

    SPARSE_SUPER = 0x1
    HAS_SNAPSHOT = 0x80
    BIGALLOC = 0x200
    METADATA_CSUM = 0x400


class Compat:
    """Bits of s_feature_compat that change what a reader sees."""

    HAS_JOURNAL = 0x4
    SPARSE_SUPER2 = 0x200


class InodeFlag:
    """Bits of i_flags that change how an inode is read."""

    ENCRYPT = 0x800
    EXTENTS = 0x80000
    INLINE_DATA = 0x10000000
