"""GRUB device names and the disks of a guest behind them: `(hd0,0)/boot/x` -> an open file.

A name is read without looking at any disk (`read_device`), so that menus can be described alone; `Devices`
then finds the volume, mounts it when it is first needed, and answers with GRUB's own error numbers.
Source of the rules: GRUB 0.97 stage2/disk_io.c (set_device, setup_part, grub_open).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fsdrivers import errors as fs_errors
from pvboot import grub_rules as rules
from pvboot.errors import PvbootError
from pvboot.grub_rules import GrubError, first_word, read_number, shorten

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource, File, Filesystem, Volume

MAXIMUM_DRIVES = 8  # GRUB names hd0 to hd7
MAXIMUM_PARTITION = 254
SLICES = tuple("abcdefgh")
MENU_FILE_LIMIT_BYTES = 1 << 20  # of a menu given as a file instead of a disk

_BIOS_HARD_DISK = 0x80  # (0x80) is hd0, (0) is fd0


@dataclass(frozen=True, slots=True)
class Device:
    """What a device name says.

    `kind` is "hd", "fd", "cd" or "nd"; `partition` counts from 0 as in GRUB Legacy, None is the whole disk;
    `slice` is a BSD letter; `scheme` is "msdos" or "gpt" if a GRUB 2 name demands that table.
    """

    kind: str
    drive: int = 0
    partition: int | None = None
    slice: str | None = None
    scheme: str | None = None

    def __str__(self) -> str:
        """The canonical name: `(hd0,0)`, `(hd0)`, `(hd0,0,a)`, `(cd)`."""
        drive = f"{self.kind}{self.drive}" if self.kind in ("hd", "fd") else self.kind
        parts = [drive, *([str(self.partition)] if self.partition is not None else [])]
        return f"({','.join([*parts, *([self.slice] if self.slice else [])])})"


def read_device(text: str, root: Device | None = None) -> tuple[Device, str]:
    """The device at the start of `text` and what follows its closing parenthesis.

    Parts that are left out come from `root`: `(,0)` keeps its disk, `(hd0,)` its partition, `()` is its whole
    disk.  Raises `GrubError` 11 for bad syntax, 12 for an impossible drive, 23 and 35 for bad numbers.
    """
    if not text.startswith("("):
        raise GrubError(rules.BAD_DEVICE_SYNTAX, f"{shorten(first_word(text))!r} does not begin with '('")
    drive, at = _read_drive(text, root)
    device = drive
    if text[at : at + 1] == ",":
        device, at = _read_partition(text, at + 1, drive, root)
    if drive.drive >= MAXIMUM_DRIVES:
        raise GrubError(rules.INVALID_DEVICE, f"drive {drive.drive} in {shorten(text)!r}, highest is 7")
    if device.kind != "hd" and device.partition is not None:
        raise GrubError(rules.INVALID_DEVICE, f"{shorten(text)!r}: {drive} has no partitions")
    if text[at : at + 1] != ")":
        raise GrubError(rules.BAD_DEVICE_SYNTAX, f"no ')' where it should be in {shorten(text)!r}")
    return device, text[at + 1 :]


def _read_drive(text: str, root: Device | None) -> tuple[Device, int]:
    """The part before the comma, and the index behind it."""
    letter = text[1:2]
    if letter in (",", ")"):
        if root is None:
            raise GrubError(rules.INVALID_DEVICE, f"{shorten(text)!r} needs a root device, none is set")
        return Device(root.kind, root.drive), 1
    if text[1:3] in ("cd", "nd"):
        return Device(text[1:3]), 3
    if text[1:3] in ("hd", "fd"):
        drive, at = read_number(text, 3)
        return Device(text[1:3], drive), at
    if not letter:
        raise GrubError(rules.BAD_DEVICE_SYNTAX, "nothing after '('")
    drive, at = read_number(text, 1)  # a BIOS number
    return (Device("hd", drive - _BIOS_HARD_DISK) if drive >= _BIOS_HARD_DISK else Device("fd", drive)), at


def _read_partition(text: str, at: int, drive: Device, root: Device | None) -> tuple[Device, int]:
    """The part behind the comma at `at - 1`."""
    for scheme in ("msdos", "gpt"):
        if text.startswith(scheme, at):
            number, at = read_number(text, at + len(scheme))
            if not 1 <= number <= MAXIMUM_PARTITION + 1:
                raise GrubError(rules.BAD_DEVICE_SYNTAX, f"{shorten(text)!r}: partitions count from 1 here")
            return replace(drive, partition=number - 1, scheme=scheme), at
    if "0" <= text[at : at + 1] <= "9":
        try:
            number, at = read_number(text, at)
        except GrubError as err:
            raise GrubError(rules.BAD_DEVICE_SYNTAX, err.detail) from err
        if drive.kind != "hd" or number > MAXIMUM_PARTITION:
            raise GrubError(rules.BAD_DEVICE_SYNTAX, f"{shorten(text)!r}: no such partition is possible")
        if text[at : at + 1] == ",":
            at += 1
            if text[at : at + 1] in SLICES:
                return replace(drive, partition=number, slice=text[at]), at + 1
        return replace(drive, partition=number), at
    letter = text[at : at + 1]
    if letter in SLICES:
        return replace(drive, slice=letter), at + 1
    if letter == ")" and root is not None:
        return replace(drive, partition=root.partition, slice=root.slice, scheme=root.scheme), at
    return drive, at


# --- the disks behind the names ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of the guest: either a `source` of blocks or a ready `filesystem` (a directory)."""

    name: str
    source: BlockSource | None = None
    filesystem: Filesystem | None = None


class Devices:
    """The disks hd0, hd1 ... of one guest; volumes are listed and mounted when first asked for.

    `source_name` is what the user called the guest's disk; `menu_file` is set when that was a menu itself.
    """

    def __init__(self, disks: Sequence[Disk], *, source_name: str = "", menu_file: str | None = None) -> None:
        self.disks = tuple(disks)
        self.source_name = source_name or (self.disks[0].name if self.disks else "")
        self.menu_file = menu_file
        self._volumes: dict[int, list[Volume]] = {}
        self._mounted: dict[tuple[int, int], Filesystem | fs_errors.FsError] = {}

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptors of all disks back; open files must not be used afterwards."""
        for disk in self.disks:
            if disk.source is not None:
                disk.source.close()

    # -- which volumes there are

    def volumes(self, drive: int) -> list[Volume]:
        """The volumes of a disk, [] for a directory.  Raises `FsError` if the disk cannot be read."""
        source = self.disks[drive].source
        if source is None:
            return []
        if drive not in self._volumes:
            from fsdrivers.partitions import volumes

            self._volumes[drive] = volumes(source)
        return self._volumes[drive]

    def candidates(self, on_error: Callable[[fs_errors.FsError], object] = lambda _err: None) -> Iterator[Device]:
        """Every volume that may hold a file system, disk by disk in the order of the tables.

        A disk whose table cannot be read is passed over; `on_error` is told why.
        """
        for drive, disk in enumerate(self.disks):
            if disk.filesystem is not None:
                yield Device("hd", drive)
                continue
            try:
                volumes = self.volumes(drive)
            except fs_errors.FsError as err:
                on_error(err)
                continue
            for volume in volumes:
                yield Device("hd", drive, volume.number - 1 if volume.number else None)

    def locate(self, device: Device) -> tuple[int, int]:
        """The disk's index and the volume's number (0 is the whole disk) behind a name.

        A disk that is one file system answers as `(hd0)`, `(hd0,0)` and `(hd0,msdos1)` alike.
        Raises `GrubError` 21 for a missing disk, 22 for a missing partition.
        """
        drive = self._drive_of(device)
        disk = self.disks[drive]
        if device.partition is None and device.slice is None:
            return drive, 0
        if device.slice is not None:
            raise GrubError(rules.NO_SUCH_PARTITION, f"{device} of {disk.name}: BSD labels are not read")
        assert device.partition is not None
        volumes = self._volumes_for_grub(drive)
        number = device.partition + 1
        for volume in volumes:
            if volume.number == number and device.scheme in (None, volume.scheme):
                return drive, number
        table_less = not any(volume.number for volume in volumes)
        if table_less and device.partition == 0:
            return drive, 0
        known = ", ".join(str(volume.number - 1) for volume in volumes if volume.number) or "none"
        raise GrubError(rules.NO_SUCH_PARTITION, f"{device} of {disk.name}, its partitions: {known}")

    def _drive_of(self, device: Device) -> int:
        if device.kind == "hd" and device.drive < len(self.disks):
            return device.drive
        if device.kind == "cd":
            for drive in range(len(self.disks)):
                if self._is_optical(drive):
                    return drive
        if device.kind == "nd":
            raise GrubError(rules.INVALID_DEVICE, "no network here yet")
        raise GrubError(rules.NO_SUCH_DISK, f"{device}, this guest has {len(self.disks)} disk(s)")

    def _is_optical(self, drive: int) -> bool:
        try:
            return self.mount(Device("hd", drive)).kind == "iso9660"
        except fs_errors.FsError:
            return False

    def _volumes_for_grub(self, drive: int) -> list[Volume]:
        try:
            return self.volumes(drive)
        except fs_errors.FsError as err:
            raise translate(err) from err

    # -- file systems and files

    def mount(self, device: Device) -> Filesystem:
        """The file system of a device.  Raises `FsError` if none can be read there, `GrubError` 21 and 22."""
        drive, number = self.locate(device)
        ready = self.disks[drive].filesystem
        if ready is not None:
            return ready
        if (drive, number) not in self._mounted:
            self._mounted[drive, number] = self._mount(drive, number)
        mounted = self._mounted[drive, number]
        if isinstance(mounted, fs_errors.FsError):
            raise mounted
        return mounted

    def _mount(self, drive: int, number: int) -> Filesystem | fs_errors.FsError:
        from fsdrivers.probe import probe

        try:
            return probe(self._blocks(drive, number))
        except fs_errors.FsError as err:
            return err

    def _blocks(self, drive: int, number: int) -> BlockSource:
        """The blocks of a whole disk (number 0) or of a partition."""
        source = self.disks[drive].source
        if source is None:
            raise fs_errors.Unsupported("a directory has no blocks", where=self.disks[drive].name)
        if number == 0:
            return source
        return next(volume.source for volume in self.volumes(drive) if volume.number == number)

    def blocks(self, device: Device) -> BlockSource:
        """The raw bytes behind a device.  Raises `GrubError` 17, 21 and 22."""
        try:
            return self._blocks(*self.locate(device))
        except fs_errors.FsError as err:
            raise translate(err) from err

    def filesystem(self, device: Device) -> Filesystem:
        """As `mount`, every failure as a `GrubError` (17 for a volume without a known file system)."""
        try:
            return self.mount(device)
        except fs_errors.FsError as err:
            raise translate(err, mounting=True) from err

    def open(self, name: str, root: Device) -> File:
        """Open GRUB's FILE: `[DEVICE]/path` or `[DEVICE]` and a block list; it ends at the first blank.

        Raises `GrubError`.
        """
        word = first_word(name)
        device, path = read_device(word, root) if word.startswith("(") else (root, word)
        if not path.startswith("/"):
            from pvboot.blocklist import open_block_list

            if not path:
                raise GrubError(rules.BAD_FILENAME, f"no path in {name!r}" if name else "no file is named")
            return open_block_list(path, self.blocks(device))
        filesystem = self.filesystem(device)
        try:
            return filesystem.open(path)
        except fs_errors.IsADirectory as err:
            if path.endswith("/"):  # GRUB looks for a file of no name in the directory
                raise GrubError(rules.FILE_NOT_FOUND, str(err)) from err
            raise translate(err) from err
        except fs_errors.FsError as err:
            raise translate(err) from err


_NUMBERS: tuple[tuple[type[fs_errors.FsError], int], ...] = (
    (fs_errors.NotFound, rules.FILE_NOT_FOUND),
    (fs_errors.NotADirectory, rules.BAD_FILE_TYPE),
    (fs_errors.IsADirectory, rules.BAD_FILE_TYPE),
    (fs_errors.LinkLoop, rules.TOO_MANY_LINKS),
    (fs_errors.SourceError, rules.READ_ERROR),
    (fs_errors.Unsupported, rules.UNREADABLE_WHOLE),
    (fs_errors.Corrupt, rules.INCONSISTENT_FILESYSTEM),
)


def translate(err: fs_errors.FsError, *, mounting: bool = False) -> GrubError:
    """The GRUB error for one of the drivers', its text kept as the detail."""
    if mounting and not isinstance(err, fs_errors.SourceError):
        return GrubError(rules.CANNOT_MOUNT, str(err))
    for kind, number in _NUMBERS:
        if isinstance(err, kind):
            return GrubError(number, str(err))
    return GrubError(rules.CANNOT_MOUNT, str(err))


# --- what the user names as SOURCE ------------------------------------------------------------------------


def open_devices(source: str, disks: Sequence[str] = ()) -> Devices:
    """The guest whose first disk is `source` and whose further ones are `disks`.

    A source is an image, a block device, a directory, or a plain menu file; the last is no disk, so that the
    first of `disks` then becomes hd0.  Raises `FsError`, `PvbootError`.
    """
    menu_file = source if _is_menu_file(source) else None
    names = [*([] if menu_file else [source]), *disks]
    if len(names) > MAXIMUM_DRIVES:
        raise PvbootError("too many disks", expected=f"at most {MAXIMUM_DRIVES}", found=str(len(names)))
    opened: list[Disk] = []
    try:
        for name in names:
            opened.append(_open_disk(name))
    except Exception:
        Devices(opened).close()
        raise
    return Devices(opened, source_name=source, menu_file=menu_file)


def _open_disk(name: str) -> Disk:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name):
        raise PvbootError("this source cannot be read", where=name, expected="a local file or directory", found="a URL")
    if os.path.isdir(name):
        from fsdrivers.directory import DirectoryFilesystem

        return Disk(name, filesystem=DirectoryFilesystem(name))
    from fsdrivers.blocks import open_source

    return Disk(name, open_source(name))


def _is_menu_file(name: str) -> bool:
    """Small text: a regular file of at most 1 MiB without a NUL; every disk image has NULs."""
    if not os.path.isfile(name) or os.path.getsize(name) > MENU_FILE_LIMIT_BYTES:
        return False
    try:
        with open(name, "rb") as file:
            return b"\0" not in file.read(MENU_FILE_LIMIT_BYTES)
    except OSError as err:
        raise fs_errors.SourceError(f"cannot be read: {err.strerror}", where=name) from err
