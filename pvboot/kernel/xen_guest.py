"""The `__xen_guest` section: the text that kernels carried before Xen had ELF notes."""

from __future__ import annotations

import re
from collections.abc import Iterator

# KEY=VALUE,KEY,KEY=VALUE without quoting.  Xen copies a key into 32 bytes and a value into 128: a longer one is
# split there, the rest starts the next item, and a key of exactly 31 characters never gets its value.
_KEY = re.compile(rb"[^,=]{0,31}", re.DOTALL)
_VALUE = re.compile(rb"[^,]{0,127}", re.DOTALL)
_KEY_BYTES, _VALUE_BYTES = 31, 127
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")


def guest_items(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Pairs (key, value) of a `__xen_guest` text given without its NUL.

    Source: elf_xen_parse_guest_info in xen/common/libelf/libelf-dominfo.c.
    """
    position = 0
    while position < len(text):
        key = _match(_KEY, text, position)
        position += len(key)
        value = b""
        if len(key) < _KEY_BYTES:
            separator = text[position : position + 1]
            position += len(separator)
            if separator == b"=":
                value = _match(_VALUE, text, position)
                position += len(value)
                if len(value) < _VALUE_BYTES:
                    position += 1  # the comma
        yield key, value


def guest_number(text: bytes) -> int:
    """The unsigned 64-bit number at the start of `text`, read as C's strtoull(text, NULL, 0) does."""
    match = _NUMBER.match(text)
    if match is None:
        return 0
    sign, hexadecimal, octal, decimal = match.groups()
    value = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    if value >> 64:
        return (1 << 64) - 1
    return -value & ((1 << 64) - 1) if sign == b"-" else value


def _match(pattern: re.Pattern[bytes], text: bytes, position: int) -> bytes:
    match = pattern.match(text, position)
    return match[0] if match else b""
