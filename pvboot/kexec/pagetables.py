"""The page tables of the initial mappings: their number, their places and their contents.

Source of the rules: Xen's libxenguest (xg_dom_x86.c), restated; the numbers are compared with the real
library in the tests.  `level` counts from 1 (L1, leaf tables) to 4 (or 3 for PAE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvboot.errors import PlanError
from pvboot.xen.paging import ENTRIES, LEAF_PROT, PAGE_SIZE, PTE_RW, TABLE_PROT, level_shift, levels_of, va_mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FrameArray = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class LevelRange:
    """The tables of one level that a mapping owns: `count` frames from `pfn`, covering [start, end] (masked VAs)."""

    pfn: int
    start: int
    end: int
    count: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A run of virtual addresses [start, end] (masked, inclusive) onto frames from slot `pfn`, and its tables.

    `ranges[level - 1]` are its own tables; levels already covered by an earlier mapping have count 0.
    """

    start: int
    end: int
    pfn: int
    ranges: tuple[LevelRange, ...]

    @property
    def table_count(self) -> int:
        """Frames used for tables of this mapping."""
        return sum(level.count for level in self.ranges)

    @property
    def first_table_pfn(self) -> int:
        """PFN of the first (highest-level) table of this mapping."""
        return min(level.pfn for level in self.ranges)


def plan_mapping(
    width: int, start: int, end: int, pfn: int, first_table_pfn: int, earlier: tuple[Mapping, ...], nr_pages: int
) -> Mapping:
    """Size the tables for [start, end] (inclusive virtual addresses).

    Tables get consecutive PFNs from `first_table_pfn`, highest level first; what `earlier` mappings own at a level
    is not counted again.  Raises `PlanError` when the mapping has more pages than the domain.
    """
    top = levels_of(width)
    mask = va_mask(width)
    if pfn + ((end - start) // PAGE_SIZE) >= nr_pages:
        raise PlanError(
            "not enough memory for the initial mapping",
            expected=f"more than {pfn + (end - start) // PAGE_SIZE} pages",
            found=f"{nr_pages} pages",
        )
    low, high = start & mask, end & mask
    ranges: list[LevelRange] = []
    used = 0
    for level in range(top, 0, -1):
        table_pfn = first_table_pfn + used
        if level == top:
            owned = LevelRange(table_pfn, 0, mask, 1) if not earlier else LevelRange(table_pfn, 0, 0, 0)
        else:
            owned = _own_range(width, level, low, high, table_pfn, earlier)
        ranges.append(owned)
        used += owned.count
    return Mapping(low, high, pfn, tuple(reversed(ranges)))


def _own_range(width: int, level: int, low: int, high: int, table_pfn: int, earlier: tuple[Mapping, ...]) -> LevelRange:
    bits = level_shift(level + 1)
    span = (1 << bits) - 1
    start, end = low & ~span, high | span
    if width == 32 and level == 2 and not earlier and high < 0xC0000000:
        end = va_mask(32)  # PAE: the L2 of L3 slot 3 must exist, Xen puts its own entries there
    for mapping in earlier:
        other = mapping.ranges[level - 1]
        if other.start == other.end:
            continue
        if start >= other.start and end <= other.end:
            return LevelRange(table_pfn, 0, 0, 0)
        if other.start <= start <= other.end:
            start = other.end + 1
        if other.start <= end <= other.end:
            end = other.start - 1
    count = ((end - start) >> bits) + 1 if start < end else 0
    return LevelRange(table_pfn, start, end, count)


def fill_tables(width: int, mappings: tuple[Mapping, ...], p2m: FrameArray) -> list[FrameArray]:
    """The contents of all tables: one array of shape (table_count, 512), dtype uint64, a mapping.

    Row i of array m is the table at slot `mappings[m].first_table_pfn + i`.  `p2m[slot]` gives the MFN of a slot.
    Tables inside the first mapping are mapped read-only (0x21), everything else 0x23; upper levels 0x67.
    """
    import numpy as np

    arrays = [np.zeros((m.table_count, ENTRIES), dtype=np.uint64) for m in mappings]
    read_only = [(m.first_table_pfn, m.first_table_pfn + m.table_count) for m in mappings]
    for level in range(levels_of(width), 0, -1):
        shift = level_shift(level)
        for owner, array in zip(mappings, arrays, strict=True):
            own = owner.ranges[level - 1]
            if not own.count:
                continue
            row = own.pfn - owner.first_table_pfn
            flat = array[row : row + own.count].reshape(-1)
            for target in mappings:
                _fill_range(flat, own, target, level, shift, p2m, read_only)
    return arrays


def _fill_range(
    flat: FrameArray,
    own: LevelRange,
    target: Mapping,
    level: int,
    shift: int,
    p2m: FrameArray,
    read_only: list[tuple[int, int]],
) -> None:
    import numpy as np

    if level > 1:
        lower = target.ranges[level - 2]
        if not lower.count:
            return
        start, end, pfn = lower.start, lower.end, lower.pfn
    else:
        start, end, pfn = target.start, target.end, target.pfn
    if start >= own.end or end <= own.start:
        return
    first = (max(own.start, start) - own.start) >> shift
    last = (min(own.end, end) - own.start) >> shift
    pfn += (max(own.start, start) - start) >> shift
    count = last - first + 1
    prot = np.uint64(LEAF_PROT if level == 1 else TABLE_PROT)
    entries = flat[first : last + 1]
    np.left_shift(p2m[pfn : pfn + count], np.uint64(12), out=entries)
    entries |= prot
    if level == 1:
        for table_start, table_end in read_only:
            lo, hi = max(table_start, pfn), min(table_end, pfn + count)
            if lo < hi:
                entries[lo - pfn : hi - pfn] &= np.uint64(~PTE_RW & (1 << 64) - 1)
