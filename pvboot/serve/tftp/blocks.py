"""A stretch of a file as the DATA packets that carry it, one behind the other in one buffer.

Header and bytes lie together, so a packet is sent by one plain `send`, and a whole window by one too where the kernel
cuts it (`udp.segment`).  One `preadv` fills many packets.
"""

from __future__ import annotations

from pvboot.serve.tftp._formats import HEADER
from pvboot.serve.tftp.packets import DATA, HEADER_BYTES
from pvboot.serve.tftp.source import MAX_VIEWS, FileReader

# As many blocks are read at once where they are small: reading is a small part of the cost from here on.
AHEAD_BLOCKS = 32


class Blocks:
    """The DATA packets of a file; block numbers are absolute (1, 2, ... without roll-over).

    Those from `first` up to `beyond` (exclusive) are at hand, each by itself in `singles`; `last` is the file's.
    """

    def __init__(self, reader: FileReader, blksize: int, windowsize: int, most_bytes: int) -> None:
        """`most_bytes` bounds the buffer, which holds a window at least."""
        self.last = reader.size // blksize + 1
        self._reader = reader
        self._blksize = blksize
        self._stride = blksize + HEADER_BYTES
        wanted = max(AHEAD_BLOCKS, 2 * windowsize)
        room = max(windowsize, min(wanted, most_bytes // self._stride), 1)
        self._count = min(room, self.last)
        self._whole = self._buffer = memoryview(b"")
        self._packets: list[memoryview] = []
        self._bodies: list[memoryview] = []
        self.first = self.beyond = 0
        self.singles: list[memoryview] = []

    def packets(self, first: int, last: int) -> memoryview:
        """DATA `first` to `last` (not more than a window) in a row; raises `SourceError`."""
        if first < self.first or last >= self.beyond:
            self._load(first)
        return self._buffer[(first - self.first) * self._stride : (last - self.first + 1) * self._stride]

    def _load(self, first: int) -> None:
        """Fill the buffer with the packets from `first`, the first one that can still be asked for."""
        if not self._bodies:
            # Only now: who never answers the OACK costs no buffer.
            self._whole = memoryview(bytearray(self._count * self._stride))
            starts = range(0, len(self._whole), self._stride)
            self._packets = [self._whole[start : start + self._stride] for start in starts]
            self._bodies = [slot[HEADER_BYTES:] for slot in self._packets]
        count = min(self._count, self.last - first + 1)
        offset = (first - 1) * self._blksize
        length = min(count * self._blksize, self._reader.size - offset)
        self.first = self.beyond = 0
        bodies, singles = self._bodies[:count], self._packets[:count]
        tail = length - (count - 1) * self._blksize
        if tail < self._blksize:
            bodies[-1], singles[-1] = bodies[-1][:tail], singles[-1][: tail + HEADER_BYTES]
        self._fill(offset, bodies, length)
        pack, stride = HEADER.pack_into, self._stride
        for slot in range(count):
            pack(self._whole, slot * stride, DATA, (first + slot) & 0xFFFF)
        self._buffer = self._whole[: length + count * HEADER_BYTES]
        self.first, self.beyond, self.singles = first, first + count, singles

    def _fill(self, offset: int, bodies: list[memoryview], length: int) -> None:
        while len(bodies) > MAX_VIEWS:
            done = MAX_VIEWS * self._blksize
            self._reader.read_into(offset, bodies[:MAX_VIEWS], done)
            bodies, offset, length = bodies[MAX_VIEWS:], offset + done, length - done
        self._reader.read_into(offset, bodies, length)
