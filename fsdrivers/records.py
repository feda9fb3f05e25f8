"""The base of the record classes in `_formats.py`, which are generated from the construct declarations.

Importing construct costs two starts of pygrub: what reads disks uses the generated formats.
"""

from __future__ import annotations

import struct
from re import sub
from struct import Struct
from typing import Any, ClassVar

from fsdrivers.errors import Corrupt


class Record:
    """A structure unpacked from bytes: the annotations of a subclass are its fields in the order of the bytes.

    A variant with another order says so in FIELDS.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ()
    SIZE: ClassVar[int]
    LAYOUT: ClassVar[Struct]

    def __init_subclass__(cls) -> None:
        if cls.__annotations__:
            cls.FIELDS = tuple(cls.__annotations__)

    def __init__(self, data: bytes | memoryview, offset: int = 0, *, where: str = "") -> None:
        """Read the record at `offset`; raises `Corrupt` if it does not fit into `data`."""
        size = self.SIZE
        if offset < 0 or offset + size > len(data):
            name = sub("(?<=[a-z0-9])(?=[A-Z])", " ", type(self).__name__)
            found = f"{max(0, len(data) - offset)} bytes"
            raise Corrupt(f"{name} is cut short", where=where, expected=f"{size} bytes", found=found)
        self.__dict__.update(zip(self.FIELDS, self.LAYOUT.unpack_from(data, offset), strict=True))


class FieldTable:
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
