"""Runs of bytes: joining neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fsdrivers.api import Extent


def joined(pieces: Iterable[Extent]) -> Iterator[Extent]:
    """The same bytes with adjacent runs of one descriptor, and adjacent holes, made one; empty ones dropped."""
    last: Extent | None = None
    for piece in pieces:
        if not piece.length:
            continue
        if last is not None and last.data is None and piece.data is None and last.fd == piece.fd and (
                last.fd is None or last.offset + last.length == piece.offset):
            last = Extent(last.length + piece.length, fd=last.fd, offset=last.offset)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last
