"""The bytes of a served file, read from its extents into the places where they are sent from.

pread and not mmap: a scattered file would need a mapping a run, and a file that is cut while it is served would end
the whole process (SIGBUS).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from fsdrivers.api import Extent
from fsdrivers.errors import SourceError
from fsdrivers.extents import cut

# IOV_MAX is 1024; no caller hands over as many.
MAX_VIEWS = 256


class Sized(Protocol):
    """What is needed of a `ServedFile` to read it."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def extents(self) -> Sequence[Extent]:
        """The whole file."""


class FileReader:
    """Reads a served file anywhere; does not own it."""

    def __init__(self, file: Sized) -> None:
        """Raises `SourceError` if the extents do not add up to the file's size."""
        self.size = file.size
        self._extents: Sequence[Extent] = file.extents()
        ends = list(accumulate(extent.length for extent in self._extents))
        if (ends[-1] if ends else 0) != self.size:
            raise SourceError(
                "extents do not add up to the file",
                expected=f"{self.size} bytes",
                found=f"{ends[-1] if ends else 0} bytes",
            )
        self._ends = ends

    def read_into(self, offset: int, views: Sequence[memoryview], length: int) -> None:
        """Fill the views, `length` bytes together, from `offset`; the range lies inside the file.

        Raises `SourceError` if the bytes cannot be had (any more).
        """
        if not length:
            return
        index = bisect_right(self._ends, offset)
        extent = self._extents[index]
        start = self._ends[index] - extent.length
        if extent.fd is not None and offset + length <= self._ends[index]:
            try:
                done = os.preadv(extent.fd, views, extent.offset + offset - start)
            except OSError as err:
                raise SourceError(f"cannot read: {err.strerror}", where=f"byte {offset:#x}") from err
            if done == length:
                return
        # Across a border between runs, in a hole, in bytes of memory, or read short: piece by piece.
        self._scatter(self._gather(index, offset - start, length), views)

    def read_all(self) -> bytes:
        """The whole file; the caller has looked at `size` before."""
        return bytes(self._gather(0, 0, self.size)) if self.size else b""

    def _gather(self, index: int, skip: int, length: int) -> bytearray:
        gathered = bytearray()
        for piece in cut(self._extents[index : self._last(index, skip + length) + 1], skip, length):
            if piece.data is not None:
                gathered += piece.data
            elif piece.fd is None:
                gathered += bytes(piece.length)
            else:
                gathered += _pread(piece.fd, piece.length, piece.offset)
        return gathered

    def _last(self, index: int, reach: int) -> int:
        """The extent that ends `reach` bytes behind the start of extent `index`."""
        start = self._ends[index] - self._extents[index].length
        return bisect_right(self._ends, start + reach - 1)

    @staticmethod
    def _scatter(data: bytearray, views: Sequence[memoryview]) -> None:
        start = 0
        for view in views:
            view[:] = data[start : start + len(view)]
            start += len(view)


def _pread(fd: int, length: int, offset: int) -> bytes:
    """Exactly `length` bytes of a descriptor."""
    parts: list[bytes] = []
    while length:
        try:
            part = os.pread(fd, length, offset)
        except OSError as err:
            raise SourceError(f"cannot read: {err.strerror}", where=f"byte {offset:#x}") from err
        if not part:
            raise SourceError(
                "short read (was the image cut while being served?)",
                where=f"byte {offset:#x}",
                expected=f"{length} more bytes",
                found="the end",
            )
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)
