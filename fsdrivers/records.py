"""The base of the record classes in `_formats.py`, which are generated from the construct declarations.

Importing construct costs two starts of pygrub: what reads disks uses the generated formats.
"""

from __future__ import annotations

from re import sub
from struct import Struct

from fsdrivers.errors import Corrupt
from fsdrivers.light import ClassVar, Self


class Record:
    """A structure unpacked from bytes: the annotations of a subclass are its fields in the order of the bytes."""

    LAYOUT: ClassVar[Struct]
    SIZE: ClassVar[int]
    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        if cls.__annotations__:
            cls.FIELDS = tuple(cls.__annotations__)
        if "LAYOUT" in cls.__dict__:
            cls.SIZE = cls.LAYOUT.size

    @classmethod
    def variant(cls, layout: Struct, *fields: str) -> type[Self]:
        """The same record in another layout, which may have another order of the fields."""
        return type(cls.__name__, (cls,), {"LAYOUT": layout, "FIELDS": fields or cls.FIELDS})

    def __init__(self, data: bytes | memoryview, offset: int = 0, *, where: str = "") -> None:
        """Read the record at `offset`; raises `Corrupt` if it does not fit into `data`."""
        size = self.SIZE
        if offset < 0 or offset + size > len(data):
            name = sub("(?<=[a-z0-9])(?=[A-Z])", " ", type(self).__name__)
            found = f"{max(0, len(data) - offset)} bytes"
            raise Corrupt(f"{name} is cut short", where=where, expected=f"{size} bytes", found=found)
        self.__dict__.update(zip(self.FIELDS, self.LAYOUT.unpack_from(data, offset), strict=True))

    def pack(self, **changes: int | bytes) -> bytes:
        """The record's bytes with some fields changed; bytes that belong to no field are zero."""
        return self.LAYOUT.pack(*(changes.get(field, getattr(self, field)) for field in self.FIELDS))
