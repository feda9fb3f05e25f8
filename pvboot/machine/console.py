"""The console ring (Xen: public/io/console.h): guest output to a callback, typed input to the guest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from struct import Struct

from pvboot.machine.memory import Memory
from pvboot.xen.paging import PAGE_SIZE

INPUT_BYTES = 1024
OUTPUT_OFFSET = 1024
OUTPUT_BYTES = 2048
INDEXES_OFFSET = 3072
INDEXES = Struct("<IIII")  # in_cons, in_prod, out_cons, out_prod
INDEX = Struct("<I")
INPUT_QUEUE_MAX = 1 << 20


def ring_bytes(page: memoryview, offset: int, size: int, start: int, count: int) -> bytes:
    """`count` bytes of a ring of `size` bytes at `offset`, from a free-running index on."""
    first = start % size
    head = bytes(page[offset + first : offset + min(first + count, size)])
    return head + bytes(page[offset : offset + count - len(head)])


def ring_store(page: memoryview, offset: int, size: int, start: int, data: bytes) -> None:
    """Put bytes into a ring from a free-running index on; the caller knows that they fit."""
    first = start % size
    head = data[: size - first]
    page[offset + first : offset + first + len(head)] = head
    page[offset : offset + len(data) - len(head)] = data[len(head) :]


class Console:
    """Back end of one console ring.  The guest's indexes are never trusted: an impossible one is stepped over.

    `feed` and `push` may come from another thread, like the writes of a real console daemon.
    """

    def __init__(self, memory: Memory, sink: Callable[[bytes], None], notify: Callable[[], None]) -> None:
        self._memory = memory
        self._sink = sink
        self._notify = notify
        self._page: memoryview | None = None
        self._queue = bytearray()
        self._lock = threading.Lock()
        self._notify_due = False
        self.bad_indexes = 0

    def attach(self, mfn: int) -> None:
        """Serve the ring in this frame."""
        self._page = self._memory.page(mfn)
        assert len(self._page) == PAGE_SIZE

    def feed(self, data: bytes) -> None:
        """Queue input for the guest (any thread); what exceeds a megabyte is dropped."""
        with self._lock:
            self._queue += data[: max(INPUT_QUEUE_MAX - len(self._queue), 0)]

    @property
    def has_input(self) -> bool:
        """Whether typed input waits for the guest, or its guest has to be told of some."""
        return bool(self._queue) or self._notify_due

    def push(self) -> None:
        """Put typed input into the ring without notifying: for a guest that polls the ring and does nothing else."""
        with self._lock:
            if self._page is not None and self._queue and self._give_input():
                self._notify_due = True

    def serve(self) -> None:
        """Move bytes both ways, and notify the guest if anything moved."""
        if self._page is None:
            return
        with self._lock:
            moved = self._notify_due
            self._notify_due = False
            if self._queue:
                moved = self._give_input() or moved
        moved = self._take_output() or moved
        if moved:
            self._notify()

    def _take_output(self) -> bool:
        assert self._page is not None
        _, _, consumed, produced = INDEXES.unpack_from(self._page, INDEXES_OFFSET)
        count = (produced - consumed) & 0xFFFFFFFF
        if not count:
            return False
        data = b""
        if count > OUTPUT_BYTES:
            self.bad_indexes += 1
        else:
            data = ring_bytes(self._page, OUTPUT_OFFSET, OUTPUT_BYTES, consumed, count)
        INDEX.pack_into(self._page, INDEXES_OFFSET + 8, produced)
        if data:
            self._sink(data)
        return True

    def _give_input(self) -> bool:
        assert self._page is not None
        consumed, produced, _, _ = INDEXES.unpack_from(self._page, INDEXES_OFFSET)
        used = (produced - consumed) & 0xFFFFFFFF
        if used > INPUT_BYTES:
            self.bad_indexes += 1
            return False
        data = bytes(self._queue[: INPUT_BYTES - used])
        if not data:
            return False
        del self._queue[: len(data)]
        ring_store(self._page, 0, INPUT_BYTES, produced, data)
        INDEX.pack_into(self._page, INDEXES_OFFSET + 4, (produced + len(data)) & 0xFFFFFFFF)
        return True
