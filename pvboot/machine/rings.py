"""One direction of a ring in a shared page: bytes, and two indexes that run on freely and are taken modulo its size."""

from __future__ import annotations

from pvboot.xen._formats import RING_INDEXES


class Ring:
    """`size` bytes at offset `data` of a page whose indexes lie at offset `indexes`.

    The other side's index is never trusted: `used` above `size` is impossible, and nothing is then moved.
    """

    def __init__(self, page: memoryview, data: int, size: int, indexes: int) -> None:
        self._page = page
        self._bytes = page[data : data + size]
        self._at = indexes
        self.size = size

    @property
    def indexes(self) -> tuple[int, int]:
        """The consumer's and the producer's index."""
        consumed, produced = RING_INDEXES.unpack_from(self._page, self._at)
        return consumed, produced

    @property
    def used(self) -> int:
        """Bytes produced and not consumed, as the indexes have it."""
        consumed, produced = self.indexes
        return (produced - consumed) & 0xFFFFFFFF

    def take(self) -> bytes:
        """Consume all there is; impossible indexes are stepped over."""
        consumed, produced = self.indexes
        count = (produced - consumed) & 0xFFFFFFFF
        count = count if count <= self.size else 0
        first = consumed % self.size
        head = bytes(self._bytes[first : first + count])
        self._page[self._at : self._at + 4] = produced.to_bytes(4, "little")
        return head + bytes(self._bytes[: count - len(head)])

    def put(self, data: bytes | bytearray) -> int:
        """Produce as much of the data as fits; how many bytes those are."""
        _, produced = self.indexes
        data = bytes(data[: max(self.size - self.used, 0)])
        first = produced % self.size
        head = data[: self.size - first]
        self._bytes[first : first + len(head)] = head
        self._bytes[: len(data) - len(head)] = data[len(head) :]
        produced = (produced + len(data)) & 0xFFFFFFFF
        self._page[self._at + 4 : self._at + 8] = produced.to_bytes(4, "little")
        return len(data)
