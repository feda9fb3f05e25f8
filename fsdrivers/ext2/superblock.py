"""The super block: every check before the first use, features by name."""

from __future__ import annotations

from dataclasses import dataclass

from fsdrivers.api import BlockSource
from fsdrivers.errors import Corrupt, NotThisFilesystem, Unsupported
from fsdrivers.ext2.layout import (
    SUPER,
    SUPER_BYTES,
    SUPER_MAGIC,
    SUPER_MAGIC_OFFSET,
    SUPER_OFFSET,
    Compat,
    Incompat,
    RoCompat,
)

READABLE_INCOMPAT = (
    Incompat.FILETYPE
    | Incompat.RECOVER
    | Incompat.META_BG
    | Incompat.EXTENTS
    | Incompat.BIT64
    | Incompat.MMP
    | Incompat.FLEX_BG
    | Incompat.EA_INODE
    | Incompat.CSUM_SEED
    | Incompat.LARGE_DIR
    | Incompat.INLINE_DATA
    | Incompat.ENCRYPT
    | Incompat.CASEFOLD
)
REFUSED_INCOMPAT_NAMES = {
    Incompat.COMPRESSION: "compression",
    Incompat.JOURNAL_DEV: "journal_dev (an external journal, not a file system)",
    Incompat.DIRDATA: "dirdata",
}
MAX_LOG_BLOCK_SIZE = 6  # 64 KiB


@dataclass(frozen=True, slots=True)
class SuperBlock:
    """What a reader needs of the super block; block numbers and counts in file system blocks."""

    inodes_count: int
    blocks_count: int
    first_data_block: int
    block_size: int
    blocks_per_group: int
    inodes_per_group: int
    group_count: int
    inode_size: int
    desc_size: int
    compat: int
    incompat: int
    ro_compat: int
    uuid: bytes
    label: bytes
    journal_inode: int
    journal_uuid: bytes
    first_meta_bg: int
    backup_groups: tuple[int, int]
    checksum_seed: int | None
    raw: bytes

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
    where = f"{source.name}: ext super block"
    if source.size < SUPER_OFFSET + SUPER_BYTES:
        raise NotThisFilesystem(
            "too small for an ext file system",
            where=source.name,
            expected=f"at least {SUPER_OFFSET + SUPER_BYTES} bytes",
            found=f"{source.size} bytes",
        )
    raw = source.read_at(SUPER_OFFSET, SUPER_BYTES)
    if int.from_bytes(raw[SUPER_MAGIC_OFFSET : SUPER_MAGIC_OFFSET + 2], "little") != SUPER_MAGIC:
        raise NotThisFilesystem("no ext super block", where=source.name, expected=f"{SUPER_MAGIC:#x} at byte 0x438")
    return parse_superblock(raw, where)


def parse_superblock(raw: bytes, where: str) -> SuperBlock:
    """Check the 1024 bytes of a super block that has the magic."""
    sb = SUPER.read(raw, where=where)
    # A revision 0 file system has no feature words; whatever stands there is not to be trusted.
    dynamic = sb["rev_level"] != 0
    compat, incompat, ro_compat = (
        (sb["feature_compat"], sb["feature_incompat"], sb["feature_ro_compat"]) if dynamic else (0, 0, 0)
    )
    _refuse_features(incompat, ro_compat, where)

    def check(good: bool, what: str, expected: str, found: int) -> None:
        if not good:
            raise Corrupt(f"bad {what}", where=where, expected=expected, found=str(found))

    check(sb["log_block_size"] <= MAX_LOG_BLOCK_SIZE, "block size", "1024 << 0..6", sb["log_block_size"])
    block_size = 1024 << sb["log_block_size"]
    bigalloc = bool(ro_compat & RoCompat.BIGALLOC)
    if bigalloc:
        check(
            sb["log_block_size"] <= sb["log_cluster_size"] <= 20,
            "cluster size",
            "at least the block size",
            sb["log_cluster_size"],
        )
        cluster_limit = sb["clusters_per_group"]
    else:
        cluster_limit = sb["blocks_per_group"]
    check(0 < cluster_limit <= 8 * block_size, "blocks per group", f"1..{8 * block_size}", cluster_limit)
    check(sb["blocks_per_group"] > 0, "blocks per group", "not 0", 0)
    inode_size = sb["inode_size"] if dynamic else 128
    check(
        128 <= inode_size <= block_size and inode_size & (inode_size - 1) == 0,
        "inode size",
        f"a power of two, 128..{block_size}",
        inode_size,
    )
    check(
        0 < sb["inodes_per_group"] <= 8 * block_size, "inodes per group", f"1..{8 * block_size}", sb["inodes_per_group"]
    )
    blocks_count = sb["blocks_count_lo"] | (sb["blocks_count_hi"] << 32 if incompat & Incompat.BIT64 else 0)
    # With 1 KiB blocks and bigalloc the first data block is 0, although the super block still sits in block 1.
    check(
        sb["first_data_block"] == (1 if block_size == 1024 and not bigalloc else 0),
        "first data block",
        "1 with 1 KiB blocks, else 0",
        sb["first_data_block"],
    )
    check(blocks_count > sb["first_data_block"], "block count", "more than the first data block", blocks_count)
    group_count = -(-(blocks_count - sb["first_data_block"]) // sb["blocks_per_group"])
    check(
        sb["inodes_count"] == group_count * sb["inodes_per_group"],
        "inode count",
        str(group_count * sb["inodes_per_group"]),
        sb["inodes_count"],
    )
    desc_size = sb["desc_size"] if incompat & Incompat.BIT64 else 32
    check(
        32 <= desc_size <= 1024
        and desc_size & (desc_size - 1) == 0
        and (desc_size >= 64 or not incompat & Incompat.BIT64),
        "descriptor size",
        "a power of two, 64..1024",
        desc_size,
    )
    return SuperBlock(
        inodes_count=sb["inodes_count"],
        blocks_count=blocks_count,
        first_data_block=sb["first_data_block"],
        block_size=block_size,
        blocks_per_group=sb["blocks_per_group"],
        inodes_per_group=sb["inodes_per_group"],
        group_count=group_count,
        inode_size=inode_size,
        desc_size=desc_size,
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        uuid=sb["uuid"],
        label=sb["volume_name"],
        journal_inode=sb["journal_inum"],
        journal_uuid=sb["journal_uuid"],
        first_meta_bg=sb["first_meta_bg"],
        backup_groups=(int.from_bytes(sb["backup_bgs"][:4], "little"), int.from_bytes(sb["backup_bgs"][4:], "little")),
        checksum_seed=sb["checksum_seed"] if incompat & Incompat.CSUM_SEED else None,
        raw=raw,
    )


def _refuse_features(incompat: int, ro_compat: int, where: str) -> None:
    refused = incompat & ~READABLE_INCOMPAT
    names = [
        REFUSED_INCOMPAT_NAMES.get(1 << bit, f"unknown incompat {1 << bit:#x}")
        for bit in range(32)
        if refused >> bit & 1
    ]
    if ro_compat & RoCompat.HAS_SNAPSHOT:
        names.append("has_snapshot")
    if names:
        raise Unsupported("file system feature is not supported", where=where, found=", ".join(names))
