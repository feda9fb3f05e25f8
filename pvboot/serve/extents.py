"""The bytes that extents stand for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from fsdrivers.api import Extent
from fsdrivers.errors import SourceError

GATHER_BYTES: Final = 128 << 10
_ZEROS: Final = bytes(GATHER_BYTES)


def gathered(extents: Iterable[Extent]) -> Iterator[bytes]:
    """Yield the bytes of extents in pieces of about `GATHER_BYTES`.  Raises `SourceError`."""
    waiting: list[bytes] = []
    size = 0
    for extent in extents:
        for data in _contents(extent):
            waiting.append(data)
            size += len(data)
            if size >= GATHER_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    if size:
        yield b"".join(waiting)


def _contents(extent: Extent) -> Iterator[bytes]:
    done = 0
    while done < extent.length:
        count = min(extent.length - done, GATHER_BYTES)
        if extent.fd is not None:
            data = _pread(extent.fd, count, extent.offset + done)
        elif extent.data is not None:
            data = extent.data[done : done + count]
        else:
            data = _ZEROS[:count]
        yield data
        done += len(data)


def _pread(fd: int, count: int, offset: int) -> bytes:
    try:
        data = os.pread(fd, count, offset)
    except OSError as err:
        raise SourceError(f"cannot read: {err.strerror}", where=f"byte {offset:#x}") from err
    if not data:
        raise short_file(offset)
    return data


def short_file(offset: int) -> SourceError:
    """Return the error for a file that ends at `offset`, before its extents do."""
    return SourceError("short read (was the image cut while being served?)", where=f"byte {offset:#x}")
