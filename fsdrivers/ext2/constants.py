"""Numbers of ext2/3/4 and jbd2 that are neither an offset nor a width: magics, feature bits, flags.

Sources as in `structs.py`.
"""

from __future__ import annotations

SUPER_OFFSET = 1024
SUPER_MAGIC = 0xEF53
ROOT_INODE = 2
CHECKSUM_CRC32C = 1  # s_checksum_type
EXTENT_MAGIC = 0xF30A
XATTR_MAGIC = b"\0\0\x02\xea"
XATTR_INDEX_SYSTEM = 7
DIRENT_CHECKSUM_TYPE = 0xDE


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
    INDEX = 0x1000
    EXTENTS = 0x80000
    INLINE_DATA = 0x10000000


JOURNAL_MAGIC = 0xC03B3998
JOURNAL_CRC32, JOURNAL_CRC32C = 1, 4  # checksum types
FAST_COMMIT_TAG_HEAD = 9


class BlockType:
    """Types of journal blocks."""

    DESCRIPTOR = 1
    COMMIT = 2
    SUPER_V1 = 3
    SUPER_V2 = 4
    REVOKE = 5


class TagFlag:
    """Flags of a descriptor's tag."""

    ESCAPED = 1
    SAME_UUID = 2
    LAST = 8


class JournalCompat:
    """Bits of the journal's s_feature_compat."""

    CHECKSUM = 1


class JournalIncompat:
    """Bits of the journal's s_feature_incompat."""

    REVOKE = 0x1
    BIT64 = 0x2
    ASYNC_COMMIT = 0x4
    CSUM_V2 = 0x8
    CSUM_V3 = 0x10
    FAST_COMMIT = 0x20
    KNOWN = 0x3F
