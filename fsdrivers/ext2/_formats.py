"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final
from fsdrivers.records import Record

GROUP_TABLE: Final = {
    False: Struct("<8xI20x"),  # inode_table_lo
    True: Struct("<8xI28xI20x"),  # inode_table_lo, inode_table_hi
}
GROUP_CHECKSUM: Final = Struct("<30xH")  # checksum
INODE: Final = Struct("<H2xI8xi12xI4x60sI4xI16x")  # mode, size_lo, mtime, flags, block, generation, size_hi
INODE_CHECKSUM: Final = Struct("<124xH2x")  # checksum_lo
INODE_EXTRA: Final = Struct("<128x2H")  # extra_isize, checksum_hi
EXTENT_HEADER: Final = Struct("<4H4x")  # magic, entries, max, depth
EXTENT_LEAF: Final = Struct("<I2HI")  # block, length, start_hi, start_lo
EXTENT_INDEX: Final = Struct("<2IH2x")  # block, leaf_lo, leaf_hi
EXTENT_TAIL: Final = Struct("<I")  # checksum
DIRENT: Final = Struct("<IH2B")  # inode, record_length, name_length, file_type
DIRENT_TAIL: Final = Struct("<IH2BI")  # inode, record_length, name_length, file_type, checksum
DX_COUNTS: Final = Struct("<2H")  # limit, count
DX_ENTRY: Final = Struct("<2I")  # hash, block
DX_TAIL: Final = Struct("<4xI")  # checksum
XATTR_ENTRY: Final = Struct("<2BH3I")  # name_length, name_index, value_offset, value_inode, value_size, hash
JOURNAL_HEADER: Final = Struct(">3I")  # magic, blocktype, sequence
JOURNAL_COMMIT: Final = Struct(">12x2B2xI")  # checksum_type, checksum_size, checksum
JOURNAL_REVOKE: Final = Struct(">12xI")  # bytes_used
JOURNAL_TAIL: Final = Struct(">I")  # checksum
JOURNAL_REVOKED: Final = {
    False: Struct(">I"),  # block
    True: Struct(">Q"),  # block
}
JOURNAL_TAG: Final = {
    (False, False): Struct(">I2H"),  # block, checksum, flags
    (False, True): Struct(">I2H2x"),  # block, checksum, flags
    (True, False): Struct(">I2HI"),  # block, checksum, flags, block_high
    (True, True): Struct(">I2HI2x"),  # block, checksum, flags, block_high
}
JOURNAL_TAG_UUID: Final = Struct("<16s")  # uuid
JOURNAL_TAG3: Final = Struct(">4I")  # block, flags, block_high, checksum
FAST_COMMIT_HEAD: Final = Struct("<2H2I")  # tag, length, features, transaction


class SuperBlock(Record):
    LAYOUT = Struct("<2I12x6I12xH18xI8xH2x3I16s16s72x16sI26xH4xI72xI33xB214x2I28xI396x")
    inodes_count: int
    blocks_count_lo: int
    first_data_block: int
    log_block_size: int
    log_cluster_size: int
    blocks_per_group: int
    clusters_per_group: int
    inodes_per_group: int
    magic: int
    rev_level: int
    inode_size: int
    feature_compat: int
    feature_incompat: int
    feature_ro_compat: int
    uuid: bytes
    volume_name: bytes
    journal_uuid: bytes
    journal_inum: int
    desc_size: int
    first_meta_bg: int
    blocks_count_hi: int
    checksum_type: int
    backup_bgs_0: int
    backup_bgs_1: int
    checksum_seed: int


class JournalSuperBlock(Record):
    LAYOUT = Struct(">2I4x5I4x2I4x16s16xB3xI164xI768x")
    magic: int
    blocktype: int
    block_size: int
    max_length: int
    first: int
    sequence: int
    start: int
    feature_compat: int
    feature_incompat: int
    uuid: bytes
    checksum_type: int
    fast_commit_blocks: int
    checksum: int


class GroupOffsets:
    SIZE = 32
    checksum = 30


class InodeOffsets:
    SIZE = 132
    checksum_lo = 124
    checksum_hi = 130


class DxRootOffsets:
    SIZE = 36
    dotdot = 12
    counts = 32


class DxNodeOffsets:
    SIZE = 12
    counts = 8


class JournalSuperOffsets:
    SIZE = 1024
    checksum = 252


class JournalCommitOffsets:
    SIZE = 20
    checksum = 16
