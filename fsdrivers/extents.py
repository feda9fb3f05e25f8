"""Runs of bytes: joining neighbours, cutting a part out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fsdrivers.api import Extent


def cut(pieces: Iterable[Extent], offset: int, size: int) -> Iterator[Extent]:
    """The `size` bytes from `offset` of the bytes that all pieces make up."""
    end, start = offset + size, 0
    for piece in pieces:
        if start >= end:
            return
        first, last = max(0, offset - start), min(piece.length, end - start)
        start += piece.length
        if first < last:
            data = None if piece.data is None else piece.data[first:last]
            skipped = first if piece.fd is not None else 0
            yield Extent(last - first, piece.fd, piece.offset + skipped, data)


def joined(pieces: Iterable[Extent]) -> Iterator[Extent]:
    """The same bytes with adjacent runs of one descriptor, and adjacent holes, made one; empty ones dropped."""
    last: Extent | None = None
    for piece in pieces:
        if not piece.length:
            continue
        if (
            last is not None
            and last.data is None
            and piece.data is None
            and last.fd == piece.fd
            and (last.fd is None or last.offset + last.length == piece.offset)
        ):
            last = Extent(last.length + piece.length, fd=last.fd, offset=last.offset)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last
