"""ext2/3/4 and jbd2 structures, declared once.

Sources: fs/ext4/ext4.h, fs/ext4/ext4_extents.h, fs/ext4/xattr.h and include/linux/jbd2.h of Linux; lib/ext2fs/ext2_fs.h
of e2fsprogs.  ext structures are little-endian, the journal is big-endian.
"""

from __future__ import annotations

from construct import (
    Array,
    Bytes,
    Int8ub,
    Int8ul,
    Int16ub,
    Int16ul,
    Int32sl,
    Int32ub,
    Int32ul,
    Int64ub,
    Int64ul,
    Padding,
    Struct,
)

from fsdrivers.structs import fields

SUPER_BLOCK = Struct(
    *fields(Int32ul, "inodes_count blocks_count_lo reserved_blocks_lo free_blocks_lo free_inodes first_data_block"),
    *fields(
        Int32ul, "log_block_size log_cluster_size blocks_per_group clusters_per_group inodes_per_group mtime wtime"
    ),
    *fields(Int16ul, "mount_count max_mount_count magic state errors minor_rev_level"),
    *fields(Int32ul, "last_check check_interval creator_os rev_level"),
    *fields(Int16ul, "default_uid default_gid"),
    "first_inode" / Int32ul,
    *fields(Int16ul, "inode_size block_group_nr"),
    *fields(Int32ul, "feature_compat feature_incompat feature_ro_compat"),
    *fields(Bytes(16), "uuid volume_name"),
    "last_mounted" / Bytes(64),
    "algorithm_usage_bitmap" / Int32ul,
    *fields(Int8ul, "prealloc_blocks prealloc_dir_blocks"),
    "reserved_gdt_blocks" / Int16ul,
    "journal_uuid" / Bytes(16),
    *fields(Int32ul, "journal_inum journal_dev last_orphan"),
    "hash_seed" / Array(4, Int32ul),
    *fields(Int8ul, "default_hash_version journal_backup_type"),
    "desc_size" / Int16ul,
    *fields(Int32ul, "default_mount_options first_meta_bg mkfs_time"),
    "journal_blocks" / Array(17, Int32ul),
    *fields(Int32ul, "blocks_count_hi reserved_blocks_hi free_blocks_hi"),
    *fields(Int16ul, "min_extra_isize want_extra_isize"),
    "flags" / Int32ul,
    *fields(Int16ul, "raid_stride mmp_interval"),
    "mmp_block" / Int64ul,
    "raid_stripe_width" / Int32ul,
    *fields(Int8ul, "log_groups_per_flex checksum_type encryption_level reserved_pad"),
    "kbytes_written" / Int64ul,
    "snapshots_and_errors" / Bytes(0x200 - 0x180),
    "mount_options" / Bytes(64),
    *fields(Int32ul, "user_quota_inode group_quota_inode overhead_clusters"),
    "backup_bgs" / Array(2, Int32ul),
    "encrypt_algorithms" / Bytes(4),
    "encrypt_salt" / Bytes(16),
    *fields(Int32ul, "lost_and_found_inode project_quota_inode checksum_seed"),
    "times_high" / Bytes(8),
    *fields(Int16ul, "encoding encoding_flags"),
    "orphan_file_inode" / Int32ul,
    "reserved" / Bytes(0x3FC - 0x284),
    "checksum" / Int32ul,  # crc32c over all before it
)

GROUP_DESCRIPTOR = Struct(
    *fields(Int32ul, "block_bitmap_lo inode_bitmap_lo inode_table_lo"),
    *fields(Int16ul, "free_blocks_lo free_inodes_lo used_dirs_lo flags"),
    "exclude_bitmap_lo" / Int32ul,
    *fields(Int16ul, "block_bitmap_checksum_lo inode_bitmap_checksum_lo unused_inodes_lo checksum"),
)
# With 64bit descriptors have 64 bytes and more.
WIDE_GROUP_DESCRIPTOR = Struct(
    *GROUP_DESCRIPTOR.subcons,
    *fields(Int32ul, "block_bitmap_hi inode_bitmap_hi inode_table_hi"),
    "counts_hi" / Bytes(20),
)

INODE = Struct(
    *fields(Int16ul, "mode uid"),
    "size_lo" / Int32ul,
    *fields(Int32sl, "atime ctime mtime"),
    "dtime" / Int32ul,
    *fields(Int16ul, "gid links_count"),
    *fields(Int32ul, "blocks_lo flags version"),
    "block" / Bytes(60),  # 15 pointers, an extent root, a link target or inline data
    *fields(Int32ul, "generation file_acl_lo size_hi fragment_address"),
    *fields(Int16ul, "blocks_hi file_acl_hi uid_hi gid_hi checksum_lo reserved"),
)
# The start of inodes that are larger than 128 bytes; the other times and version_hi are not always there.
LARGE_INODE = Struct(*INODE.subcons, *fields(Int16ul, "extra_isize checksum_hi"))

EXTENT_HEADER = Struct(*fields(Int16ul, "magic entries max depth"), "generation" / Int32ul)
EXTENT_LEAF = Struct("block" / Int32ul, "length" / Int16ul, "start_hi" / Int16ul, "start_lo" / Int32ul)
EXTENT_TAIL = Struct("checksum" / Int32ul)
EXTENT_INDEX = Struct("block" / Int32ul, "leaf_lo" / Int32ul, "leaf_hi" / Int16ul, Padding(2))

DIRECTORY_ENTRY = Struct("inode" / Int32ul, "record_length" / Int16ul, "name_length" / Int8ul, "file_type" / Int8ul)
# With metadata_csum the last entry of a block of entries.
DIRECTORY_TAIL = Struct(*DIRECTORY_ENTRY.subcons, "checksum" / Int32ul)

# The blocks of an htree's index look like free space to who only knows entries.  The counts stand in the first index
# entry, in place of its hash; with metadata_csum a tail follows the last possible one.
DX_COUNTS = Struct(*fields(Int16ul, "limit count"))
DX_ROOT = Struct(
    "dot" / DIRECTORY_ENTRY,
    "dot_name" / Bytes(4),
    "dotdot" / DIRECTORY_ENTRY,
    "dotdot_name" / Bytes(4),
    "reserved_zero" / Int32ul,
    *fields(Int8ul, "hash_version info_length indirect_levels unused_flags"),
    "counts" / DX_COUNTS,
)
DX_NODE = Struct("fake" / DIRECTORY_ENTRY, "counts" / DX_COUNTS)
DX_ENTRY = Struct(*fields(Int32ul, "hash block"))
DX_TAIL = Struct(*fields(Int32ul, "reserved checksum"))

# value_offset counts from the first entry.
XATTR_ENTRY = Struct(
    *fields(Int8ul, "name_length name_index"), "value_offset" / Int16ul, *fields(Int32ul, "value_inode value_size hash")
)

JOURNAL_HEADER = Struct(*fields(Int32ub, "magic blocktype sequence"))
JOURNAL_SUPER_BLOCK = Struct(
    *fields(Int32ub, "magic blocktype header_sequence block_size max_length first"),
    *fields(Int32ub, "sequence start errno"),  # start 0: the log is empty
    *fields(Int32ub, "feature_compat feature_incompat feature_ro_compat"),  # from here on only in version 2
    "uuid" / Bytes(16),
    *fields(Int32ub, "users dynamic_super max_transaction max_transaction_data"),
    "checksum_type" / Int8ub,
    "padding1" / Bytes(3),
    *fields(Int32ub, "fast_commit_blocks head"),
    "padding2" / Bytes(0xFC - 0x5C),
    "checksum" / Int32ub,
    "user_ids" / Bytes(768),
)
JOURNAL_COMMIT = Struct(
    *JOURNAL_HEADER.subcons, *fields(Int8ub, "checksum_type checksum_size"), Padding(2), "checksum" / Int32ub
)
JOURNAL_REVOKE = Struct(*JOURNAL_HEADER.subcons, "bytes_used" / Int32ub)
JOURNAL_TAIL = Struct("checksum" / Int32ub)  # of descriptor and revoke blocks
JOURNAL_REVOKED = {wide: Struct("block" / (Int64ub if wide else Int32ub)) for wide in (False, True)}


def journal_tag(wide: bool, csum_v2: bool) -> Struct:
    """One block of a descriptor; csum_v2 gives it two bytes that are never used.  A UUID may follow."""
    high = ["block_high" / Int32ub] * wide
    return Struct("block" / Int32ub, *fields(Int16ub, "checksum flags"), *high, *([Padding(2)] * csum_v2))


JOURNAL_TAG_UUID = Struct("uuid" / Bytes(16))
JOURNAL_TAG3 = Struct(*fields(Int32ub, "block flags block_high checksum"))
FAST_COMMIT_HEAD = Struct(*fields(Int16ul, "tag length"), *fields(Int32ul, "features transaction"))

FORMATS = {
    "GROUP_TABLE": {
        False: (GROUP_DESCRIPTOR, "inode_table_lo"),
        True: (WIDE_GROUP_DESCRIPTOR, "inode_table_lo inode_table_hi"),
    },
    "GROUP_CHECKSUM": (GROUP_DESCRIPTOR, "checksum"),
    "INODE": (INODE, "mode size_lo mtime flags block generation size_hi"),
    "INODE_CHECKSUM": (INODE, "checksum_lo"),
    "INODE_EXTRA": (LARGE_INODE, "extra_isize checksum_hi"),
    "EXTENT_HEADER": (EXTENT_HEADER, "magic entries max depth"),
    "EXTENT_LEAF": EXTENT_LEAF,
    "EXTENT_INDEX": EXTENT_INDEX,
    "EXTENT_TAIL": EXTENT_TAIL,
    "DIRENT": DIRECTORY_ENTRY,
    "DIRENT_TAIL": DIRECTORY_TAIL,
    "DX_COUNTS": DX_COUNTS,
    "DX_ENTRY": DX_ENTRY,
    "DX_TAIL": (DX_TAIL, "checksum"),
    "XATTR_ENTRY": XATTR_ENTRY,
    "JOURNAL_HEADER": JOURNAL_HEADER,
    "JOURNAL_COMMIT": (JOURNAL_COMMIT, "checksum_type checksum_size checksum"),
    "JOURNAL_REVOKE": (JOURNAL_REVOKE, "bytes_used"),
    "JOURNAL_TAIL": JOURNAL_TAIL,
    "JOURNAL_REVOKED": JOURNAL_REVOKED,
    "JOURNAL_TAG": {(wide, v2): journal_tag(wide, v2) for wide in (False, True) for v2 in (False, True)},
    "JOURNAL_TAG_UUID": JOURNAL_TAG_UUID,
    "JOURNAL_TAG3": JOURNAL_TAG3,
    "FAST_COMMIT_HEAD": FAST_COMMIT_HEAD,
}
RECORDS = {
    "SuperBlock": (
        SUPER_BLOCK,
        "inodes_count blocks_count_lo first_data_block log_block_size log_cluster_size blocks_per_group"
        " clusters_per_group inodes_per_group magic rev_level inode_size feature_compat feature_incompat"
        " feature_ro_compat uuid volume_name journal_uuid journal_inum desc_size first_meta_bg blocks_count_hi"
        " checksum_type backup_bgs checksum_seed",
    ),
    "JournalSuperBlock": (
        JOURNAL_SUPER_BLOCK,
        "magic blocktype block_size max_length first sequence start feature_compat feature_incompat uuid checksum_type"
        " fast_commit_blocks checksum",
    ),
}
OFFSETS = {
    "GroupOffsets": (GROUP_DESCRIPTOR, "checksum"),
    "InodeOffsets": (LARGE_INODE, "checksum_lo checksum_hi"),
    "DxRootOffsets": (DX_ROOT, "dotdot counts"),
    "DxNodeOffsets": (DX_NODE, "counts"),
    "JournalSuperOffsets": (JOURNAL_SUPER_BLOCK, "checksum"),
    "JournalCommitOffsets": (JOURNAL_COMMIT, "checksum"),
}
