"""A stretch of a file as the DATA packets that carry it, one behind the other in one buffer.

Header and bytes lie together, so a packet is sent by one plain `send`, and a whole window by one too where the kernel
cuts it (`udp.segment`).  One `preadv` fills many packets.
"""

from __future__ import annotations

from pvboot.net.serve.tftp.packets import DATA, HEADER, HEADER_BYTES
from pvboot.net.serve.tftp.source import MAX_VIEWS, FileReader

# As many blocks are read at once where they are small: reading is a small part of the cost from here on.
AHEAD_BLOCKS = 32


class Blocks:
    """The DATA packets of a file; block numbers are absolute (1, 2, ... without roll-over)."""

    def __init__(self, reader: FileReader, blksize: int, windowsize: int, most_bytes: int) -> None:
        """`most_bytes` bounds the buffer, which holds a window at least."""
        self.last = reader.size // blksize + 1
        self._reader = reader
        self._blksize = blksize
        self._stride = blksize + HEADER_BYTES
        wanted = max(AHEAD_BLOCKS, 2 * windowsize)
        room = max(windowsize, min(wanted, most_bytes // self._stride), 1)
        self._slots = min(room, self.last)
        self._whole = self._buffer = memoryview(b"")
        self._bodies: list[memoryview] = []
        self._first = self._beyond = 0

    def packets(self, first: int, last: int) -> memoryview:
        """DATA `first` to `last` (not more than a window) in a row; raises `SourceError`."""
        if first < self._first or last >= self._beyond:
            self._load(first)
        return self._buffer[(first - self._first) * self._stride : (last - self._first + 1) * self._stride]

    def _load(self, first: int) -> None:
        """Fill the buffer with the packets from `first`, the first one that can still be asked for."""
        if not self._bodies:
            # Only now: who never answers the OACK costs no buffer.
            self._whole = memoryview(bytearray(self._slots * self._stride))
            self._bodies = [
                self._whole[slot * self._stride + HEADER_BYTES : (slot + 1) * self._stride]
                for slot in range(self._slots)
            ]
        count = min(self._slots, self.last - first + 1)
        offset = (first - 1) * self._blksize
        length = min(count * self._blksize, self._reader.size - offset)
        self._first = self._beyond = 0
        bodies = self._bodies[:count]
        bodies[-1] = bodies[-1][: length - (count - 1) * self._blksize]
        self._fill(offset, bodies, length)
        pack, stride = HEADER.pack_into, self._stride
        for slot in range(count):
            pack(self._whole, slot * stride, DATA, (first + slot) & 0xFFFF)
        self._buffer = self._whole[: length + count * HEADER_BYTES]
        self._first, self._beyond = first, first + count

    def _fill(self, offset: int, bodies: list[memoryview], length: int) -> None:
        for start in range(0, len(bodies), MAX_VIEWS):
            some = bodies[start : start + MAX_VIEWS]
            done = min(length, sum(map(len, some)))
            self._reader.read_into(offset, some, done)
            offset += done
            length -= done
