"""A walk over finished page tables: what an address space maps, found the way the processor finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvboot.xen.paging import ENTRIES, PTE_FRAME, PTE_PRESENT, level_shift, levels_of


def walk_leaves(
    width: int, root_pfn: int, table_at: Callable[[int], Any], slot_of: Callable[[int], int]
) -> list[tuple[int, int, int]]:
    """Every leaf of an address space as (va, slot, flags), by walking the tables; canonical addresses, ascending.

    `table_at(slot)` gives a table's 512 entries, `slot_of(mfn)` the slot of a frame.
    """
    leaves: list[tuple[int, int, int]] = []
    top = levels_of(width)

    def descend(slot: int, level: int, base: int) -> None:
        entries = table_at(slot)
        for index in range(4 if width == 32 and level == 3 else ENTRIES):
            entry = int(entries[index])
            if not entry & PTE_PRESENT:
                continue
            va = base | index << level_shift(level)
            if level == 4 and index >= 256:
                va |= 0xFFFF << 48
            child = slot_of((entry & PTE_FRAME) >> 12)
            if level > 1:
                descend(child, level - 1, va)
            else:
                leaves.append((va, child, entry & 0x8000000000000FFF))

    descend(root_pfn, top, 0)
    return leaves
