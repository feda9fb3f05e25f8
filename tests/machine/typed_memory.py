"""Small hand-made page tables for tests of frame typing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pvboot.machine import tables
from pvboot.machine.memory import Memory
from pvboot.machine.tables import FrameTable
from pvboot.xen.paging import PTE_FRAME, PTE_PRESENT, PTE_RW

READ_ONLY = 0x21
WRITABLE = 0x23
LINK = 0x67


@dataclass
class TypedMemory:
    """A typed memory with frames numbered from 0 for convenience, and one complete set of tables.

    Frames 0 ... 3: L4, L3, L2, L1 (PAE: 0 unused, 1 L3, 2 L2, 3 L1, 4 the L2 of slot 3).  The L1 maps frames 5 ... 9
    writable.
    """

    width: int
    nr_pages: int = 40
    strict: bool = True
    explicit: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = Memory(self.width, self.nr_pages)
        self.frames = FrameTable(self.memory, strict=self.strict)
        slots = 16 if self.width == 64 else 84
        self.frames.xen_slots = np.full(slots, 0x1067, dtype=np.uint64)
        self.base = self.memory.guest_base
        if self.width == 64:
            self.put(0, 1, self.entry(1, LINK))
            self.put(1, 2, self.entry(2, LINK))
        else:
            self.put(1, 0, self.entry(2, PTE_PRESENT))
            self.put(1, 3, self.entry(4, PTE_PRESENT))
        self.put(2, 5, self.entry(3, LINK))
        for number in range(5, 10):
            self.put(3, number, self.entry(number, WRITABLE))

    @property
    def top(self) -> int:
        """Number of the top table."""
        return 0 if self.width == 64 else 1

    @property
    def top_level(self) -> int:
        return 4 if self.width == 64 else 3

    def mfn(self, number: int) -> int:
        return self.base + number

    def entry(self, number: int, flags: int) -> int:
        return self.mfn(number) << 12 | flags

    def put(self, table: int, index: int, entry: int) -> None:
        """A plain store, as to memory that is not a table yet."""
        self.memory.words[self.mfn(table) * 512 + index] = entry

    def get(self, table: int, index: int) -> int:
        return self.memory.words[self.mfn(table) * 512 + index]

    def pin(self, number: int, level: int) -> int:
        return self.frames.pin(self.mfn(number), level)

    def unpin(self, number: int) -> int:
        return self.frames.unpin(self.mfn(number))

    def update(self, table: int, index: int, entry: int, **options: bool) -> int:
        return self.frames.update_entry((self.mfn(table) << 12) + 8 * index, entry, **options)

    def kind(self, number: int) -> int:
        return int(self.frames.kind[self.mfn(number)])

    def count(self, number: int) -> int:
        return int(self.frames.count[self.mfn(number)])

    def pin_all(self) -> None:
        assert self.pin(self.top, self.top_level) == 0


def recount(typed: TypedMemory) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """Types, type counts and references as they follow from the pinned tables alone, computed the slow way."""
    memory, wide = typed.memory, typed.width == 64
    kinds: dict[int, int] = {}
    counts: dict[int, int] = {}
    references: dict[int, int] = {}

    def guest_slots(kind: int) -> range | list[int]:
        if kind == tables.L4:
            return [slot for slot in range(512) if not 256 <= slot <= 271]
        if kind == tables.L3 and not wide:
            return range(4)
        return range(428) if kind == tables.L2_XEN else range(512)

    def take(mfn: int, kind: int) -> None:
        assert kinds.setdefault(mfn, kind) == kind, f"frame {mfn - typed.base} is two things"
        counts[mfn] = counts.get(mfn, 0) + 1
        references[mfn] = references.get(mfn, 0) + 1
        if counts[mfn] > 1:
            return
        for slot in guest_slots(kind):
            entry = memory.words[mfn * 512 + slot]
            if not entry & PTE_PRESENT:
                continue
            target = (entry & PTE_FRAME) >> 12
            linear = target == mfn and not entry & PTE_RW and (wide or kind != tables.L3)
            if kind == tables.L1:
                references[target] = references.get(target, 0) + 1
                if entry & PTE_RW:
                    assert kinds.setdefault(target, tables.WRITABLE) == tables.WRITABLE
                    counts[target] = counts.get(target, 0) + 1
            elif not linear:
                below = {tables.L4: tables.L3, tables.L3: tables.L2, tables.L2: tables.L1, tables.L2_XEN: tables.L1}
                take(target, tables.L2_XEN if not wide and kind == tables.L3 and slot == 3 else below[kind])

    for mfn in sorted(typed.frames.pinned):
        kind = int(typed.frames.kind[mfn])
        take(mfn, kind)
    return kinds, counts, references


def assert_consistent(typed: TypedMemory) -> None:
    """The incremental bookkeeping equals a recount."""
    kinds, counts, references = recount(typed)
    frames = typed.frames
    for mfn in range(typed.base, typed.memory.total):
        number = mfn - typed.base
        assert int(frames.kind[mfn]) == kinds.get(mfn, tables.NONE), f"type of frame {number}"
        assert int(frames.count[mfn]) == counts.get(mfn, 0), f"count of frame {number}"
        assert int(frames.references[mfn]) == references.get(mfn, 0), f"references of frame {number}"
