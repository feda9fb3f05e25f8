"""A source with some of its blocks replaced: how a journal is replayed without writing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from fsdrivers.api import BlockSource, Extent
from fsdrivers.blocks import Source


class OverlaySource(Source):
    """`source`, but the blocks of `copies` are read from elsewhere in it.

    `copies` maps a block number to the byte offset of its copy; `patches` gives, for some of them, the bytes that
    stand in place of the first ones of the copy (escaped journal blocks).
    """

    def __init__(self, source: BlockSource, block_size: int, copies: dict[int, int], patches: dict[int, bytes]) -> None:
        super().__init__(source.name, source.size)
        self._source = source
        self._block_size = block_size
        self._copies = copies
        self._patches = patches
        self._blocks = sorted(copies)

    def _read(self, offset: int, size: int) -> bytes:
        pieces = list(self._pieces(offset, size))
        if len(pieces) == 1 and pieces[0][2] is None:
            return self._source.read_at(pieces[0][0], pieces[0][1])
        return b"".join(
            data if data is not None else self._source.read_at(start, length) for start, length, data in pieces
        )

    def _extents(self, offset: int, size: int) -> Iterator[Extent]:
        """Replaced blocks are runs of the same descriptor at the place of their copies."""
        for start, length, data in self._pieces(offset, size):
            if data is not None:
                yield Extent(length, data=data)
            else:
                yield from self._source.extents(start, length)

    def close(self) -> None:
        """Close the source below."""
        self._source.close()

    def _pieces(self, offset: int, size: int) -> Iterator[tuple[int, int, bytes | None]]:
        """(byte offset in the plain source, length, or the bytes themselves) adding up to the range."""
        end, block_size = offset + size, self._block_size
        i = bisect_left(self._blocks, offset // block_size)
        while offset < end:
            block = self._blocks[i] if i < len(self._blocks) else None
            start = end if block is None else min(end, block * block_size)
            if offset < start or block is None:
                yield offset, start - offset, None
                offset = start
                continue
            stop = min(end, (block + 1) * block_size)
            yield from self._replaced(block, offset - block * block_size, stop - offset)
            offset = stop
            i += 1

    def _replaced(self, block: int, skip: int, length: int) -> Iterator[tuple[int, int, bytes | None]]:
        patch = self._patches.get(block, b"")[skip : skip + length]
        if patch:
            yield 0, len(patch), patch
        if length > len(patch):
            yield self._copies[block] + skip + len(patch), length - len(patch), None
