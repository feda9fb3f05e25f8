"""What the loader asked for by --target would make of the guest: the menus it looks for, the tables it knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fsdrivers.errors import FsError
from pvboot.check.api import Problem, rule
from pvboot.check.loaders import Loader, loader_of
from pvboot.check.rules.files import named_files, problem_at
from pvboot.check.volumes import device_of, used_volumes
from pvboot.device_names import read_device
from pvboot.errors import PvbootError
from pvboot.grub_rules import shorten

if TYPE_CHECKING:
    from fsdrivers.api import Volume
    from pvboot.check.subject import Subject
    from pvboot.device_names import Device

FIRST_LOGICAL = 5


def _is_seen(subject: Subject, loader: Loader) -> bool:
    return subject.dialect in loader.dialects and (not loader.menus or subject.path in loader.menus)


@rule("menu-not-seen", "error", "the loader never looks for this menu", needs="files")
def menu_not_seen(subject: Subject) -> Iterator[Problem]:
    """pygrub and PV-GRUB know a few names and dialects; the first that is there counts, good or bad."""
    loader = loader_of(subject.options.target)
    if loader is None or subject.volume is None or not loader.menus:
        return
    menus = [menu for menu in (subject, *subject.others) if _is_seen(menu, loader)]
    if not menus and subject.chosen:
        known = "this dialect" if subject.dialect not in loader.dialects else "this name"
        yield Problem(f"{loader.title} does not know {known}: it looks for {', '.join(loader.menus)}")
    elif menus and subject.chosen and subject not in menus:
        yield Problem(f"{loader.title} does not look for this menu, it takes {menus[0].name}", severity="warning")


def _volume(subject: Subject, device: Device) -> Volume | None:
    assert subject.devices is not None
    try:
        drive, number = subject.devices.locate(device)
        return next((volume for volume in subject.devices.volumes(drive) if volume.number == number), None)
    except (PvbootError, FsError, IndexError):
        return None


@rule("partition-not-seen", "error", "the loader does not find the partition", needs="files")
def partition_not_seen(subject: Subject) -> Iterator[Problem]:
    """PV-GRUB knows no GPT, pygrub neither logical partitions nor tables of disks with 4096-byte sectors."""
    loader = loader_of(subject.options.target)
    if loader is None:
        return
    for used in used_volumes(subject):
        volume = _volume(subject, used.device)
        if volume is None:
            continue
        reason = None
        if volume.scheme == "gpt" and not loader.gpt:
            reason = "a GPT"
        elif volume.scheme == "msdos" and volume.number >= FIRST_LOGICAL and not loader.logical_partitions:
            reason = "logical partitions"
        if reason is not None:
            span = None if used.entry is None else subject.menu.entries[used.entry].span
            message = f"{used.device}, with {shorten(used.purpose)}: {loader.title} does not know {reason}"
            yield Problem(message, span, used.entry)


@rule("other-volume-ignored", "error", "the loader reads kernels only from the volume of the menu", needs="files")
def other_volume_ignored(subject: Subject) -> Iterator[Problem]:
    """pygrub drops devices, `root` and `search`: what lies elsewhere is not found, or something else of that name."""
    loader = loader_of(subject.options.target)
    if loader is None or loader.follows_root or subject.volume is None or subject.devices is None:
        return
    home = subject.devices.locate(read_device(subject.volume)[0])
    for entry, named in named_files(subject):
        place = device_of(named.name)
        if named.file is None or place is None:
            continue
        if place[0].kind == "loop" or subject.devices.locate(place[0]) != home:
            message = f"{loader.title} looks for {shorten(place[1])} on {subject.volume}, not on {place[0]}"
            yield problem_at(subject, entry, named, message)
