"""GRUB 2's own small rules: numbers, names of devices, command lines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fsdrivers.light import replace
from pvboot.device_names import PROTOCOLS, WITH_PARTITIONS, Device

_MAXIMUM = (1 << 64) - 1
_NEEDS_BACKSLASH = r"(\\x[0-9A-Fa-f]{2})|([\\'\"])"
_DEVICE = r"(hd|fd|cd)([0-9]{0,3})"
_XEN_DISK = r"(?:xen/)?(?:xvd|sd|hd|vd)([a-h])"
_NO_LOOPS: Mapping[str, Device] = MappingProxyType({})
_SERVER = r"[^(),/]{0,300}"
_PARTITION = r"(msdos|gpt)?([0-9]{1,3})"


def read_unsigned(text: str) -> tuple[int, bool]:
    """The number at the start of `text` as grub_strtoul (base 0) reads it, and whether there was one.

    Leading blanks are skipped; `0x` is hexadecimal, a leading 0 octal; foreign characters end it.
    """
    text = text.lstrip(" \t\r\n")
    base, digits = 10, "0123456789"
    found = False
    if text[:2].lower() == "0x":
        base, digits, text = 16, "0123456789abcdef", text[2:]
    elif text[:1] == "0":
        base, digits, found = 8, "01234567", True
    value = 0
    for letter in text.lower():
        if letter not in digits:
            break
        value = value * base + int(letter, base)
        if value > _MAXIMUM:
            return _MAXIMUM, False
        found = True
    return value, found


def join_arguments(words: Sequence[str]) -> str:
    r"""The command line that a kernel gets: words joined by one blank, those with blanks in quotes.

    Backslashes and quotes get a backslash, but `\xHH` is left alone (lib/cmdline.c, as Fedora has it).
    """
    return " ".join(map(_quote, words))


def _quote(word: str) -> str:
    quoted = re.sub(_NEEDS_BACKSLASH, lambda match: match[1] or "\\" + match[2], word)
    return f'"{quoted}"' if " " in word else quoted


def read_device_name(text: str, loops: Mapping[str, Device] = _NO_LOOPS) -> Device | None:
    """The device that GRUB 2 calls `text`, without parentheses; None for kinds that do not exist here.

    Partitions count from 1 in every form: `hd0,1`, `hd0,msdos1`, `hd0,gpt1`; `xen/xvda,1` is hd0's.
    `loops` are the names that `loopback` has given; `http,HOST` and `tftp,HOST` are servers, `nd` is where the menu
    came from.
    """
    name, comma, number = text.partition(",")
    if text == "nd":
        return Device(text)
    if text == "pxe":  # what GRUB calls the server that it was started from
        return Device("tftp")
    if name in PROTOCOLS:
        return Device(name, server=number) if re.fullmatch(_SERVER, number) else None
    device = loops.get(name) or _read_drive(name)
    if device is None or not comma:
        return device
    partition = re.fullmatch(_PARTITION, number)
    if partition is None or device.kind not in WITH_PARTITIONS or not 1 <= int(partition[2]) <= 255:
        return None
    return replace(device, partition=int(partition[2]) - 1, scheme=partition[1])


def _read_drive(name: str) -> Device | None:
    if match := re.fullmatch(_DEVICE, name):
        return Device(match[1], int(match[2] or 0))
    if match := re.fullmatch(_XEN_DISK, name):
        return Device("hd", ord(match[1]) - ord("a"))
    return None


def split_name(name: str) -> tuple[str | None, str]:
    """The device's name in `(DEVICE)/path`, None if there is none, and the path."""
    if not name.startswith("("):
        return None, name
    device, closing, path = name[1:].partition(")")
    return (device, path) if closing else (None, name)
