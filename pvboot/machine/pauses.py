"""Where a kernel spins: the addresses of its `pause` instructions, at which it can be preempted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pvboot.machine.abi import HYPERVISOR_END64, HYPERVISOR_START64, M2P_VA32, PTE_ADDRESS, PTE_NX, PTE_PRESENT
from pvboot.machine.memory import Memory

PAUSE = b"\xf3\x90"
SITES_MAX = 4000
CANONICAL_HIGH = 0xFFFF_0000_0000_0000


def pause_sites(ranges: Iterable[tuple[int, bytes]]) -> list[int]:
    """Addresses of `pause` in pieces of code (also what only looks like one), at most SITES_MAX."""
    sites: list[int] = []
    for va, code in ranges:
        at = code.find(PAUSE)
        while at >= 0 and len(sites) < SITES_MAX:
            sites.append(va + at)
            at = code.find(PAUSE, at + 2)
    return sites


def executable_memory(memory: Memory, root: int) -> Iterator[tuple[int, bytes]]:
    """What is mapped executable below a top table, in runs of consecutive addresses and frames."""
    wide = memory.width == 64
    for va, table in _l1_tables(memory, root, 4 if wide else 3, 0):
        entries = memory.frames[table]
        usable = np.flatnonzero((entries & np.uint64(PTE_PRESENT | PTE_NX)) == PTE_PRESENT)
        if not len(usable):
            continue
        mfns = ((entries[usable] & np.uint64(PTE_ADDRESS)) >> np.uint64(12)).astype(np.int64)
        breaks = np.flatnonzero((np.diff(usable) != 1) | (np.diff(mfns) != 1)) + 1
        for run in np.split(np.arange(len(usable)), breaks):
            first = int(mfns[run[0]])
            if first + len(run) <= memory.total:
                yield va + (int(usable[run[0]]) << 12), memory.read(first, 0, len(run) << 12)


def _l1_tables(memory: Memory, table: int, level: int, va: int) -> Iterator[tuple[int, int]]:
    if level == 1:
        yield va, table
        return
    top = level == 4 or (level == 3 and memory.width == 32)
    entries = memory.frames[table, : 4 if level == 3 and memory.width == 32 else 512]
    for index in np.flatnonzero(entries & np.uint64(PTE_PRESENT)):
        start = va | int(index) << (3 + 9 * level)
        if top and start >> 47 & 1 and memory.width == 64:
            start |= CANONICAL_HIGH
        if HYPERVISOR_START64 <= start < HYPERVISOR_END64 or (memory.width == 32 and start >= M2P_VA32):
            continue
        target = (int(entries[index]) & PTE_ADDRESS) >> 12
        if target < memory.total:
            yield from _l1_tables(memory, target, level - 1, start)
