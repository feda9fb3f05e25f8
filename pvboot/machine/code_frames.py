"""Frames whose code the CPU may have translated.

The engine notices stores to code that it has translated only where they are made through an executable mapping.  Linux
writes code through others: a compiler at run time before it makes its pages executable, a module loader into fresh
memory, the kernel's own patching through a second, temporary mapping.  Hence a frame's translations are dropped

- when a frame that was executable before becomes executable again with other contents,
- when a writable, not executable mapping of such a frame goes and its contents have changed,
- when the machine itself writes to such a frame.

Stores through a writable alias that stays, to code that stays executable, are not seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pvboot.machine.memory import Memory
from pvboot.xen.paging import PAGE_SIZE

NEVER, UNKNOWN = 0, 1
ALL_AT_ONCE = 256  # frames from which dropping all translations is cheaper than dropping them one by one


class CodeFrames:
    """For every frame: never executable, contents unknown, or a hash of the contents that were last executable."""

    def __init__(
        self,
        memory: Memory,
        drop: Callable[[int], None] = lambda mfn: None,
        drop_all: Callable[[], None] = lambda: None,
    ) -> None:
        self._mm = memory.mm
        self._seen: npt.NDArray[np.uint64] = np.zeros(memory.total, dtype=np.uint64)
        self.seen = self._seen.data  # 0 for frames that were never executable
        self._drop = drop
        self._drop_all = drop_all
        self.dropped = 0

    def executable(self, mfn: int) -> None:
        """A mapping makes this frame executable."""
        if self.seen[mfn]:
            self.check(mfn)
        else:
            self.seen[mfn] = UNKNOWN

    def all_executable(self, mfns: npt.NDArray[np.int64]) -> None:
        """Mappings make these frames executable."""
        again = np.unique(mfns[self._seen[mfns] != NEVER])
        self._seen[mfns] |= np.uint64(UNKNOWN)
        if len(again) <= ALL_AT_ONCE:
            for mfn in again.tolist():
                self.check(mfn)
        else:
            self._drop_all()
            self._seen[again] = UNKNOWN

    def check(self, mfn: int) -> None:
        """Drop the translations of a frame that was executable if its contents have changed."""
        start = mfn * PAGE_SIZE
        contents = hash(self._mm[start : start + PAGE_SIZE]) & 0xFFFF_FFFF_FFFF_FFFF | UNKNOWN
        if self.seen[mfn] != contents:
            self.seen[mfn] = contents
            self.dropped += 1
            self._drop(mfn)

    def written(self, mfn: int) -> None:
        """The machine has written to this frame."""
        if self.seen[mfn]:
            self.seen[mfn] = UNKNOWN
            self.dropped += 1
            self._drop(mfn)
