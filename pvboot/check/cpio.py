"""Names and small files of a cpio archive in the "new ASCII" format, read as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def members(stream: ByteStream, wanted: Callable[[str, int], bool], where: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield the names of one archive, take its trailer.  `wanted(name, size)` says whose data comes with the name.

    Raises `ArchiveError` for a bad header or an end in the middle, `StreamTooLongError`.
    """
    start = stream.position
    for _ in range(MEMBER_LIMIT):
        place = f"{where}, byte {stream.position}"
        header = stream.read(CPIO_HEADER.size)
        if len(header) < CPIO_HEADER.size:
            found = f"{len(header)} bytes"
            raise ArchiveError("the archive ends early", where=place, expected="a cpio header", found=found)
        magic, *digits = CPIO_HEADER.unpack(header)
        if magic not in MAGICS:
            raise ArchiveError("not a cpio header", where=place, expected="070701", found=magic.hex(" "))
        _mode, size, name_bytes = (_number(field, place) for field in digits)
        if not 1 <= name_bytes <= NAME_LIMIT_BYTES:
            limits = f"1 to {NAME_LIMIT_BYTES}"
            raise ArchiveError("impossible length of a name", where=place, expected=limits, found=str(name_bytes))
        name = stream.read(name_bytes).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        _align(stream, start)
        if name == TRAILER:
            return
        data = stream.read(size) if wanted(name, size) else None
        if len(data) < size if data is not None else not stream.skip(size):
            place = f"{where}, in {name[:200]!r}"
            raise ArchiveError("the archive ends early", where=place, expected=f"{size} bytes", found="its end")
        _align(stream, start)
        yield name, data
    raise StreamTooLongError


def _number(digits: bytes, where: str) -> int:
    if not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
        what = "a field of a cpio header is not a number"
        raise ArchiveError(what, where=where, expected="8 hexadecimal digits", found=repr(digits))
    return int(digits, 16)


def _align(stream: ByteStream, start: int) -> None:
    stream.skip(-(stream.position - start) % 4)
