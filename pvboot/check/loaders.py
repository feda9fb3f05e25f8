"""Tables of the boot loaders of PV guests and of the releases of Xen's domain builder.

Sources of the tables: PV-GRUB's Makefile and patches (xen RELEASE-4.16.0, stubdom/grub, stubdom/grub.patches), pygrub
and libfsimage of the same tree (tools/pygrub, tools/libfsimage), GRUB 2.06 and 2.12 (grub-core/fs/ext2.c,
grub-core/loader/i386/xen_file.c), the domain builder of each Xen release (tools/libs/guest/xg_dom_bzimageloader.c and
its predecessors in tools/libxc).  Measurements stand in docs/explanation/loader-targets.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pvboot.check.model import Target
from pvboot.menu.dialects import EXTLINUX, GRUB_CFG, MENU_LST
from pvboot.xen import constants as xen

XenVersion = tuple[int, int]

GUEST_TYPES: Final[Mapping[str, str]] = {"x86_64": xen.GUEST_TYPES[64], "x86_32p": xen.GUEST_TYPES[32]}

# The release with which the domain builder learnt each compression; None: from the beginning.  Debian's builds lack
# bzip2 and lzo, which need libraries at build time.
BUILDER_CODECS: Final[Mapping[str, XenVersion | None]] = {
    **dict.fromkeys(("none", "gzip")),
    **dict.fromkeys(("bzip2", "lzma"), (4, 0)),
    "lzo": (4, 1),
    "xz": (4, 2),
    "lz4": (4, 4),
    "zstd": (4, 15),
}
# Before this release a gzip'd ramdisk is unpacked by the domain builder.
RAMDISK_UNPACKED_BEFORE: Final[XenVersion] = (4, 20)
LIBXL_ITEM_BYTES: Final = 8191  # libxl_bootloader.c: PATH_MAX*2, less the NUL; a longer item is dropped

# The incompat bits of ext file systems, from bit 0, as mke2fs calls them.
_EXT_FEATURES = (
    "compression filetype needs_recovery journal_dev meta_bg - extent 64bit mmp flex_bg ea_inode - dirdata "
    "metadata_csum_seed large_dir inline_data encrypt casefold"
)
EXT_INCOMPAT: Final[Mapping[int, str]] = {
    1 << bit: name for bit, name in enumerate(_EXT_FEATURES.split()) if name != "-"
}


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


@dataclass(frozen=True, slots=True)
class Loader:
    """The abilities of one boot loader.

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


_PVBOOT = Loader(
    "pvboot",
    "pvboot",
    menus=(),
    dialects=_set("grub.cfg bls extlinux menu.lst elilo pvboot"),
    ext_unreadable=_set("compression journal_dev dirdata"),
)
# libext2fs reads everything but what it does not know; bigalloc was refused when tried with 4.17.
_PYGRUB = Loader(
    "pygrub",
    "pygrub",
    menus=(*GRUB_CFG.paths, *EXTLINUX.paths, *MENU_LST.paths),
    dialects=_set("grub.cfg extlinux menu.lst"),
    ext_unreadable=_set("compression journal_dev dirdata"),
    logical_partitions=False,
    large_sectors=False,
    bigalloc_from_bytes=None,
    follows_root=False,
)
# 60ext4.diff tests the wrong half of the inode table's number, so that every 64bit file system fails; nothing else is
# tested, and what changes the layout is read wrong.
_PV_GRUB = Loader(
    "pv-grub",
    "PV-GRUB (GRUB Legacy)",
    menus=("/boot/grub/menu.lst",),
    dialects=_set("menu.lst"),
    ext_unreadable=_set("compression journal_dev dirdata meta_bg 64bit inline_data"),
    gpt=False,
    bigalloc_from_bytes=2048,
)
_GRUB_2 = Loader(
    "pvgrub2",
    "GRUB 2.06 for Xen",
    menus=("/boot/grub/grub.cfg", "/grub/grub.cfg"),
    dialects=_set("grub.cfg"),
    ext_unreadable=_set("compression journal_dev dirdata inline_data casefold ea_inode"),
    codecs=_set("none gzip xz lzo"),
    bigalloc_from_bytes=2048,
    ext_doubtful=_set("metadata_csum_seed large_dir"),
)
LOADERS: Final[Mapping[str, Loader]] = {loader.name: loader for loader in (_PVBOOT, _PYGRUB, _PV_GRUB, _GRUB_2)}

# What `fsdrivers.probe` calls file systems that it does not read -> the loaders that do.  PV-GRUB and libfsimage know
# XFS as it was before version 5 (2015), which has a row of its own; GRUB 2.06 stops at the newest features.
_FOREIGN = {
    "FAT, FAT12, FAT16, FAT32, ReiserFS, UFS1, XFS (version 4)": "pygrub pv-grub pvgrub2",
    "UFS2, JFS": "pv-grub pvgrub2",
    "ZFS": "pygrub pvgrub2",
    "XFS, btrfs, F2FS, squashfs, NTFS, exFAT, UDF, HFS+, cramfs, romfs, NILFS2": "pvgrub2",
    "LVM physical volume, Linux software RAID member": "pvgrub2",
}
FOREIGN_FILESYSTEMS: Final[Mapping[str, frozenset[str]]] = {
    name: _set(loaders) for names, loaders in _FOREIGN.items() for name in names.split(", ")
}


def loader_of(target: Target) -> Loader | None:
    """Return the loader that the target states, None for any."""
    return LOADERS[target.loader] if target.loader is not None else None


def capabilities_of(target: Target) -> tuple[str, ...]:
    """Return the guest types that the host offers: both widths unless one is stated."""
    return tuple(GUEST_TYPES.values()) if target.arch is None else (GUEST_TYPES[target.arch],)


def codecs_of(target: Target) -> frozenset[str]:
    """Return the kernel compressions known to whoever loads the kernel."""
    loader = loader_of(target)
    if loader is not None and loader.codecs is not None:
        return loader.codecs
    xen = target.xen
    if xen is None or (loader is not None and loader.name == "pvboot"):
        return frozenset(BUILDER_CODECS)
    return frozenset(codec for codec, since in BUILDER_CODECS.items() if since is None or since <= xen)


def unpacks_ramdisks(target: Target) -> bool:
    """Return whether the domain builder unpacks a gzip'd ramdisk before it places it."""
    return target.xen is not None and target.xen < RAMDISK_UNPACKED_BEFORE and target.loader in (None, "pygrub")
