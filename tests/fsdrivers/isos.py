"""Writes small ISO 9660 images byte by byte, for what mastering tools do not make."""

from __future__ import annotations

import struct

SECTOR = 2048


def both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def record(
    name: bytes,
    block: int,
    size: int,
    *,
    flags: int = 0,
    xar: int = 0,
    unit: int = 0,
    gap: int = 0,
    system_use: bytes = b"",
) -> bytes:
    """One directory record, padded to even length."""
    body = bytes([xar]) + both32(block) + both32(size) + bytes([126, 1, 2, 3, 4, 5, 0]) + bytes([flags, unit, gap])
    body += both16(1) + bytes([len(name)]) + name + (b"" if len(name) % 2 else b"\0") + system_use
    body += b"" if len(body) % 2 else b"\0"
    return bytes([len(body) + 1]) + body


def entry(signature: bytes, payload: bytes, version: int = 1) -> bytes:
    """One system use entry."""
    return signature + bytes([4 + len(payload), version]) + payload


def sp(skip: int = 0) -> bytes:
    return entry(b"SP", b"\xbe\xef" + bytes([skip]))


def px(mode: int) -> bytes:
    return entry(b"PX", both32(mode) + both32(1) + both32(0) + both32(0))


def nm(name: bytes, flags: int = 0) -> bytes:
    return entry(b"NM", bytes([flags]) + name)


def ce(block: int, offset: int, length: int) -> bytes:
    return entry(b"CE", both32(block) + both32(offset) + both32(length))


def directory(block: int, *records: bytes, parent: int | None = None, dot: bytes = b"", sectors: int = 1) -> bytes:
    """A directory extent: its own two records, then the given ones; none crosses a sector."""
    data = record(b"\0", block, sectors * SECTOR, flags=2, system_use=dot)
    data += record(b"\1", block if parent is None else parent, SECTOR, flags=2)
    for one in records:
        if len(data) % SECTOR + len(one) > SECTOR:
            data += bytes(-len(data) % SECTOR)
        data += one
    assert len(data) <= sectors * SECTOR
    return data.ljust(sectors * SECTOR, b"\0")


def descriptor(
    kind: int, root_block: int, *, sectors: int = 1, escapes: bytes = b"", block_size: int = SECTOR
) -> bytes:
    """A primary (1) or supplementary (2) descriptor."""
    data = bytearray(SECTOR)
    data[0:7] = bytes([kind]) + b"CD001\x01"
    data[40:72] = b"LABEL".ljust(32)
    data[88 : 88 + len(escapes)] = escapes
    data[128:132] = both16(block_size)
    data[156:190] = record(b"\0", root_block, sectors * SECTOR, flags=2)
    data[813:830] = b"2020010203040506\0"
    data[830:847] = b"2021020304050607\0"
    return bytes(data)


TERMINATOR = b"\xffCD001\x01".ljust(SECTOR, b"\0")


def image(blocks: dict[int, bytes], *descriptors: bytes, size: int = 64) -> bytes:
    """An image of `size` sectors; without descriptors, a primary one whose root is block 20."""
    data = bytearray(size * SECTOR)
    for i, one in enumerate([*(descriptors or (descriptor(1, 20),)), TERMINATOR], 16):
        data[i * SECTOR : (i + 1) * SECTOR] = one
    for block, content in blocks.items():
        data[block * SECTOR : block * SECTOR + len(content)] = content
    return bytes(data)
