"""The console ring (Xen: public/io/console.h): guest output to a callback, typed input to the guest."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pvboot.machine.memory import Memory
from pvboot.machine.rings import Ring
from pvboot.xen._formats import ConsoleRing

INPUT_BYTES = ConsoleRing.out
OUTPUT_BYTES = ConsoleRing.in_cons - ConsoleRing.out
INPUT_QUEUE_MAX = 1 << 20


class Console:
    """Back end of one console ring.  The guest's indexes are never trusted: an impossible one is stepped over.

    `feed` and `push` may come from another thread, like the writes of a real console daemon.
    """

    def __init__(self, memory: Memory, sink: Callable[[bytes], None], notify: Callable[[], None]) -> None:
        self._memory = memory
        self._sink = sink
        self._notify = notify
        self._input: Ring | None = None
        self._output: Ring | None = None
        self._queue = bytearray()
        self._lock = threading.Lock()
        self._notify_due = False
        self.bad_indexes = 0

    def attach(self, mfn: int) -> None:
        """Serve the ring in this frame."""
        page = self._memory.page(mfn)
        self._input = Ring(page, 0, INPUT_BYTES, ConsoleRing.in_cons)
        self._output = Ring(page, ConsoleRing.out, OUTPUT_BYTES, ConsoleRing.out_cons)

    def feed(self, data: bytes) -> None:
        """Queue input for the guest (any thread); what exceeds a megabyte is dropped."""
        with self._lock:
            self._queue += data[: max(INPUT_QUEUE_MAX - len(self._queue), 0)]

    @property
    def has_input(self) -> bool:
        """Whether typed input could move into the ring, or a notification is due for some that is in it."""
        room = self._input is None or self._input.used < INPUT_BYTES
        return self._notify_due or (room and bool(self._queue))

    def push(self) -> None:
        """Put typed input into the ring without notifying: for a guest that polls the ring and does nothing else."""
        with self._lock:
            self._notify_due = self._give_input() or self._notify_due

    def serve(self) -> None:
        """Move bytes both ways, and notify the guest if anything moved."""
        if self._output is None:
            return
        with self._lock:
            moved = self._give_input() or self._notify_due
            self._notify_due = False
        if self._output.used:
            moved = True
            self.bad_indexes += self._output.used > OUTPUT_BYTES
            data = self._output.take()
            if data:
                self._sink(data)
        if moved:
            self._notify()

    def _give_input(self) -> bool:
        if self._input is None or not self._queue:
            return False
        self.bad_indexes += self._input.used > INPUT_BYTES
        count = self._input.put(self._queue)
        del self._queue[:count]
        return count > 0
