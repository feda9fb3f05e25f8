"""The volumes that a menu and its entries need, and facts about their file systems."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsdrivers.ext2.constants import Incompat, RoCompat
from fsdrivers.ext2.superblock import SuperBlock, read_superblock
from pvboot.check._formats import XFS_VERSION
from pvboot.check.loaders import EXT_INCOMPAT, Loader
from pvboot.device_names import Device, read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError

if TYPE_CHECKING:
    from pvboot.check.subject import Subject
    from pvboot.devices import Devices


@dataclass(frozen=True, slots=True)
class Used:
    """A volume and its purpose: "the menu", or the name of the first file that is there."""

    device: Device
    purpose: str
    entry: int | None = None


def device_of(name: str) -> tuple[Device, str] | None:
    """Split `(DEVICE)/path` into device and path; None if the name has no device that can be read."""
    if not name.startswith("("):
        return None
    try:
        return read_device(name, loops=True)
    except GrubError:
        return None


def used_volumes(subject: Subject) -> list[Used]:
    """Return each volume once, that of the menu first."""
    assert subject.devices is not None
    used: dict[tuple[int, int], Used] = {}
    for candidate in _candidates(subject):
        try:
            used.setdefault(subject.devices.locate(candidate.device), candidate)
        except PvbootError:
            continue  # absent devices are the matter of other rules
    return list(used.values())


def _candidates(subject: Subject) -> Iterator[Used]:
    if subject.volume is not None:
        yield Used(read_device(subject.volume)[0], "the menu")
    for entry in subject.opened_entries:
        for named in subject.loads(entry).named:
            place = device_of(named.name)
            if named.file is not None and place is not None and place[0].kind != "loop":
                yield Used(place[0], named.name, entry.index)


def ext_superblock(devices: Devices, device: Device) -> SuperBlock | None:
    """Read the super block of an ext file system; None for anything else."""
    try:
        if not devices.mount(device).kind.startswith("ext"):
            return None
        return read_superblock(devices.blocks(device))
    except PvbootError:
        return None


def xfs_version(subject: Subject, name: str) -> str:
    """Name the XFS that a file lies on: "XFS (version 4)", or "XFS" if it is newer or cannot be read.

    The version is the low four bits of a big-endian u16, sb_versionnum.
    """
    place = device_of(name)
    assert subject.devices is not None
    if place is not None:
        with contextlib.suppress(PvbootError):
            (version,) = XFS_VERSION.unpack(subject.devices.blocks(place[0]).read_at(0, XFS_VERSION.size))
            if version & 0xF == 4:
                return "XFS (version 4)"
    return "XFS"


def unreadable_features(superblock: SuperBlock, loader: Loader) -> list[str]:
    """Return the features of an ext file system that a loader cannot read, as mke2fs calls them."""
    names = [name for bit, name in EXT_INCOMPAT.items() if superblock.incompat & bit and name in loader.ext_unreadable]
    if superblock.ro_compat & RoCompat.BIGALLOC:
        if loader.bigalloc_from_bytes is None:
            names.append("bigalloc")
        elif superblock.block_size < loader.bigalloc_from_bytes:
            names.append(f"bigalloc with blocks of {superblock.block_size} bytes")
    return names


def doubtful_features(superblock: SuperBlock, loader: Loader) -> list[str]:
    """Return the features that only some builds of a loader read."""
    return [name for bit, name in EXT_INCOMPAT.items() if superblock.incompat & bit and name in loader.ext_doubtful]


def journal_is_dirty(superblock: SuperBlock) -> bool:
    """Return whether the file system was not unmounted: its journal holds changes that its blocks may lack."""
    return bool(superblock.incompat & Incompat.RECOVER)
