"""The places where a kernel spins: addresses of its `pause` instructions, at which it can be preempted.

The machine knows no kernel files.  It looks through what is mapped executable when the guest starts, and again when
the guest first switches to other tables, which is when a loader hands over to its kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pvboot.machine.entries import frames_of
from pvboot.machine.memory import Memory
from pvboot.xen.paging import ENTRIES, PTE_NX, PTE_PRESENT, canonical, is_guest_address, level_shift, levels_of

PAUSE = b"\xf3\x90"
SITES_MAX = 4000
SEARCHED_BYTES_MAX = 512 << 20


class PauseSearch:
    """Finds `pause` instructions (and, rarely, data that look like one) in executable memory, each address once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._searched: set[int] = set()  # start addresses of the L1 tables' windows seen so far
        self._bytes_left = SEARCHED_BYTES_MAX
        self._sites_left = SITES_MAX

    def sites(self, root: int) -> list[int]:
        """Addresses found below a top table in windows that were not searched before."""
        found: list[int] = []
        for va, table in l1_tables(self._memory, root):
            if va in self._searched or self._bytes_left <= 0:
                continue
            self._searched.add(va)
            for start, code in _executable_runs(self._memory, va, table):
                self._bytes_left -= len(code)
                found += self._pauses(start, code)
        return found

    def _pauses(self, start: int, code: bytes) -> Iterator[int]:
        at = code.find(PAUSE)
        while at >= 0 and self._sites_left:
            self._sites_left -= 1
            yield start + at
            at = code.find(PAUSE, at + len(PAUSE))


def _executable_runs(memory: Memory, va: int, table: int) -> Iterator[tuple[int, bytes]]:
    """Executable mappings of an L1 table, in runs of consecutive addresses and frames."""
    entries = memory.frames[table]
    usable = np.flatnonzero((entries & np.uint64(PTE_PRESENT | PTE_NX)) == PTE_PRESENT)
    mfns = frames_of(entries[usable])
    breaks = np.flatnonzero((np.diff(usable) != 1) | (np.diff(mfns) != 1)) + 1
    for run in np.split(np.arange(len(usable)), breaks):
        if len(run) and int(mfns[run[-1]]) < memory.total:
            yield va + (int(usable[run[0]]) << 12), memory.read(int(mfns[run[0]]), 0, len(run) << 12)


def l1_tables(memory: Memory, root: int) -> Iterator[tuple[int, int]]:
    """First virtual address and frame of every L1 table in the guest's part of the address space."""
    yield from _tables_below(memory, root, levels_of(memory.width), 0)


def _tables_below(memory: Memory, table: int, level: int, va: int) -> Iterator[tuple[int, int]]:
    if level == 1:
        yield va, table
        return
    entries = memory.frames[table, : 4 if memory.width == 32 and level == 3 else ENTRIES]
    present = np.flatnonzero(entries & np.uint64(PTE_PRESENT))
    for index, target in zip(present, frames_of(entries[present]), strict=True):
        start = canonical(memory.width, va | int(index) << level_shift(level))
        # A table that contains itself would lead back up.
        if is_guest_address(memory.width, start) and target < memory.total and target != table:
            yield from _tables_below(memory, int(target), level - 1, start)
