"""Fixed records of a jbd2 journal as they are read (big-endian); `structs.py` is the readable truth."""

from __future__ import annotations

from struct import Struct

from fsdrivers.records import FieldTable

JOURNAL_MAGIC = 0xC03B3998
BLOCK_DESCRIPTOR, BLOCK_COMMIT, BLOCK_SUPER_V1, BLOCK_SUPER_V2, BLOCK_REVOKE = 1, 2, 3, 4, 5

HEADER = FieldTable("journal block header", ">", 12, {"magic": (0, "I"), "blocktype": (4, "I"), "sequence": (8, "I")})
JOURNAL_SUPER_BYTES = 1024
JOURNAL_SUPER = FieldTable(
    "journal super block",
    ">",
    JOURNAL_SUPER_BYTES,
    {
        "magic": (0, "I"),
        "blocktype": (4, "I"),
        "block_size": (12, "I"),
        "max_length": (16, "I"),
        "first": (20, "I"),
        "sequence": (24, "I"),
        "start": (28, "I"),
        "feature_compat": (0x24, "I"),
        "feature_incompat": (0x28, "I"),
        "uuid": (0x30, "16s"),
        "checksum_type": (0x50, "B"),
        "fast_commit_blocks": (0x54, "I"),
        "checksum": (0xFC, "I"),
    },
)
COMMIT = FieldTable(
    "journal commit block", ">", 20, {"checksum_type": (12, "B"), "checksum_size": (13, "B"), "checksum": (16, "I")}
)
REVOKE = FieldTable("journal revoke block", ">", 16, {"bytes_used": (12, "I")})
# Tags: block, checksum, flags [, block high]; version 3: block, flags, block high, checksum.
TAG = Struct(">IHH")
TAG3 = Struct(">IIII")
# Fast commit blocks are little-endian: tag, length; a head's value is features, transaction.
FAST_COMMIT_HEAD = Struct("<HHII")
FAST_COMMIT_TAG_HEAD = 9


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
