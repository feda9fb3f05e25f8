"""Open files whose bytes lie in runs of a volume."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from fsdrivers.api import BlockSource, Extent
from fsdrivers.extents import joined
from fsdrivers.light import NamedTuple


class Run(NamedTuple):
    """`blocks` consecutive blocks: `file_block` onwards of the file are `disk_block` onwards of the volume."""

    file_block: int
    disk_block: int
    blocks: int


class RunFile:
    """A file whose blocks lie in runs, ascending by file block; what no run covers reads as zeros."""

    __slots__ = ("_block_size", "_runs", "_source", "path", "size")

    def __init__(self, source: BlockSource, path: str, size: int, block_size: int, runs: list[Run]) -> None:
        self._source = source
        self._block_size = block_size
        self._runs = runs
        self.path = path
        self.size = size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, one read of the source a run; holes are zeros."""
        end = min(self.size, offset + size)
        if offset < 0 or offset >= end:
            return b""
        block_size, read = self._block_size, self._source.read_at
        pieces: list[bytes] = []
        position = offset
        first = max(0, bisect_right(self._runs, offset // block_size, key=_file_block) - 1)
        for i in range(first, len(self._runs)):
            file_block, disk_block, count = self._runs[i]
            start, stop = file_block * block_size, min(end, (file_block + count) * block_size)
            if start >= end:
                break
            if stop <= position:
                continue
            if start > position:
                pieces.append(bytes(start - position))
                position = start
            pieces.append(read(disk_block * block_size + position - start, stop - position))
            position = stop
        if position < end:
            pieces.append(bytes(end - position))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def extents(self) -> Iterator[Extent]:
        """The whole file as runs of the descriptor behind the source, holes between them."""
        return joined(self._pieces())

    def _pieces(self) -> Iterator[Extent]:
        block_size, position = self._block_size, 0
        for file_block, disk_block, count in self._runs:
            start, stop = file_block * block_size, min(self.size, (file_block + count) * block_size)
            if start > position:
                yield Extent(start - position)
            yield from self._source.extents(disk_block * block_size, stop - start)
            position = stop
        if position < self.size:
            yield Extent(self.size - position)


def _file_block(run: Run) -> int:
    return run.file_block
