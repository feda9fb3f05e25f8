"""What each boot loader of PV guests knows, and each release of Xen's domain builder.

Sources of the tables: PV-GRUB's Makefile and patches (xen RELEASE-4.16.0, stubdom/grub, stubdom/grub.patches), pygrub
and libfsimage of the same tree (tools/pygrub, tools/libfsimage), GRUB 2.06 and 2.12 (grub-core/fs/ext2.c,
grub-core/loader/i386/xen_file.c), the domain builder of each Xen release (tools/libs/guest/xg_dom_bzimageloader.c and
its predecessors in tools/libxc).  What was measured beside that stands in docs/explanation/loader-targets.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pvboot.check.model import Target

XenVersion = tuple[int, int]

GUEST_TYPES: Final = MappingProxyType({"x86_64": "xen-3.0-x86_64", "x86_32p": "xen-3.0-x86_32p"})

# The release with which the domain builder learnt each compression; None: from the beginning.  Debian's builds lack
# bzip2 and lzo, which need libraries at build time.
BUILDER_CODECS: Final[Mapping[str, XenVersion | None]] = MappingProxyType(
    {
        "none": None,
        "gzip": None,
        "bzip2": (4, 0),
        "lzma": (4, 0),
        "lzo": (4, 1),
        "xz": (4, 2),
        "lz4": (4, 4),
        "zstd": (4, 15),
    }
)
# Before this release a gzip'd ramdisk is unpacked by the domain builder.
RAMDISK_UNPACKED_BEFORE: Final[XenVersion] = (4, 20)
LIBXL_ITEM_BYTES: Final = 8191  # libxl_bootloader.c: PATH_MAX*2, less the NUL; a longer item is dropped

# What GRUB Legacy's and GRUB 2's drivers call unreadable: incompat bits by name.
EXT_INCOMPAT: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x1: "compression",
        0x2: "filetype",
        0x4: "needs_recovery",
        0x8: "journal_dev",
        0x10: "meta_bg",
        0x40: "extent",
        0x80: "64bit",
        0x100: "mmp",
        0x200: "flex_bg",
        0x400: "ea_inode",
        0x1000: "dirdata",
        0x2000: "metadata_csum_seed",
        0x4000: "large_dir",
        0x8000: "inline_data",
        0x10000: "encrypt",
        0x20000: "casefold",
    }
)


@dataclass(frozen=True, slots=True)
class Loader:
    """What one boot loader can do for a PV guest.

    `menus` are the paths it looks for on a volume, in its order; `dialects` those it understands.  `ext_unreadable` are
    incompat features with which it cannot read an ext file system (or reads wrong bytes), `ext_doubtful` those that
    only some of its builds read; bigalloc is read with blocks of `bigalloc_from_bytes` and more (None: never).
    `codecs` are the kernel compressions it unpacks itself, None if the domain builder does that.  `follows_root` is
    False if it reads everything from the menu's own volume.
    """

    name: str
    title: str
    menus: tuple[str, ...]
    dialects: frozenset[str]
    ext_unreadable: frozenset[str]
    codecs: frozenset[str] | None = None
    gpt: bool = True
    logical_partitions: bool = True
    large_sectors: bool = True
    ext_doubtful: frozenset[str] = frozenset()
    bigalloc_from_bytes: int | None = 1024
    follows_root: bool = True


_PYGRUB_MENUS = (
    "/boot/grub/grub.cfg",
    "/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/grub2/grub.cfg",
    "/boot/isolinux/isolinux.cfg",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/extlinux/extlinux.conf",
    "/extlinux.conf",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
    "/grub/menu.lst",
    "/grub/grub.conf",
)

LOADERS: Final[Mapping[str, Loader]] = MappingProxyType(
    {
        loader.name: loader
        for loader in (
            Loader(
                "pvboot",
                "pvboot",
                (),
                frozenset(("grub.cfg", "bls", "extlinux", "menu.lst", "elilo", "pvboot")),
                frozenset(("compression", "journal_dev", "dirdata")),
            ),
            # libext2fs reads everything but what it does not know; bigalloc was refused when tried with 4.17.
            Loader(
                "pygrub",
                "pygrub",
                _PYGRUB_MENUS,
                frozenset(("grub.cfg", "extlinux", "menu.lst")),
                frozenset(("compression", "journal_dev", "dirdata")),
                logical_partitions=False,
                large_sectors=False,
                bigalloc_from_bytes=None,
                follows_root=False,
            ),
            # 60ext4.diff tests the wrong half of the inode table's number, so that every 64bit file system fails;
            # nothing else is tested, and what changes the layout is read wrong.
            Loader(
                "pv-grub",
                "PV-GRUB (GRUB Legacy)",
                ("/boot/grub/menu.lst",),
                frozenset(("menu.lst",)),
                frozenset(("compression", "journal_dev", "dirdata", "meta_bg", "64bit", "inline_data")),
                gpt=False,
                bigalloc_from_bytes=2048,
            ),
            Loader(
                "pvgrub2",
                "GRUB 2.06 for Xen",
                ("/boot/grub/grub.cfg", "/grub/grub.cfg"),
                frozenset(("grub.cfg",)),
                frozenset(("compression", "journal_dev", "dirdata", "inline_data", "casefold", "ea_inode")),
                frozenset(("none", "gzip", "xz", "lzo")),
                bigalloc_from_bytes=2048,
                ext_doubtful=frozenset(("metadata_csum_seed", "large_dir")),
            ),
        )
    }
)


# What `fsdrivers.probe` calls file systems that it does not read -> the loaders that do.  PV-GRUB and libfsimage know
# XFS as it was before version 5 (2015), which has a row of its own; GRUB 2.06 stops at the newest features.
FOREIGN_FILESYSTEMS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(("FAT", "FAT12", "FAT16", "FAT32"), frozenset(("pygrub", "pv-grub", "pvgrub2"))),
        **dict.fromkeys(("ReiserFS", "UFS1", "XFS (version 4)"), frozenset(("pygrub", "pv-grub", "pvgrub2"))),
        **dict.fromkeys(("UFS2", "JFS"), frozenset(("pv-grub", "pvgrub2"))),
        **dict.fromkeys(
            (
                "XFS",
                "btrfs",
                "F2FS",
                "squashfs",
                "NTFS",
                "exFAT",
                "UDF",
                "HFS+",
                "cramfs",
                "romfs",
                "NILFS2",
                "LVM physical volume",
                "Linux software RAID member",
            ),
            frozenset(("pvgrub2",)),
        ),
        "ZFS": frozenset(("pygrub", "pvgrub2")),
    }
)


def loader_of(target: Target) -> Loader | None:
    """The loader that is asked for; None for any."""
    return LOADERS[target.loader] if target.loader is not None else None


def capabilities_of(target: Target) -> tuple[str, ...]:
    """The guest types that the host offers: both widths unless one is stated."""
    return tuple(GUEST_TYPES.values()) if target.arch is None else (GUEST_TYPES[target.arch],)


def codecs_of(target: Target) -> frozenset[str]:
    """The kernel compressions that those who load the kernel know."""
    loader = loader_of(target)
    if loader is not None and loader.codecs is not None:
        return loader.codecs
    xen = target.xen
    if xen is None or (loader is not None and loader.name == "pvboot"):
        return frozenset(BUILDER_CODECS)
    return frozenset(codec for codec, since in BUILDER_CODECS.items() if since is None or since <= xen)


def unpacks_ramdisks(target: Target) -> bool:
    """Whether the domain builder unpacks a gzip'd ramdisk before it places it."""
    return target.xen is not None and target.xen < RAMDISK_UNPACKED_BEFORE and target.loader in (None, "pygrub")
