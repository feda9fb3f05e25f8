"""Rules about the volumes that menus and entries need: absent, ambiguous, or not readable by a loader."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fsdrivers.errors import FsError, UnknownFilesystem
from fsdrivers.probe import ENCRYPTED, ZEROS
from grammars.spans import SourceSpan
from pvboot import grub_errors
from pvboot.check.api import Problem, rule
from pvboot.check.loaders import FOREIGN_FILESYSTEMS, LOADERS, loader_of
from pvboot.check.rules.files import named_files, problem_at
from pvboot.check.scripted import warnings_of
from pvboot.check.volumes import (
    Used,
    doubtful_features,
    ext_superblock,
    journal_is_dirty,
    unreadable_features,
    used_volumes,
    xfs_version,
)
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError, shorten

if TYPE_CHECKING:
    from pvboot.check.subject import Subject
    from pvboot.device_names import Device
    from pvboot.menu.loads import NamedFile
    from pvboot.menu.model import Entry

NAMES_LOOKED_FOR = 16  # names that several volumes have; each is looked for in the whole text
_ABSENT = (grub_errors.NO_SUCH_DISK, grub_errors.NO_SUCH_PARTITION, grub_errors.INVALID_DEVICE)


@rule(
    "root-device-absent",
    "error",
    "a menu names a disk, partition, UUID or label that the guest does not have",
    needs="files",
)
def root_device_absent(subject: Subject) -> Iterator[Problem]:
    """`root`, `uuid` and devices in file names; what `search` of a `grub.cfg` does not find."""
    for entry in subject.opened_entries:
        for span, err in subject.loads(entry).roots:
            if isinstance(err, GrubError) and err.number in (*_ABSENT, grub_errors.FILE_NOT_FOUND):
                yield Problem(f"the root device is not there: {err}", span, entry.index)
    seen = set()
    for entry, named in named_files(subject):
        if isinstance(named.error, GrubError) and named.error.number in _ABSENT[:2]:
            yield problem_at(subject, entry, named, f"{shorten(named.name)}: {named.error}")
            seen.add(entry.index)
    for warning, index in warnings_of(subject, "search-failed"):
        # A search that fails leaves the root as it was: where the files are found nevertheless the entry boots.
        boots = index is None or (index not in seen and _opens(subject, index))
        yield Problem(warning.message, warning.span, index, severity="note" if boots else None)
    yield from _absent_roots(subject)


_ROOT_ARGUMENT = re.compile(r"root=\"?(?:(UUID=|/dev/disk/by-uuid/)|(?:LABEL=|/dev/disk/by-label/))([^\"\\]+)\"?")
_FAT_AND_SWAP = "FAT,FAT12,FAT16,FAT32,swap space,swap space (old),swap space (64 KiB pages)"
_NEVER_ROOT = (*_FAT_AND_SWAP.split(","), ZEROS)


def _absent_roots(subject: Subject) -> Iterator[Problem]:
    """Warn of roots that no disk has (the guest may be given a further one), if the names of all volumes are known."""
    asked = []
    for entry in subject.opened_entries:
        loads = subject.loads(entry)
        matches = map(_ROOT_ARGUMENT.fullmatch, loads.cmdline.split() if loads.kernel is not None else ())
        asked += [(entry, loads.kernel, match[2], match[1] is not None) for match in matches if match is not None]
    names = _names_of_volumes(subject) if asked else None
    for entry, kernel, name, is_uuid in asked if names is not None else ():
        assert names is not None and kernel is not None
        if (name.lower() if is_uuid else name) not in names:
            kind = "UUID" if is_uuid else "label"
            message = f"root= names the {kind} {shorten(name)}, which no volume of the guest's disks has"
            yield problem_at(subject, entry, kernel, message, "warning")


def _names_of_volumes(subject: Subject) -> set[str] | None:
    """Return UUIDs and labels of all volumes, None if those of one are not known."""
    assert subject.devices is not None
    names: set[str] = set()
    troubles: list[FsError] = []
    for device in subject.devices.candidates(troubles.append):
        try:
            filesystem = subject.devices.mount(device)
        except UnknownFilesystem as err:
            if err.content not in _NEVER_ROOT:
                return None
            continue
        except PvbootError:
            return None
        if filesystem.uuid is None:  # a directory, a server
            return None
        names |= {filesystem.uuid.lower(), filesystem.label or ""}
    return None if troubles else names


def _opens(subject: Subject, index: int) -> bool:
    loads = subject.loads(subject.menu.entries[index])
    return loads.kernel is not None and all(named.file is not None for named in loads.named)


# --- volumes that cannot be read --------------------------------------------------------------------------


def _unknown(subject: Subject) -> Iterator[tuple[Entry, NamedFile, UnknownFilesystem]]:
    """Yield the files that cannot be opened because no reader knows their volume, and what that seems to be."""
    for entry, named in named_files(subject):
        error: BaseException | None = named.error
        if isinstance(error, GrubError) and error.number == grub_errors.CANNOT_MOUNT:
            error = error.__cause__
        if isinstance(error, UnknownFilesystem):
            yield entry, named, error


@rule("encrypted-volume", "error", "a file lies on an encrypted volume", needs="files")
def encrypted_volume(subject: Subject) -> Iterator[Problem]:
    """Only GRUB 2 has words to open one, and it asks for the passphrase at every boot."""
    for entry, named, error in _unknown(subject):
        if error.content == ENCRYPTED:
            yield problem_at(subject, entry, named, f"{shorten(named.name)} lies on an encrypted volume ({ENCRYPTED})")


@rule("unreadable-filesystem", "error", "a file lies on a file system that the loader cannot read", needs="files")
def unreadable_filesystem(subject: Subject) -> Iterator[Problem]:
    """The loaders that cannot are named; for those that can, the volume is not looked into."""
    asked = loader_of(subject.options.target)
    for entry, named, error in _unknown(subject):
        if error.content == ENCRYPTED:
            continue
        content = xfs_version(subject, named.name) if error.content == "XFS" else error.content or error.found
        readers = FOREIGN_FILESYSTEMS.get(content, frozenset())
        if asked is not None and asked.name in readers:
            message = f"{shorten(named.name)} lies on {content}, which {asked.title} reads and this check does not"
            yield problem_at(subject, entry, named, message, "note")
            continue
        blind = ", ".join(loader.title for loader in LOADERS.values() if loader.name not in readers)
        message = f"{shorten(named.name)} lies on a file system ({content}) that {blind} cannot read"
        yield problem_at(subject, entry, named, message)


# --- volumes with a name too many -------------------------------------------------------------------------


@rule("ambiguous-volume", "warning", "two volumes have the UUID or label that the menu looks for", needs="files")
def ambiguous_volume(subject: Subject) -> Iterator[Problem]:
    """A cloned disk, or a snapshot attached beside its origin: which one is found is a matter of order."""
    assert subject.devices is not None
    owners: dict[str, list[Device]] = defaultdict(list)
    for device in subject.devices.candidates():
        try:
            filesystem = subject.devices.mount(device)
        except PvbootError:
            continue
        for name in {filesystem.uuid, filesystem.label} - {None, ""}:
            assert name is not None
            owners[name].append(device)
    twice = sorted(name for name, devices in owners.items() if len(devices) > 1)
    for name in twice[:NAMES_LOOKED_FOR]:
        devices = owners[name]
        span = _mention(subject, name)
        if span is not None:
            places = ", ".join(map(str, devices))
            yield Problem(f"{shorten(name)} means more than one volume: {places}", span)


def _mention(subject: Subject, name: str) -> SourceSpan | None:
    """Find where the menu first has the name, behind a blank, a quote or an equals sign."""
    pattern = re.compile(rf"(?<![^\s=\"']){re.escape(name)}(?![^\s\"'])", re.IGNORECASE)
    for number, line in enumerate(subject.lines, 1):
        match = None if line.lstrip().startswith("#") else pattern.search(line)
        if match:
            return SourceSpan(subject.name, number, match.start() + 1, len(name))
    return None


# --- file systems that loaders read wrong, or not at all --------------------------------------------------


@rule("dirty-journal", "warning", "a file system was not unmounted: loaders do not replay its journal", needs="files")
def dirty_journal(subject: Subject) -> Iterator[Problem]:
    """GRUB Legacy, GRUB 2 and pygrub read what stood there before; pvboot and Linux replay."""
    assert subject.devices is not None
    for used in used_volumes(subject):
        superblock = ext_superblock(subject.devices, used.device)
        if superblock is not None and journal_is_dirty(superblock):
            message = (
                f"the file system of {used.device}, with {shorten(used.purpose)}, was not unmounted: "
                "GRUB and pygrub do not replay its journal and may read older files"
            )
            yield _of_volume(subject, used, message)


@rule("filesystem-feature", "error", "a file system has a feature that the loader cannot read", needs="files")
def filesystem_feature(subject: Subject) -> Iterator[Problem]:
    """Without --target every loader of PV guests is looked at that could read the menu, and named in a note."""
    assert subject.devices is not None
    asked = loader_of(subject.options.target)
    loaders = [asked] if asked else [loader for loader in LOADERS.values() if subject.dialect in loader.dialects]
    for used in used_volumes(subject):
        superblock = ext_superblock(subject.devices, used.device)
        for loader in loaders if superblock is not None else ():
            assert superblock is not None
            where = f"read the file system of {used.device}, with {shorten(used.purpose)}"
            if features := unreadable_features(superblock, loader):
                message = f"{loader.title} cannot {where}: {', '.join(features)}"
                yield _of_volume(subject, used, message, None if asked else "note")
            elif features := doubtful_features(superblock, loader):
                message = f"not every build of {loader.title} can {where}: {', '.join(features)}"
                yield _of_volume(subject, used, message, "warning" if asked else "note")


def _of_volume(subject: Subject, used: Used, message: str, severity: str | None = None) -> Problem:
    if used.entry is None:
        return Problem(message, severity=severity)
    return Problem(message, subject.menu.entries[used.entry].span, used.entry, severity=severity)
