"""Rules about the loader of --target: the menus it looks for, the partition tables and the words it knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pvboot.check.api import Problem, rule
from pvboot.check.loaders import Loader, loader_of
from pvboot.check.rules.files import named_files, problem_at, span_of
from pvboot.check.rules.menu_lst_words import MENU_LST
from pvboot.check.volumes import device_of, used_volumes
from pvboot.device_names import read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import first_word, shorten

if TYPE_CHECKING:
    from fsdrivers.api import File, Volume
    from pvboot.check.subject import Subject
    from pvboot.device_names import Device

FIRST_LOGICAL = 5
STEP_BYTES = 1 << 20
COMPARED_BYTES = 256 << 20


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
    except (PvbootError, IndexError):
        return None


def _has_small_sectors(subject: Subject, device: Device) -> bool:
    """Return whether the disk's GPT stands where it stands on disks with 512-byte sectors."""
    assert subject.devices is not None
    try:
        return subject.devices.blocks(replace(device, partition=None, scheme=None)).read_at(512, 8) == b"EFI PART"
    except PvbootError:
        return True


@rule("partition-not-seen", "error", "the loader does not find the partition", needs="files")
def partition_not_seen(subject: Subject) -> Iterator[Problem]:
    """PV-GRUB knows no GPT, pygrub neither logical partitions nor the GPT of a disk with 4096-byte sectors."""
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
        elif volume.scheme == "gpt" and not loader.large_sectors and not _has_small_sectors(subject, used.device):
            reason = "the GPT of a disk with 4096-byte sectors"
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
            at_home = _file_at_home(subject, place[1])
            if at_home is None:
                message = f"{loader.title} looks for {shorten(place[1])} on {subject.volume}, not on {place[0]}"
                yield problem_at(subject, entry, named, message)
            elif not _same(at_home, named.file):
                message = f"{loader.title} takes another {shorten(place[1])}, that of {subject.volume}"
                yield problem_at(subject, entry, named, message)


@rule("word-not-known-to-loader", "error", "the loader does not understand this, although others do", dialects=MENU_LST)
def word_of_menu_lst_not_known(subject: Subject) -> Iterator[Problem]:
    """With --target loader=pygrub: what it refuses, and what it passes over that a guest needs."""
    if subject.options.target.loader != "pygrub":
        return
    for entry, line in subject.menu_lst.named("root", "rootnoverify", "kernel", "module", "modulenounzip"):
        message = ""
        if line.name in ("root", "rootnoverify"):
            message = "" if line.argument.strip() else f"pygrub refuses the whole menu for {line.name} without a device"
        elif line.name != "kernel":
            message = "pygrub passes over modules and starts the kernel alone"
        elif (file := line.arguments.part("file")) is not None and file.start:  # an option stands before it
            message = f"pygrub takes {shorten(first_word(line.argument))} for the kernel's name"
        if entry is not None and message:
            yield Problem(message, line.span, entry.index)


@rule("relative-path", "error", "a file's path that does not begin with a slash", dialects=("extlinux",), needs="files")
def relative_path_from_root(subject: Subject) -> Iterator[Problem]:
    """With --target loader=pygrub, for which every path counts from the top of the volume."""
    if subject.options.target.loader != "pygrub":
        return
    for entry, named in named_files(subject):
        span = span_of(subject, entry, named)
        line = subject.line_at(span.file, span.line) or ""
        name = line[span.column - 1 : span.column - 1 + span.length]
        if span != entry.span and not name.startswith(("/", "(")) and _file_at_home(subject, f"/{name}") is None:
            yield Problem(f"pygrub looks for /{shorten(name)}", span, entry.index)


def _file_at_home(subject: Subject, path: str) -> File | None:
    """Open the file of that path on the menu's own volume; None if it is not there."""
    assert subject.devices is not None and subject.volume is not None
    try:
        return subject.devices.mount(read_device(subject.volume)[0]).open(path)
    except PvbootError:
        return None


def _same(one: File, other: File) -> bool:
    """Return whether two files have the same bytes, as far as they are compared."""
    if one.size != other.size:
        return False
    end = min(one.size, COMPARED_BYTES)
    return all(one.read_at(at, STEP_BYTES) == other.read_at(at, STEP_BYTES) for at in range(0, end, STEP_BYTES))
