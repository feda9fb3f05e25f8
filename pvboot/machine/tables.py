"""Frame types and page-table validation: what Xen allows a PV guest to do with its own page tables.

Every frame has one type at a time (none, L1 ... L4, segment descriptors, writable) with a count, and changes it only
at count zero.  A read-write mapping in a validated L1 is one writable reference, so no page table in use can be
mapped writable and no writable frame can become a table.  The rules and error numbers are those of Xen's
xen/arch/x86/mm.c (get_page_type, promote_lN_table, mod_lN_entry).

With `strict=False` writable mappings are not counted: a guest that maps its tables writable is let through.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pvboot.machine.code_frames import CodeFrames
from pvboot.machine.descriptors import fix_descriptor_frame
from pvboot.machine.entries import (
    L1_FORBIDDEN,
    UPPER_FORBIDDEN,
    adjust_l1_entries,
    adjust_l1_entry,
    adjust_upper_entry,
    forbidden_flags,
    frames_of,
)
from pvboot.machine.memory import Memory
from pvboot.xen.paging import (
    ENTRIES,
    FIRST_XEN_L2_SLOT,
    FIRST_XEN_L4_SLOT,
    LAST_XEN_L4_SLOT,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_FRAME,
    PTE_NX,
    PTE_PRESENT,
    PTE_RW,
)

NONE, L1, L2, L3, L4, SEGMENTS, WRITABLE = range(7)
L2_XEN = 7  # the L2 of PAE slot 3, which carries the hypervisor's own mappings
LEVEL_OF = {L1: 1, L2: 2, L3: 3, L4: 4, L2_XEN: 2}

# Owners; SHARED is the hypervisor's but given to the guest to map (shared_info, grant table), FREE given back by it.
HYPERVISOR, GUEST, SHARED, FREE = range(4)

EXTENDED_CR3_LIMIT = 1 << 20  # a PAE top table at or above 4 GiB needs pae_extended_cr3
BATCH_TABLES = 256


class FrameTable:
    """Owner, type, type count and general reference count of every machine frame."""

    def __init__(self, memory: Memory, code: CodeFrames | None = None, *, strict: bool = True) -> None:
        self.memory = memory
        self.code = code or CodeFrames(memory)
        self.strict = strict
        self.wide = memory.width == 64
        self.top_kind = L4 if self.wide else L3
        self.owner: npt.NDArray[np.uint8] = np.zeros(memory.total, dtype=np.uint8)
        self.owner[memory.guest_base :] = GUEST
        self.kind: npt.NDArray[np.uint8] = np.zeros(memory.total, dtype=np.uint8)
        self.count: npt.NDArray[np.int64] = np.zeros(memory.total, dtype=np.int64)
        self.references: npt.NDArray[np.int64] = np.zeros(memory.total, dtype=np.int64)
        self.pinned: set[int] = set()
        self.counters: Counter[str] = Counter()
        self.extended_cr3 = False
        self.vcpu_started = False
        self.flush: Callable[[], None] = lambda: None  # drop the CPU's and the hypervisor's translations
        self.forget: Callable[[], None] = lambda: None  # drop the hypervisor's only: the guest flushes L1 changes
        # What the hypervisor puts into its own slots of every top table (64-bit) or slot-3 L2 (PAE).
        self.xen_slots: npt.NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        # Indexing a memoryview gives Python integers several times faster than indexing the array.
        self._owner = self.owner.data
        self._kind = self.kind.data
        self._count = self.count.data
        self._references = self.references.data
        self._validators = {
            L1: lambda mfn: self._validate_l1s(np.array([mfn])),
            L2: lambda mfn: self._validate_l2(mfn, ENTRIES),
            L2_XEN: lambda mfn: self._validate_l2(mfn, FIRST_XEN_L2_SLOT),
            L3: self._validate_l3,
            L4: self._validate_l4,
            SEGMENTS: self._validate_segments,
        }

    # --- ownership

    def owns(self, mfn: int) -> bool:
        """Whether the frame exists and is the guest's."""
        return 0 <= mfn < self.memory.total and self._owner[mfn] == GUEST

    def share(self, mfn: int) -> None:
        """Give a hypervisor frame to the guest to map read-write, never to be a table."""
        self._owner[mfn] = SHARED
        self._kind[mfn] = WRITABLE
        self._count[mfn] += 1

    def is_l1(self, mfn: int) -> bool:
        """Whether the frame is a validated L1 table."""
        return mfn < self.memory.total and self._kind[mfn] == L1

    def unused(self, mfn: int) -> bool:
        """Whether nothing maps or uses the frame."""
        return not self._references[mfn] and not self._count[mfn]

    def disown(self, mfn: int) -> None:
        """The guest gives the frame back; mappings it still has keep it from being used again."""
        self._owner[mfn] = FREE

    def own(self, mfn: int) -> None:
        """The guest gets a frame that it gave back."""
        self._owner[mfn] = GUEST

    # --- type references

    def get_type(self, mfn: int, kind: int) -> int:
        """Take one reference as a table or descriptor frame, validating it if its type changes; 0 or -errno."""
        if not self.owns(mfn):
            return -errno.EINVAL
        if not self._count[mfn]:
            result = self._change_type(mfn, kind)
            if result:
                return result
        elif self._kind[mfn] != kind:
            self.counters["type conflicts"] += 1
            return -errno.EINVAL
        self._count[mfn] += 1
        self._references[mfn] += 1
        return 0

    def _change_type(self, mfn: int, kind: int) -> int:
        """Type a frame whose count is zero; the caller adds its own reference on success."""
        # Somebody's stale TLB entry may still allow writing.
        self.flush()
        # Held while validating, so that a table cannot approve a mapping that conflicts with its own new type.
        self._kind[mfn] = kind
        self._count[mfn] = 1
        result = self._validators[kind](mfn)
        self._count[mfn] = 0
        if result:
            self._kind[mfn] = NONE
            return result
        if kind in LEVEL_OF:
            self.counters[f"validated L{LEVEL_OF[kind]}"] += 1
        return 0

    def put_type(self, mfn: int) -> None:
        """Drop one type reference; a table whose last one goes releases what it referenced."""
        self._references[mfn] -= 1
        self._count[mfn] -= 1
        if self._count[mfn]:
            return
        kind = self._kind[mfn]
        self._kind[mfn] = NONE
        if kind == L1:
            self._release_l1s(np.array([mfn]))
        elif kind in LEVEL_OF:
            self._release_upper(mfn, kind)

    def pin(self, mfn: int, level: int) -> int:
        """MMUEXT_PIN_Ln_TABLE: 0 or -errno."""
        if level == 4 and not self.wide:
            return 0  # Xen ignores it: the L4 of a 32-bit domain is Xen's own
        if not self.owns(mfn):
            return -errno.EINVAL
        result = self.get_type(mfn, level)
        if result:
            return result
        if mfn in self.pinned:
            self.put_type(mfn)
            return -errno.EINVAL
        self.pinned.add(mfn)
        return 0

    def unpin(self, mfn: int) -> int:
        """MMUEXT_UNPIN_TABLE: 0 or -errno."""
        if not self.owns(mfn) or mfn not in self.pinned:
            return -errno.EINVAL
        self.pinned.remove(mfn)
        self.put_type(mfn)
        return 0

    # --- whole tables

    def _check_mapped(self, targets: npt.NDArray[np.int64], writable: npt.NDArray[np.bool_]) -> int:
        """May L1 entries map these frames (read-write where `writable`)?  0 or -errno; counts nothing."""
        if int(targets.max()) >= self.memory.total:
            return -errno.EPERM
        owners = self.owner[targets]
        if not ((owners == GUEST) | (owners == SHARED)).all():
            return -errno.EBUSY
        if self.strict:
            kinds = self.kind[targets[writable]]
            if not ((kinds == NONE) | (kinds == WRITABLE)).all():
                return -errno.EBUSY
        return 0

    def _validate_l1s(self, mfns: npt.NDArray[np.int64]) -> int:
        """Validate L1 tables together: check all entries, then count their mappings; 0 or -errno and no change."""
        for start in range(0, len(mfns), BATCH_TABLES):
            result = self._validate_l1_batch(mfns[start : start + BATCH_TABLES])
            if result:
                if start:
                    self._release_l1s(mfns[:start])
                return result
        return 0

    def _validate_l1_batch(self, mfns: npt.NDArray[np.int64]) -> int:
        tables = self.memory.frames[mfns]
        present = (tables & np.uint64(PTE_PRESENT)) != 0
        entries = tables[present]
        if not len(entries):
            return 0
        if (entries & np.uint64(L1_FORBIDDEN)).any():
            return -errno.EINVAL
        targets = frames_of(entries)
        writable = (entries & np.uint64(PTE_RW)) != 0
        result = self._check_mapped(targets, writable)
        if result:
            return result
        np.add.at(self.references, targets, 1)
        if self.strict:
            np.add.at(self.count, targets[writable], 1)
            self.kind[targets[writable]] = WRITABLE
        if self.wide:
            self.memory.frames[mfns] = np.where(present, adjust_l1_entries(tables), tables)
        self.code.all_executable(targets[(entries & np.uint64(PTE_NX)) == 0])
        return 0

    def _release_l1s(self, mfns: npt.NDArray[np.int64]) -> None:
        for start in range(0, len(mfns), BATCH_TABLES):
            tables = self.memory.frames[mfns[start : start + BATCH_TABLES]]
            entries = tables[(tables & np.uint64(PTE_PRESENT)) != 0]
            targets = frames_of(entries)
            np.subtract.at(self.references, targets, 1)
            if self.strict:
                writable = targets[(entries & np.uint64(PTE_RW)) != 0]
                np.subtract.at(self.count, writable, 1)
                self.kind[writable[self.count[writable] == 0]] = NONE

    def _l2_targets(self, mfn: int, slots: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Present entries of an L2's guest slots and the frames they name; linear self-maps are left out."""
        table = self.memory.frames[mfn, :slots]
        entries = table[(table & np.uint64(PTE_PRESENT)) != 0]
        targets = frames_of(entries)
        linear = (targets == mfn) & ((entries & np.uint64(PTE_RW)) == 0)
        return entries, targets[~linear]

    def _validate_l2(self, mfn: int, slots: int) -> int:
        entries, targets = self._l2_targets(mfn, slots)
        if (entries & np.uint64(UPPER_FORBIDDEN)).any():
            return -errno.EINVAL
        if len(targets):
            result = self._get_l1s(targets)
            if result:
                return result
        if self.wide:
            table = self.memory.frames[mfn, :slots]
            table |= (table & np.uint64(PTE_PRESENT)) << np.uint64(2)  # present -> user
        if slots < ENTRIES:
            self.memory.frames[mfn, slots:] = self.xen_slots
        return 0

    def _get_l1s(self, targets: npt.NDArray[np.int64]) -> int:
        """Take one L1 reference for every named frame."""
        if int(targets.max()) >= self.memory.total or not (self.owner[targets] == GUEST).all():
            return -errno.EINVAL
        tables, times = np.unique(targets, return_counts=True)
        fresh = self.count[tables] == 0
        if not (self.kind[tables[~fresh]] == L1).all():
            self.counters["type conflicts"] += 1
            return -errno.EINVAL
        new = tables[fresh]
        self.kind[new] = L1
        self.count[tables] += times
        if len(new):
            self.flush()
            result = self._validate_l1s(new)
            if result:
                self.count[tables] -= times
                self.kind[new] = NONE
                return result
            self.counters["validated L1"] += len(new)
        self.references[tables] += times
        return 0

    def _put_l1s(self, targets: npt.NDArray[np.int64]) -> None:
        tables, times = np.unique(targets, return_counts=True)
        self.count[tables] -= times
        self.references[tables] -= times
        gone = tables[self.count[tables] == 0]
        self.kind[gone] = NONE
        if len(gone):
            self._release_l1s(gone)

    def _upper_entries(self, mfn: int, kind: int) -> list[tuple[int, int]]:
        """Index and value of the guest's present entries of an L3 or L4."""
        table = self.memory.frames[mfn, : 4 if kind == L3 and not self.wide else ENTRIES]
        present = [int(index) for index in np.flatnonzero(table & np.uint64(PTE_PRESENT))]
        if kind == L4:
            present = [index for index in present if not FIRST_XEN_L4_SLOT <= index <= LAST_XEN_L4_SLOT]
        return [(index, int(table[index])) for index in present]

    def _is_linear(self, entry: int, mfn: int, kind: int) -> bool:
        """A read-only entry of a table for the table itself (linear page table), which Xen allows uncounted."""
        if kind == L3 and not self.wide:
            return False
        return (entry & PTE_FRAME) >> 12 == mfn and not entry & PTE_RW

    def _get_entries(self, mfn: int, kind: int) -> int:
        """Take the references of an L3's or L4's entries and adjust the entries; undone if one is refused."""
        taken: list[int] = []
        words = self.memory.words
        for index, entry in self._upper_entries(mfn, kind):
            target = (entry & PTE_FRAME) >> 12
            below = L2_XEN if not self.wide and index == 3 else kind - 1
            if entry & forbidden_flags(kind, wide=self.wide):
                result = -errno.EINVAL
            elif self._is_linear(entry, mfn, kind):
                words[mfn * ENTRIES + index] = adjust_upper_entry(entry, kind, wide=self.wide)
                continue
            else:
                result = self.get_type(target, below)
            if not result and below == L2_XEN and self._count[target] != 1:
                self.put_type(target)
                result = -errno.EINVAL
            if result:
                for earlier in reversed(taken):
                    self.put_type(earlier)
                return result
            taken.append(target)
            words[mfn * ENTRIES + index] = adjust_upper_entry(entry, kind, wide=self.wide)
        return 0

    def _validate_l3(self, mfn: int) -> int:
        if not self.wide:
            if mfn >= EXTENDED_CR3_LIMIT and self.vcpu_started and not self.extended_cr3:
                return -errno.ERANGE
            self.memory.frames[mfn, 4:] = 0
            if not self.memory.words[mfn * ENTRIES + 3] & PTE_PRESENT:
                return -errno.EINVAL
        return self._get_entries(mfn, L3)

    def _validate_l4(self, mfn: int) -> int:
        result = self._get_entries(mfn, L4)
        if not result:
            self.memory.frames[mfn, FIRST_XEN_L4_SLOT : LAST_XEN_L4_SLOT + 1] = self.xen_slots
        return result

    def _validate_segments(self, mfn: int) -> int:
        return fix_descriptor_frame(self.memory.frames[mfn], wide=self.wide)

    def _release_upper(self, mfn: int, kind: int) -> None:
        if kind in (L2, L2_XEN):
            targets = self._l2_targets(mfn, ENTRIES if kind == L2 else FIRST_XEN_L2_SLOT)[1]
            if len(targets):
                self._put_l1s(targets)
            return
        for _, entry in self._upper_entries(mfn, kind):
            if not self._is_linear(entry, mfn, kind):
                self.put_type((entry & PTE_FRAME) >> 12)

    # --- single entries

    def update_entry(self, address: int, value: int, *, preserve_ad: bool = False) -> int:
        """Checked write of the page-table entry at a machine address (or a plain write to an untyped frame)."""
        mfn = address >> 12
        if mfn >= self.memory.total or self._owner[mfn] not in (GUEST, SHARED):
            return -errno.EINVAL
        kind = self._kind[mfn]
        slot = address >> 3
        if preserve_ad:
            value |= self.memory.words[slot] & (PTE_ACCESSED | PTE_DIRTY)
        if kind == L1:
            return self._update_l1(slot, value)
        if kind in (NONE, WRITABLE):
            self.memory.words[slot] = value
            self.code.written(mfn)
            return 0
        if kind == SEGMENTS:
            return -errno.EINVAL
        return self._update_upper(mfn, kind, slot, value)

    def _update_l1(self, slot: int, value: int) -> int:
        words = self.memory.words
        old = words[slot]
        if value & PTE_PRESENT:
            if value & L1_FORBIDDEN:
                return -errno.EINVAL
            if self.wide:
                value = adjust_l1_entry(value)
            if old & PTE_PRESENT and not (old ^ value) & (PTE_FRAME | PTE_RW):
                words[slot] = value
                if old & ~value & PTE_NX:
                    self.code.executable((value & PTE_FRAME) >> 12)
                return 0
            result = self.get_mapping((value & PTE_FRAME) >> 12, value & PTE_RW)
            if result:
                return result
        words[slot] = value
        if old & PTE_PRESENT:
            before = (old & PTE_FRAME) >> 12
            self.put_mapping(before, old & PTE_RW)
            self.forget()
            if old & PTE_NX and old & PTE_RW and self.code.seen[before]:
                self.code.check(before)
        if value & PTE_PRESENT and not value & PTE_NX:
            self.code.executable((value & PTE_FRAME) >> 12)
        return 0

    def get_mapping(self, target: int, writable: int) -> int:
        """Count one mapping of a frame, by an L1 entry or by the hypervisor; 0 or -errno."""
        if target >= self.memory.total:
            return -errno.EINVAL if target == PTE_FRAME >> 12 else -errno.EPERM
        if self._owner[target] not in (GUEST, SHARED):
            return -errno.EBUSY
        if writable and self.strict:
            if self._count[target] and self._kind[target] != WRITABLE:
                self.counters["writable mappings of tables refused"] += 1
                return -errno.EBUSY
            self._kind[target] = WRITABLE
            self._count[target] += 1
        self._references[target] += 1
        return 0

    def put_mapping(self, target: int, writable: int) -> None:
        """Drop one mapping counted by `get_mapping`."""
        self._references[target] -= 1
        if writable and self.strict:
            self._count[target] -= 1
            if not self._count[target]:
                self._kind[target] = NONE

    def _check_slot(self, kind: int, index: int) -> int:
        """May the guest write this slot of an upper table?"""
        if kind == L4 and FIRST_XEN_L4_SLOT <= index <= LAST_XEN_L4_SLOT:
            return -errno.EINVAL
        if kind == L3 and not self.wide and index >= 3:
            return -errno.EINVAL
        if kind == L2_XEN and index >= FIRST_XEN_L2_SLOT:
            return -errno.EPERM
        return 0

    def _update_upper(self, mfn: int, kind: int, slot: int, value: int) -> int:
        result = self._check_slot(kind, slot & 511)
        if result:
            return result
        words = self.memory.words
        old = words[slot]
        level = LEVEL_OF[kind]
        target = (value & PTE_FRAME) >> 12
        if value & PTE_PRESENT:
            if value & forbidden_flags(level, wide=self.wide):
                return -errno.EINVAL
            value = adjust_upper_entry(value, level, wide=self.wide)
            same = old & PTE_PRESENT and not (old ^ value) & (PTE_FRAME | PTE_RW)
            if not same and not self._is_linear(value, mfn, level):
                result = self.get_type(target, level - 1)
                if result:
                    return result
        else:
            same = 0
        words[slot] = value
        if old & PTE_PRESENT and not same and not self._is_linear(old, mfn, level):
            self.put_type((old & PTE_FRAME) >> 12)
        self.flush()
        return 0

    def update_machphys(self, mfn: int, pfn: int) -> int:
        """MMU_MACHPHYS_UPDATE: Xen only asks whether the frame is the guest's."""
        if not self.owns(mfn):
            return -errno.EINVAL
        self.memory.m2p[mfn] = pfn & int(np.iinfo(self.memory.m2p.dtype).max)
        return 0
