"""The System Use Sharing Protocol and the Rock Ridge entries in it."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.api import BlockSource
from fsdrivers.errors import Corrupt, require
from fsdrivers.iso9660 import SECTOR_BYTES
from fsdrivers.iso9660._formats import (
    RRIP_SL_COMPONENT,
    SUSP_HEADER,
    RripAttributes,
    RripChildLink,
    RripCompression,
    SuspContinuation,
)
from fsdrivers.iso9660.records import short_date
from fsdrivers.light import dataclass, field

# A name of 255 bytes and a target of 4 KiB fit in a few continuations; a chain may lead back into itself.
MAX_CONTINUATIONS = 64
MAX_CONTINUED_BYTES = 64 << 10
MAX_NAME_BYTES = 255
MAX_LINK_BYTES = 4096

HEADER_BYTES = SUSP_HEADER.size
NAME_CURRENT, NAME_PARENT = 2, 4  # 1 marks a name that goes on in the next entry, which every next entry does
LINK_CONTINUES, LINK_CURRENT, LINK_PARENT, LINK_ROOT = 1, 2, 4, 8
TIME_CREATION, TIME_MODIFY, TIME_LONG = 1, 2, 0x80


@dataclass(slots=True)
class RockRidge:
    """The Rock Ridge entries of one directory record; None for those that are not there."""

    name: bytes | None = None
    mode: int | None = None
    mtime: int | None = None
    target: bytes | None = None
    child_block: int | None = None
    compression: RripCompression | None = None
    relocated: bool = False
    sparse: bool = False
    signatures: set[bytes] = field(default_factory=set)


def entries(source: BlockSource, area: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """(signature, payload) of every entry in a system use area and its continuations.

    Raises `Corrupt` for entries that leave their area and continuations without end.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    while True:
        continuation: SuspContinuation | None = None
        for signature, payload in _area_entries(area, where):
            if signature == b"CE":
                continuation = SuspContinuation(payload, where=where)
            else:
                yield signature, payload
        if continuation is None:
            return
        block, offset, length = continuation.block_le, continuation.offset_le, continuation.length_le
        what, found = "system use continuation leaves its sector", f"{length} at {offset}"  # as Linux has it
        require(offset + length <= SECTOR_BYTES, what, where, f"at most {SECTOR_BYTES} bytes", found)
        total += length
        good = (block, offset) not in seen and len(seen) < MAX_CONTINUATIONS and total <= MAX_CONTINUED_BYTES
        expected = f"at most {MAX_CONTINUATIONS} areas, {MAX_CONTINUED_BYTES} bytes"
        require(good, "system use continuations do not end", where, expected)
        seen.add((block, offset))
        area = source.read_at(block * SECTOR_BYTES + offset, length)


def _area_entries(area: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + HEADER_BYTES <= len(area):
        signature, length = SUSP_HEADER.unpack_from(area, position)
        if signature == b"\0\0" or signature == b"ST":
            return
        if length < HEADER_BYTES or position + length > len(area):
            expected, found = f"{HEADER_BYTES}..{len(area) - position}", f"{signature!r}, {length} bytes"
            raise Corrupt("bad length of a system use entry", where=where, expected=expected, found=found)
        yield signature, area[position + HEADER_BYTES : position + length]
        position += length


def read_rock_ridge(source: BlockSource, area: bytes, where: str) -> RockRidge:
    """Interpret the entries of one record; unknown ones are skipped.  Raises `Corrupt`."""
    found = RockRidge()
    name, link = bytearray(), _LinkText(where)
    for signature, payload in entries(source, area, where):
        found.signatures.add(signature)
        if signature == b"NM":
            if payload and not payload[0] & (NAME_CURRENT | NAME_PARENT):
                name += payload[1:]
            if len(name) > MAX_NAME_BYTES:
                raise Corrupt("Rock Ridge name is too long", where=where, expected=f"at most {MAX_NAME_BYTES} bytes")
        elif signature == b"PX":
            found.mode = RripAttributes(payload, where=where).mode_le
        elif signature == b"TF":
            found.mtime = _modify_time(payload)
        elif signature == b"SL":
            link.add(payload)
        elif signature == b"CL":
            found.child_block = RripChildLink(payload, where=where).block_le
        elif signature == b"RE":
            found.relocated = True
        elif signature == b"SF":
            found.sparse = True
        elif signature == b"ZF":
            found.compression = RripCompression(payload, where=where)
    found.name = bytes(name) or None
    found.target = link.text() if b"SL" in found.signatures else None
    return found


class _LinkText:
    """Puts the components of SL entries together; a component may continue in the next entry."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._parts: list[bytes] = []
        self._open = False

    def add(self, payload: bytes) -> None:
        position = 1
        while position + RRIP_SL_COMPONENT.size <= len(payload):
            flags, length = RRIP_SL_COMPONENT.unpack_from(payload, position)
            position += RRIP_SL_COMPONENT.size
            text = payload[position : position + length]
            expected, found = f"{length} bytes", f"{len(text)} bytes"
            require(len(text) == length, "link component is cut short", self._where, expected, found)
            position += length
            if flags & LINK_CURRENT:
                text = b"."
            elif flags & LINK_PARENT:
                text = b".."
            elif flags & LINK_ROOT:
                text = b""
            if self._open:
                self._parts[-1] += text
            else:
                self._parts.append(text)
            self._open = bool(flags & LINK_CONTINUES)
            if sum(map(len, self._parts)) + len(self._parts) > MAX_LINK_BYTES:
                raise Corrupt("link target is too long", where=self._where, expected=f"at most {MAX_LINK_BYTES} bytes")

    def text(self) -> bytes:
        # A root component is an empty first part: joining gives the leading slash.
        return b"/" if self._parts == [b""] else b"/".join(self._parts)


def _modify_time(payload: bytes) -> int | None:
    """Modification time of a TF entry in seconds since 1970; None if it is not given in the short form."""
    if not payload or not payload[0] & TIME_MODIFY or payload[0] & TIME_LONG:
        return None
    start = 1 + (7 if payload[0] & TIME_CREATION else 0)
    return short_date(payload[start : start + 7])
