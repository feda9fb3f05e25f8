"""Boot Loader Specification, type #1: `key value` lines of one entry, or of systemd-boot's `loader.conf`.

Two families of readers cut the same bytes differently; each has its function here.  Any bytes are a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from grammars.lines import Field, field_at, physical_lines

FIELD_LIMIT = 1000

_BLANKS = " \t"


def parse(data: bytes, file: str) -> tuple[Field, ...]:
    """The fields as the UAPI group's specification and systemd-boot cut them.

    Blank lines and comments are nothing; a value in double quotes loses them; a key without value is no field.
    """
    return tuple(islice(_fields(data, file), FIELD_LIMIT))


def _fields(data: bytes, file: str) -> Iterator[Field]:
    for number, line in physical_lines(data.removeprefix(b"\xef\xbb\xbf")):
        body = line.strip(_BLANKS)
        if not body or body.startswith("#"):
            continue
        key, value = _cut(body)
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if value:
            yield field_at(file, number, line, key, value)


def parse_as_grub(data: bytes, file: str) -> tuple[Field, ...]:
    """The fields as Fedora's `blscfg` cuts them.

    Reading ends at a blank line or a key without value; a tab separates only in a line without any blank.
    """
    found: list[Field] = []
    for number, line in physical_lines(data):
        body = line.lstrip(_BLANKS)
        if body.startswith("#"):
            continue
        key, separator, value = body.partition(" " if " " in body else "\t")
        if not separator or not value or len(found) == FIELD_LIMIT:
            break
        found.append(field_at(file, number, line, key, value.lstrip(_BLANKS)))
    return tuple(found)


def _cut(body: str) -> tuple[str, str]:
    """Key and value around the first run of blanks and tabs."""
    end = next((i for i, character in enumerate(body) if character in _BLANKS), len(body))
    return body[:end], body[end:].lstrip(_BLANKS)
