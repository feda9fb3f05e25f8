"""A file of a file system as the source of another one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.api import Extent
from fsdrivers.blocks import LoopSource
from fsdrivers.errors import SourceError

DISK = bytes(range(256)) * 4
FD = 7  # only named, never read

RUNS = st.one_of(
    st.builds(lambda offset, length: Extent(length, fd=FD, offset=offset), st.integers(0, 500), st.integers(1, 500)),
    st.builds(Extent, st.integers(1, 500)),
    st.binary(min_size=1, max_size=50).map(lambda data: Extent(len(data), data=data)),
)


def _bytes(extent: Extent) -> bytes:
    if extent.data is not None:
        return extent.data
    return DISK[extent.offset : extent.offset + extent.length] if extent.fd == FD else bytes(extent.length)


class _File:
    """A file made of runs; `missing` bytes at its end cannot be read."""

    path = "/file"

    def __init__(self, runs: list[Extent], missing: int = 0) -> None:
        self._runs = runs
        self._data = b"".join(map(_bytes, runs))
        self._end = len(self._data) - missing
        self.size = len(self._data)

    def read_at(self, offset: int, size: int) -> bytes:
        return self._data[offset : min(self._end, offset + size)]

    def extents(self) -> Iterator[Extent]:
        return iter(self._runs)


@given(runs=st.lists(RUNS, max_size=6), data=st.data())
def test_any_part_reads_alike_by_bytes_and_by_extents(runs: list[Extent], data: st.DataObject) -> None:
    source = LoopSource(_File(runs), "(hd0)/file")
    offset = data.draw(st.integers(0, source.size))
    size = data.draw(st.integers(0, source.size - offset))
    pieces = list(source.extents(offset, size))
    assert all(len(_bytes(piece)) == piece.length > 0 for piece in pieces)
    assert b"".join(map(_bytes, pieces)) == source.read_at(offset, size)


@pytest.mark.parametrize(("offset", "size"), [(0, 11), (10, 1), (-1, 1), (11, 0), (0, -1)])
def test_nothing_outside_is_read(offset: int, size: int) -> None:
    source = LoopSource(_File([Extent(10)]), "(hd0)/file")
    for read in (source.read_at, source.extents):
        with pytest.raises(SourceError):
            read(offset, size)


def test_a_short_read_is_an_error() -> None:
    with pytest.raises(SourceError, match="short read"):
        LoopSource(_File([Extent(10)], missing=1), "(hd0)/file").read_at(0, 10)
