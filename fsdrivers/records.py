"""The base of the record classes in `_formats.py`, which are generated from the construct declarations.

Importing construct costs two starts of pygrub: what reads disks uses the generated formats.
"""

from __future__ import annotations

from re import sub
from struct import Struct
from typing import ClassVar

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
