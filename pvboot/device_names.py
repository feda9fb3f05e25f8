"""GRUB device names as text: `(hd0,0)/boot/x` -> a `Device`, without looking at any disk.

Source of the rules: GRUB 0.97 stage2/disk_io.c (set_device).
"""

from __future__ import annotations

import re

from fsdrivers.light import dataclass, replace
from pvboot import grub_errors
from pvboot.grub_errors import GrubError, first_word, read_number, shorten

MAXIMUM_DRIVES = 8  # GRUB names hd0 to hd7
MAXIMUM_PARTITION = 254
SLICES = tuple("abcdefgh")
WITH_PARTITIONS = ("hd", "loop")
PROTOCOLS = ("http", "tftp")
NETWORK = ("nd", *PROTOCOLS)
_SERVER = r"\((http|tftp)(?:,([^(),/]{1,300}))?\)"
BIOS_HARD_DISK = 0x80  # (0x80) is hd0, (0) is fd0


@dataclass(frozen=True, slots=True)
class Device:
    """A device name, parsed.

    `kind` is "hd", "fd", "cd", "nd", "loop" (a file taken for a disk), "http" or "tftp" (all of a `server`, HOST or
    HOST:PORT; "" is that of `(nd)`); `partition` counts from 0 as in GRUB Legacy, None is the whole disk; `slice` is a
    BSD letter; `scheme` is "msdos" or "gpt" if a GRUB 2 name demands that table.
    """

    kind: str
    drive: int = 0
    partition: int | None = None
    slice: str | None = None
    scheme: str | None = None
    server: str = ""

    def __str__(self) -> str:
        """The canonical name: `(hd0,0)`, `(hd0)`, `(hd0,0,a)`, `(cd)`, `(http,host)`."""
        if self.server:
            return f"({self.kind},{self.server})"
        drive = f"{self.kind}{self.drive}" if self.kind in ("hd", "fd", "loop") else self.kind
        parts = [drive, *([str(self.partition)] if self.partition is not None else [])]
        return f"({','.join([*parts, *([self.slice] if self.slice else [])])})"


def read_device(text: str, root: Device | None = None, *, loops: bool = False) -> tuple[Device, str]:
    """Read the device at the start of `text`; returns it and the text behind its closing parenthesis.

    Parts that are left out come from `root`: `(,0)` keeps its disk, `(hd0,)` its partition, `()` is its whole
    disk.  `loops`: also `(loop0)`, `(http,HOST)` and `(tftp,HOST)`, which GRUB Legacy does not know; whether there is
    one, `Devices` will tell.
    Raises `GrubError` 11 for bad syntax, 12 for an impossible drive, 23 and 35 for bad numbers.
    """
    if not text.startswith("("):
        raise GrubError(grub_errors.BAD_DEVICE_SYNTAX, f"{shorten(first_word(text))!r} does not begin with '('")
    if loops and text[1:5] in PROTOCOLS and (server := re.match(_SERVER, text)):
        return Device(server[1], server=server[2] or ""), text[server.end() :]
    drive, at = _read_loop(text) if loops and text.startswith("(loop") else _read_drive(text, root)
    device = drive
    if text[at : at + 1] == ",":
        device, at = _read_partition(text, at + 1, drive, root)
    if drive.drive >= MAXIMUM_DRIVES and drive.kind != "loop":
        raise GrubError(grub_errors.INVALID_DEVICE, f"drive {drive.drive} in {shorten(text)!r}, highest is 7")
    if device.kind not in WITH_PARTITIONS and device.partition is not None:
        raise GrubError(grub_errors.INVALID_DEVICE, f"{shorten(text)!r}: {drive} has no partitions")
    if text[at : at + 1] != ")":
        raise GrubError(grub_errors.BAD_DEVICE_SYNTAX, f"no ')' where it should be in {shorten(text)!r}")
    return device, text[at + 1 :]


def _read_drive(text: str, root: Device | None) -> tuple[Device, int]:
    """Read the part before the comma; returns it and the index behind it."""
    letter = text[1:2]
    if letter in (",", ")"):
        if root is None:
            raise GrubError(grub_errors.INVALID_DEVICE, f"{shorten(text)!r} needs a root device, none is set")
        return Device(root.kind, root.drive), 1
    if text[1:3] in ("cd", "nd"):
        return Device(text[1:3]), 3
    if text[1:3] in ("hd", "fd"):
        drive, at = read_number(text, 3)
        return Device(text[1:3], drive), at
    if not letter:
        raise GrubError(grub_errors.BAD_DEVICE_SYNTAX, "nothing after '('")
    drive, at = read_number(text, 1)  # a BIOS number
    return (Device("hd", drive - BIOS_HARD_DISK) if drive >= BIOS_HARD_DISK else Device("fd", drive)), at


def _read_loop(text: str) -> tuple[Device, int]:
    number, at = read_number(text, len("(loop"))
    return Device("loop", number), at


def _read_partition(text: str, at: int, drive: Device, root: Device | None) -> tuple[Device, int]:
    """Read the part behind the comma at `at - 1`; returns the whole device and the index behind it."""
    for scheme in ("msdos", "gpt"):
        if text.startswith(scheme, at):
            number, at = read_number(text, at + len(scheme))
            if not 1 <= number <= MAXIMUM_PARTITION + 1:
                raise GrubError(grub_errors.BAD_DEVICE_SYNTAX, f"{shorten(text)!r}: partitions count from 1 here")
            return replace(drive, partition=number - 1, scheme=scheme), at
    if "0" <= text[at : at + 1] <= "9":
        try:
            number, at = read_number(text, at)
        except GrubError as err:
            raise GrubError(grub_errors.BAD_DEVICE_SYNTAX, err.detail) from err
        if drive.kind not in WITH_PARTITIONS or number > MAXIMUM_PARTITION:
            raise GrubError(grub_errors.BAD_DEVICE_SYNTAX, f"{shorten(text)!r}: no such partition is possible")
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
