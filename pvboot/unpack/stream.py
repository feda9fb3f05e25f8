"""Bytes that come in pieces, taken as they are needed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

PIECE_BYTES = 256 << 10


class StreamTooLongError(Exception):
    """More bytes than anybody wants to look at; what was seen so far still counts."""


class ByteStream:
    """`position` counts the bytes taken, `limit` bounds them."""

    def __init__(self, pieces: Iterable[bytes], limit: int = sys.maxsize) -> None:
        self._pieces = iter(pieces)
        self._held = b""
        self._at = 0
        self.position = 0
        self.limit = limit

    @classmethod
    def of(cls, data: bytes | memoryview) -> ByteStream:
        """A stream of bytes in memory."""
        return cls(bytes(data[at : at + PIECE_BYTES]) for at in range(0, len(data), PIECE_BYTES))

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end; they stay."""
        there = len(self._held) - self._at
        if there < size:
            pieces = [self._held[self._at :]]
            while there < size and (piece := next(self._pieces, None)) is not None:
                pieces.append(piece)
                there += len(piece)
            self._held, self._at = b"".join(pieces), 0
        return self._held[self._at : self._at + size]

    def read(self, size: int) -> bytes:
        """Take up to `size` bytes.  Raises `StreamTooLongError` beyond the limit."""
        found = self.peek(size)
        self._take(len(found))
        return found

    def piece(self) -> bytes:
        """Take whatever is at hand, b"" at the end."""
        if self._at == len(self._held):
            self._held, self._at = next(self._pieces, b""), 0
        found = self._held[self._at :]
        self._take(len(found))
        return found

    def give_back(self, data: bytes) -> None:
        """Put bytes in front that were taken last."""
        self._held = data + self._held[self._at :]
        self._at = 0
        self.position -= len(data)

    def skip(self, size: int) -> bool:
        """Pass over `size` bytes; False if there were fewer."""
        while size:
            if self._at == len(self._held) and not self.peek(1):
                return False
            step = min(size, len(self._held) - self._at)
            self._take(step)
            size -= step
        return True

    def __iter__(self) -> Iterator[bytes]:
        """The pieces that are left."""
        return iter(self.piece, b"")

    def _take(self, size: int) -> None:
        self._at += size
        self.position += size
        if self.position > self.limit:
            raise StreamTooLongError
