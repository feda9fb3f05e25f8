"""Reading a served file from its extents into the buffers that it is sent from.

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
from pvboot.serve.extents import gathered

# IOV_MAX is 1024; no caller hands over as many.
MAX_VIEWS = 256


class Sized(Protocol):
    """The part of a `ServedFile` that reading needs."""

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
        # Across a border between runs, in a hole, in bytes of memory, or read short.
        reached = bisect_right(self._ends, offset + length - 1)
        data = b"".join(gathered(cut(self._extents[index : reached + 1], offset - start, length)))
        done = 0
        for view in views:
            view[:] = data[done : done + len(view)]
            done += len(view)

    def read_all(self) -> bytes:
        """Return the whole file; the caller has looked at `size` before."""
        return b"".join(gathered(self._extents))
