"""Fixed on-disk records as `struct` formats with named fields.

The readable truth is the construct declaration of each room's `structs.py`; importing construct costs two
starts of pygrub, so that reading uses these formats, and a test parses random bytes with both.
"""

from __future__ import annotations

import struct
from typing import Any

from fsdrivers.errors import Corrupt


class Record:
    """A record of `size` bytes of which the listed fields are read.

    `fields` maps a name to (byte offset, `struct` code of one value); fields are given in ascending order and
    do not overlap.  `byte_order` is "<" or ">".
    """

    __slots__ = ("name", "names", "size", "unpack_from")

    def __init__(self, name: str, byte_order: str, size: int, fields: dict[str, tuple[int, str]]) -> None:
        layout, end = byte_order, 0
        for offset, code in fields.values():
            layout += f"{offset - end}x{code}"
            end = offset + struct.calcsize(byte_order + code)
        compiled = struct.Struct(f"{layout}{size - end}x")
        self.name = name
        self.names = tuple(fields)
        self.size = compiled.size
        self.unpack_from = compiled.unpack_from

    def read(self, data: bytes, offset: int = 0, *, where: str = "") -> dict[str, Any]:
        """The fields of the record at `offset` by name; `Corrupt` if it does not fit into `data`."""
        if offset < 0 or offset + self.size > len(data):
            raise Corrupt(
                f"{self.name} is cut short",
                where=where,
                expected=f"{self.size} bytes",
                found=f"{max(0, len(data) - offset)} bytes",
            )
        return dict(zip(self.names, self.unpack_from(data, offset), strict=True))
