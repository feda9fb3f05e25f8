"""Find the driver for a source, or name the format that no driver reads."""

from __future__ import annotations

from fsdrivers.api import BlockSource, Filesystem
from fsdrivers.errors import NotThisFilesystem, UnknownFilesystem
from fsdrivers.ext2 import open_ext
from fsdrivers.iso9660 import looks_like_iso, open_iso

ENCRYPTED = "LUKS encrypted volume"
# (byte offset, magic, name): formats that guests carry and that no driver reads.
KNOWN_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (4086, b"SWAPSPACE2", "swap space"),
    (4086, b"SWAP-SPACE", "swap space (old)"),
    (65526, b"SWAPSPACE2", "swap space (64 KiB pages)"),
    (0, b"XFSB", "XFS"),
    (65600, b"_BHRfS_M", "btrfs"),
    (0, b"LUKS\xba\xbe", ENCRYPTED),
    (512, b"LABELONE", "LVM physical volume"),
    (0, b"LABELONE", "LVM physical volume"),
    (4096, b"\xfc\x4e\x2b\xa9", "Linux software RAID member"),
    (0, b"\xfc\x4e\x2b\xa9", "Linux software RAID member"),
    (0, b"hsqs", "squashfs"),
    (0, b"sqsh", "squashfs (big-endian)"),
    (1024, b"\xe2\xe1\xf5\xe0", "EROFS"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (82, b"FAT32   ", "FAT32"),
    (54, b"FAT16   ", "FAT16"),
    (54, b"FAT12   ", "FAT12"),
    (54, b"FAT     ", "FAT"),
    (65588, b"ReIsEr2Fs", "ReiserFS"),
    (65588, b"ReIsEr3Fs", "ReiserFS"),
    (65588, b"ReIsErFs", "ReiserFS"),
    (65536, b"ReIsEr4", "Reiser4"),
    (32768, b"JFS1", "JFS"),
    (24, b"\xc6\x85\x73\xf6", "bcachefs"),
    (4096 + 24, b"\xc6\x85\x73\xf6", "bcachefs"),
    (1024 + 6, b"\x34\x34", "NILFS2"),
    (8192 + 1372, b"\x54\x19\x01\x00", "UFS1"),
    (65536 + 1372, b"\x19\x01\x54\x19", "UFS2"),
    (34817, b"NSR02", "UDF"),
    (34817, b"NSR03", "UDF"),
    (36865, b"NSR02", "UDF"),
    (36865, b"NSR03", "UDF"),
    (32769, b"BEA01", "UDF"),
    (0, b"\x45\x3d\xcd\x28", "cramfs"),
    (0, b"-rom1fs-", "romfs"),
    (1024, b"H+", "HFS+"),
    (1024, b"HX", "HFSX"),
)
# The uberblock ring of a ZFS label: 1 KiB slots, most of them unused on a young pool.
ZFS_UBERBLOCKS = range(128 << 10, 256 << 10, 1024)
ZFS_MAGICS = (b"\x0c\xb1\xba\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00\xba\xb1\x0c")
ZERO_CHECK_BYTES = 128 << 10
ZEROS = "zeros"


def probe(source: BlockSource) -> Filesystem:
    """Mount the file system of a source; ISO 9660 comes before ext.

    Raises `UnknownFilesystem` with a guess in `found`, `Corrupt` and `Unsupported` for a file system that a driver
    knows but cannot mount.
    """
    if looks_like_iso(source):
        return open_iso(source)
    try:
        return open_ext(source)
    except NotThisFilesystem as err:
        content, found = guess(source)
        unknown = UnknownFilesystem(
            "no known file system", where=source.name, expected="ext2/3/4 or ISO 9660", found=found
        )
        unknown.content = content
        raise unknown from err


def guess(source: BlockSource) -> tuple[str, str]:
    """Return the name of the format that the bytes seem to have, "" if none is known, and words for a message."""
    for offset, magic, name in KNOWN_MAGICS:
        if offset + len(magic) <= source.size and source.read_at(offset, len(magic)) == magic:
            return name, name
    if source.size >= ZFS_UBERBLOCKS.stop:
        ring = source.read_at(ZFS_UBERBLOCKS.start, len(ZFS_UBERBLOCKS) * 1024)
        if any(ring[slot : slot + 8] in ZFS_MAGICS for slot in range(0, len(ring), 1024)):
            return "ZFS", "ZFS"
    head = source.read_at(0, min(ZERO_CHECK_BYTES, source.size))
    if not any(head):
        return ZEROS, "only zeros at its start"
    return "", f"nothing recognised, starts with {head[:8].hex(' ')}"
