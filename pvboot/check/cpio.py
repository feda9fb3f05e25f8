"""Names and small files of a cpio archive in the "new ASCII" format, read as a stream.

`structs.py` is the readable truth about the header; here are the places of the four fields that a reader needs.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pvboot.errors import PvbootError
from pvboot.unpack import ByteStream, StreamTooLongError

MAGICS: Final = (b"070701", b"070702")
HEADER_BYTES: Final = 110
MODE_AT, FILE_SIZE_AT, NAME_SIZE_AT = 14, 54, 94
FIELD_BYTES: Final = 8
NAME_LIMIT_BYTES: Final = 4096  # PATH_MAX, which also Linux allows
MEMBER_LIMIT: Final = 200_000
TRAILER: Final = "TRAILER!!!"


class ArchiveError(PvbootError):
    """The archive, or what it is packed in, is damaged or cut."""

    code = "bad-archive"


@dataclass(frozen=True, slots=True)
class Member:
    """One name; `data` is kept only where it was wanted."""

    name: str
    mode: int
    size: int
    data: bytes | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


def members(stream: ByteStream, wanted: Callable[[str, int], bool], where: str) -> Iterator[Member]:
    """The members of one archive, its trailer taken.  `wanted(name, size)` says whose data is kept.

    Raises `ArchiveError` for a header that is none or an end in the middle, `StreamTooLongError`.
    """
    start = stream.position
    for _ in range(MEMBER_LIMIT):
        at = stream.position
        header = stream.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise ArchiveError(
                "the archive ends early",
                where=f"{where}, byte {at}",
                expected="a cpio header",
                found=f"{len(header)} bytes",
            )
        if header[:6] not in MAGICS:
            raise ArchiveError(
                "no cpio header", where=f"{where}, byte {at}", expected="070701", found=header[:6].hex(" ")
            )
        mode, size, name_bytes = (
            _number(header, offset, f"{where}, byte {at}") for offset in (MODE_AT, FILE_SIZE_AT, NAME_SIZE_AT)
        )
        if not 1 <= name_bytes <= NAME_LIMIT_BYTES:
            raise ArchiveError(
                "impossible length of a name",
                where=f"{where}, byte {at}",
                expected=f"1 to {NAME_LIMIT_BYTES}",
                found=str(name_bytes),
            )
        name = stream.read(name_bytes).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        _align(stream, start)
        if name == TRAILER:
            return
        data = stream.read(size) if wanted(name, size) else None
        short = len(data) < size if data is not None else not stream.skip(size)
        if short:
            raise ArchiveError(
                "the archive ends early", where=f"{where}, in {name[:200]!r}", expected=f"{size} bytes", found="its end"
            )
        _align(stream, start)
        yield Member(name, mode, size, data)
    raise StreamTooLongError


def _number(header: bytes, offset: int, where: str) -> int:
    digits = header[offset : offset + FIELD_BYTES]
    if not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
        raise ArchiveError(
            "a field of a cpio header is no number", where=where, expected="8 hexadecimal digits", found=repr(digits)
        )
    return int(digits, 16)


def _align(stream: ByteStream, start: int) -> None:
    stream.skip(-(stream.position - start) % 4)
