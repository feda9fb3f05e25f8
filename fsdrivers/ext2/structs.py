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
    Int64ul,
    Padding,
    Struct,
)

SUPER_BLOCK = Struct(
    "inodes_count" / Int32ul,
    "blocks_count_lo" / Int32ul,
    "reserved_blocks_lo" / Int32ul,
    "free_blocks_lo" / Int32ul,
    "free_inodes" / Int32ul,
    "first_data_block" / Int32ul,
    "log_block_size" / Int32ul,
    "log_cluster_size" / Int32ul,
    "blocks_per_group" / Int32ul,
    "clusters_per_group" / Int32ul,
    "inodes_per_group" / Int32ul,
    "mtime" / Int32ul,
    "wtime" / Int32ul,
    "mount_count" / Int16ul,
    "max_mount_count" / Int16ul,
    "magic" / Int16ul,
    "state" / Int16ul,
    "errors" / Int16ul,
    "minor_rev_level" / Int16ul,
    "last_check" / Int32ul,
    "check_interval" / Int32ul,
    "creator_os" / Int32ul,
    "rev_level" / Int32ul,
    "default_uid" / Int16ul,
    "default_gid" / Int16ul,
    "first_inode" / Int32ul,
    "inode_size" / Int16ul,
    "block_group_nr" / Int16ul,
    "feature_compat" / Int32ul,
    "feature_incompat" / Int32ul,
    "feature_ro_compat" / Int32ul,
    "uuid" / Bytes(16),
    "volume_name" / Bytes(16),
    "last_mounted" / Bytes(64),
    "algorithm_usage_bitmap" / Int32ul,
    "prealloc_blocks" / Int8ul,
    "prealloc_dir_blocks" / Int8ul,
    "reserved_gdt_blocks" / Int16ul,
    "journal_uuid" / Bytes(16),
    "journal_inum" / Int32ul,
    "journal_dev" / Int32ul,
    "last_orphan" / Int32ul,
    "hash_seed" / Array(4, Int32ul),
    "default_hash_version" / Int8ul,
    "journal_backup_type" / Int8ul,
    "desc_size" / Int16ul,
    "default_mount_options" / Int32ul,
    "first_meta_bg" / Int32ul,
    "mkfs_time" / Int32ul,
    "journal_blocks" / Array(17, Int32ul),
    "blocks_count_hi" / Int32ul,
    "reserved_blocks_hi" / Int32ul,
    "free_blocks_hi" / Int32ul,
    "min_extra_isize" / Int16ul,
    "want_extra_isize" / Int16ul,
    "flags" / Int32ul,
    "raid_stride" / Int16ul,
    "mmp_interval" / Int16ul,
    "mmp_block" / Int64ul,
    "raid_stripe_width" / Int32ul,
    "log_groups_per_flex" / Int8ul,
    "checksum_type" / Int8ul,
    "encryption_level" / Int8ul,
    "reserved_pad" / Int8ul,
    "kbytes_written" / Int64ul,
    "snapshots_and_errors" / Bytes(0x200 - 0x180),
    "mount_options" / Bytes(64),
    "user_quota_inode" / Int32ul,
    "group_quota_inode" / Int32ul,
    "overhead_clusters" / Int32ul,
    "backup_bgs" / Array(2, Int32ul),
    "encrypt_algorithms" / Bytes(4),
    "encrypt_salt" / Bytes(16),
    "lost_and_found_inode" / Int32ul,
    "project_quota_inode" / Int32ul,
    "checksum_seed" / Int32ul,
    "times_high" / Bytes(8),
    "encoding" / Int16ul,
    "encoding_flags" / Int16ul,
    "orphan_file_inode" / Int32ul,
    "reserved" / Bytes(0x3FC - 0x284),
    "checksum" / Int32ul,  # crc32c over all before it
)

GROUP_DESCRIPTOR = Struct(
    "block_bitmap_lo" / Int32ul,
    "inode_bitmap_lo" / Int32ul,
    "inode_table_lo" / Int32ul,
    "free_blocks_lo" / Int16ul,
    "free_inodes_lo" / Int16ul,
    "used_dirs_lo" / Int16ul,
    "flags" / Int16ul,
    "exclude_bitmap_lo" / Int32ul,
    "block_bitmap_checksum_lo" / Int16ul,
    "inode_bitmap_checksum_lo" / Int16ul,
    "unused_inodes_lo" / Int16ul,
    "checksum" / Int16ul,
)

# With 64bit descriptors have 64 bytes and more.
WIDE_GROUP_DESCRIPTOR = Struct(
    *GROUP_DESCRIPTOR.subcons,
    "block_bitmap_hi" / Int32ul,
    "inode_bitmap_hi" / Int32ul,
    "inode_table_hi" / Int32ul,
    "counts_hi" / Bytes(20),
)

INODE = Struct(
    "mode" / Int16ul,
    "uid" / Int16ul,
    "size_lo" / Int32ul,
    "atime" / Int32sl,
    "ctime" / Int32sl,
    "mtime" / Int32sl,
    "dtime" / Int32ul,
    "gid" / Int16ul,
    "links_count" / Int16ul,
    "blocks_lo" / Int32ul,
    "flags" / Int32ul,
    "version" / Int32ul,
    "block" / Bytes(60),  # 15 pointers, an extent root, a link target or inline data
    "generation" / Int32ul,
    "file_acl_lo" / Int32ul,
    "size_hi" / Int32ul,
    "fragment_address" / Int32ul,
    "blocks_hi" / Int16ul,
    "file_acl_hi" / Int16ul,
    "uid_hi" / Int16ul,
    "gid_hi" / Int16ul,
    "checksum_lo" / Int16ul,
    "reserved" / Int16ul,
)

# The start of inodes that are larger than 128 bytes; the other times and version_hi are not always there.
LARGE_INODE = Struct(*INODE.subcons, "extra_isize" / Int16ul, "checksum_hi" / Int16ul)

EXTENT_HEADER = Struct(
    "magic" / Int16ul, "entries" / Int16ul, "max" / Int16ul, "depth" / Int16ul, "generation" / Int32ul
)
EXTENT_LEAF = Struct("block" / Int32ul, "length" / Int16ul, "start_hi" / Int16ul, "start_lo" / Int32ul)
EXTENT_TAIL = Struct("checksum" / Int32ul)
EXTENT_INDEX = Struct("block" / Int32ul, "leaf_lo" / Int32ul, "leaf_hi" / Int16ul, Padding(2))

DIRECTORY_ENTRY = Struct("inode" / Int32ul, "record_length" / Int16ul, "name_length" / Int8ul, "file_type" / Int8ul)
# With metadata_csum the last entry of a block of entries.
DIRECTORY_TAIL = Struct(*DIRECTORY_ENTRY.subcons, "checksum" / Int32ul)

# The blocks of an htree's index look like free space to who only knows entries.  The counts stand in the first index
# entry, in place of its hash; with metadata_csum a tail follows the last possible one.
DX_COUNTS = Struct("limit" / Int16ul, "count" / Int16ul)
DX_ROOT = Struct(
    "dot" / DIRECTORY_ENTRY,
    "dot_name" / Bytes(4),
    "dotdot" / DIRECTORY_ENTRY,
    "dotdot_name" / Bytes(4),
    "reserved_zero" / Int32ul,
    "hash_version" / Int8ul,
    "info_length" / Int8ul,
    "indirect_levels" / Int8ul,
    "unused_flags" / Int8ul,
    "counts" / DX_COUNTS,
)
DX_NODE = Struct("fake" / DIRECTORY_ENTRY, "counts" / DX_COUNTS)
DX_ENTRY = Struct("hash" / Int32ul, "block" / Int32ul)
DX_TAIL = Struct("reserved" / Int32ul, "checksum" / Int32ul)

XATTR_ENTRY = Struct(
    "name_length" / Int8ul,
    "name_index" / Int8ul,
    "value_offset" / Int16ul,  # from the first entry
    "value_inode" / Int32ul,
    "value_size" / Int32ul,
    "hash" / Int32ul,
)

JOURNAL_HEADER = Struct("magic" / Int32ub, "blocktype" / Int32ub, "sequence" / Int32ub)

JOURNAL_SUPER_BLOCK = Struct(
    "magic" / Int32ub,
    "blocktype" / Int32ub,
    "header_sequence" / Int32ub,
    "block_size" / Int32ub,
    "max_length" / Int32ub,
    "first" / Int32ub,
    "sequence" / Int32ub,
    "start" / Int32ub,  # 0: the log is empty
    "errno" / Int32ub,
    "feature_compat" / Int32ub,  # from here on only in version 2
    "feature_incompat" / Int32ub,
    "feature_ro_compat" / Int32ub,
    "uuid" / Bytes(16),
    "users" / Int32ub,
    "dynamic_super" / Int32ub,
    "max_transaction" / Int32ub,
    "max_transaction_data" / Int32ub,
    "checksum_type" / Int8ub,
    "padding1" / Bytes(3),
    "fast_commit_blocks" / Int32ub,
    "head" / Int32ub,
    "padding2" / Bytes(0xFC - 0x5C),
    "checksum" / Int32ub,
    "user_ids" / Bytes(768),
)

JOURNAL_COMMIT = Struct(
    "header" / Bytes(12), "checksum_type" / Int8ub, "checksum_size" / Int8ub, "padding" / Bytes(2), "checksum" / Int32ub
)
JOURNAL_REVOKE = Struct("header" / Bytes(12), "bytes_used" / Int32ub)
JOURNAL_TAIL = Struct("checksum" / Int32ub)  # of descriptor and revoke blocks
JOURNAL_TAG = Struct("block" / Int32ub, "checksum" / Int16ub, "flags" / Int16ub)
JOURNAL_WIDE_TAG = Struct(*JOURNAL_TAG.subcons, "block_high" / Int32ub)  # with 64bit
JOURNAL_TAG3 = Struct("block" / Int32ub, "flags" / Int32ub, "block_high" / Int32ub, "checksum" / Int32ub)
FAST_COMMIT_HEAD = Struct("tag" / Int16ul, "length" / Int16ul, "features" / Int32ul, "transaction" / Int32ul)

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
    "JOURNAL_TAG": {False: JOURNAL_TAG, True: JOURNAL_WIDE_TAG},
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
