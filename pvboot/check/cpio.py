"""Names and small files of a cpio archive in the "new ASCII" format, read as a stream."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pvboot.check._formats import CPIO_HEADER
from pvboot.errors import PvbootError
from pvboot.unpack import ByteStream, StreamTooLongError

MAGICS: Final = (b"070701", b"070702")
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

    Raises `ArchiveError` for a bad header or an end in the middle, `StreamTooLongError`.
    """
    start = stream.position
    for _ in range(MEMBER_LIMIT):
        at = stream.position
        header = stream.read(CPIO_HEADER.size)
        if len(header) < CPIO_HEADER.size:
            raise ArchiveError(
                "the archive ends early",
                where=f"{where}, byte {at}",
                expected="a cpio header",
                found=f"{len(header)} bytes",
            )
        magic, *digits = CPIO_HEADER.unpack(header)
        if magic not in MAGICS:
            raise ArchiveError("no cpio header", where=f"{where}, byte {at}", expected="070701", found=magic.hex(" "))
        mode, size, name_bytes = (_number(field, f"{where}, byte {at}") for field in digits)
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


def _number(digits: bytes, where: str) -> int:
    if not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
        raise ArchiveError(
            "a field of a cpio header is not a number", where=where, expected="8 hexadecimal digits", found=repr(digits)
        )
    return int(digits, 16)


def _align(stream: ByteStream, start: int) -> None:
    stream.skip(-(stream.position - start) % 4)
