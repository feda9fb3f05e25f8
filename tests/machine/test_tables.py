"""What Xen allows a PV guest to do with its page tables, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from errno import EBUSY, EINVAL, EPERM, ERANGE

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.machine import tables
from pvboot.xen.paging import PTE_GLOBAL, PTE_GUEST_KERNEL, PTE_NX, PTE_PRESENT, PTE_RW, PTE_USER
from tests.machine.typed_memory import LINK, READ_ONLY, WRITABLE, TypedMemory, assert_consistent


@pytest.fixture(params=[64, 32])
def typed(request: pytest.FixtureRequest) -> TypedMemory:
    return TypedMemory(request.param)


@pytest.fixture
def pinned(typed: TypedMemory) -> TypedMemory:
    typed.pin_all()
    return typed


BOTH = pytest.mark.parametrize("width", [64, 32])


def test_pinning_types_all_tables_and_what_they_map(pinned: TypedMemory) -> None:
    assert pinned.kind(2) == tables.L2 and pinned.kind(3) == tables.L1 and pinned.kind(5) == tables.WRITABLE
    assert pinned.kind(1) == tables.L3 and pinned.count(5) == 1
    if pinned.width == 32:
        assert pinned.kind(4) == tables.L2_XEN
    assert_consistent(pinned)


def test_unpinning_releases_everything(pinned: TypedMemory) -> None:
    assert pinned.unpin(pinned.top) == 0
    assert not pinned.frames.count.any() and not pinned.frames.references.any()
    assert not pinned.frames.kind.any()


def test_the_hypervisor_fills_its_slots(typed: TypedMemory) -> None:
    slot, table = (256, 0) if typed.width == 64 else (428, 4)
    typed.put(table, slot, typed.entry(7, WRITABLE))  # what the guest wrote there does not count
    typed.pin_all()
    assert typed.get(table, slot) == 0x1067 and typed.count(7) == 1


def test_64_bit_entries_become_reachable_from_ring_3() -> None:
    typed = TypedMemory(64)
    typed.put(3, 11, typed.entry(11, WRITABLE | PTE_USER))
    typed.pin_all()
    assert typed.get(3, 5) == typed.entry(5, WRITABLE | PTE_USER | PTE_GUEST_KERNEL)
    assert typed.get(3, 11) == typed.entry(11, WRITABLE | PTE_USER | PTE_GLOBAL)
    assert typed.get(1, 2) & PTE_USER and typed.get(2, 5) & PTE_USER
    assert typed.update(3, 12, typed.entry(12, READ_ONLY)) == 0
    assert typed.get(3, 12) == typed.entry(12, READ_ONLY | PTE_USER | PTE_GUEST_KERNEL)


def test_pae_top_entries_beyond_the_fourth_are_cleared() -> None:
    typed = TypedMemory(32)
    typed.put(1, 4, 0xFFFF)
    typed.pin_all()
    assert typed.get(1, 4) == 0


# name, what is done to the typed before pinning the top table, expected error
REFUSED_AT_PIN: list[tuple[str, Callable[[TypedMemory], object], int]] = [
    ("writable mapping of the L1 itself", lambda w: w.put(3, 20, w.entry(3, WRITABLE)), EBUSY),
    ("writable mapping of an upper table", lambda w: w.put(3, 20, w.entry(2, WRITABLE)), EBUSY),
    ("mapping of a frame that does not exist", lambda w: w.put(3, 20, w.entry(4000, READ_ONLY)), EPERM),
    ("mapping of the last frame number there is", lambda w: w.put(3, 20, 0xF_FFFF_FFFF_F000 | READ_ONLY), EPERM),
    ("mapping of a hypervisor frame", lambda w: w.put(3, 20, 2 << 12 | READ_ONLY), EBUSY),
    ("L1 entry with PAT", lambda w: w.put(3, 20, w.entry(6, READ_ONLY | 0x80)), EINVAL),
    ("L1 entry uncached", lambda w: w.put(3, 20, w.entry(6, READ_ONLY | 0x10)), EINVAL),
    ("superpage in the L2", lambda w: w.put(2, 6, w.entry(6, LINK | 0x80)), EINVAL),
    ("global L2 entry", lambda w: w.put(2, 6, w.entry(6, LINK | 0x100)), EINVAL),
    ("L2 entry for a hypervisor frame", lambda w: w.put(2, 6, 2 << 12 | LINK), EINVAL),
    ("L2 entry for a frame that does not exist", lambda w: w.put(2, 6, w.entry(4000, LINK)), EINVAL),
    ("L2 entry for an L3", lambda w: w.put(2, 6, w.entry(1, LINK)), EINVAL),
    ("L2 entry for a writable frame", lambda w: w.put(2, 6, w.entry(5, LINK)), EBUSY),
    ("writable linear table", lambda w: w.put(2, 6, w.entry(2, LINK)), EINVAL),
]


@pytest.mark.parametrize(("name", "change", "error"), REFUSED_AT_PIN, ids=[case[0] for case in REFUSED_AT_PIN])
def test_refused_at_pin(typed: TypedMemory, name: str, change: Callable[[TypedMemory], object], error: int) -> None:
    change(typed)
    assert typed.pin(typed.top, typed.top_level) == -error
    # Nothing is left behind.
    assert not typed.frames.count.any() and not typed.frames.references.any() and not typed.frames.kind.any()
    assert not typed.frames.pinned


def test_a_writable_frame_cannot_become_a_table(pinned: TypedMemory) -> None:
    assert pinned.pin(6, 1) == -EINVAL
    assert pinned.update(3, 6, 0) == 0
    assert pinned.pin(6, 1) == 0
    assert_consistent(pinned)


PAE_RULES: list[tuple[str, Callable[[TypedMemory], object]]] = [
    ("no slot 3", lambda w: w.put(1, 3, 0)),
    ("slot 3 shares its L2 with another slot", lambda w: w.put(1, 2, w.entry(4, PTE_PRESENT))),
    ("slot 3 names an ordinary L2", lambda w: w.put(1, 3, w.entry(2, PTE_PRESENT))),
    ("NX in the top table", lambda w: w.put(1, 0, w.entry(2, PTE_PRESENT | PTE_NX))),
    ("linear top table", lambda w: w.put(1, 2, w.entry(1, PTE_PRESENT))),
]


@pytest.mark.parametrize(("name", "change"), PAE_RULES, ids=[case[0] for case in PAE_RULES])
def test_pae_rules(name: str, change: Callable[[TypedMemory], object]) -> None:
    typed = TypedMemory(32)
    change(typed)
    assert typed.pin(1, 3) == -EINVAL
    assert not typed.frames.count.any()


def test_pae_l2_of_slot_3_is_neither_pinned_nor_shared() -> None:
    typed = TypedMemory(32)
    typed.pin_all()
    assert typed.pin(4, 2) == -EINVAL
    typed.put(10, 0, typed.entry(2, PTE_PRESENT))
    typed.put(10, 3, typed.entry(4, PTE_PRESENT))
    assert typed.update(3, 10, 0) == 0
    assert typed.pin(10, 3) == -EINVAL
    assert_consistent(typed)


def test_pae_top_table_above_4_gib_needs_extended_cr3() -> None:
    typed = TypedMemory(32, nr_pages=(1 << 20) + 8)
    high = (1 << 20) + 4 - typed.base
    typed.put(high, 0, typed.entry(2, PTE_PRESENT))
    typed.put(high, 3, typed.entry(4, PTE_PRESENT))
    typed.frames.vcpu_started = True
    assert typed.pin(high, 3) == -ERANGE
    typed.frames.extended_cr3 = True
    assert typed.pin(high, 3) == 0


def test_pin_counts(typed: TypedMemory) -> None:
    assert typed.unpin(typed.top) == -EINVAL
    typed.pin_all()
    assert typed.pin(typed.top, typed.top_level) == -EINVAL
    assert typed.pin(3, 2) == -EINVAL  # an L1 is not an L2
    assert typed.pin(3, 1) == 0 and typed.count(3) == 2
    assert typed.frames.pin(2, 1) == -EINVAL  # the hypervisor's own
    assert typed.frames.pin(1 << 60, 1) == -EINVAL
    assert_consistent(typed)


def test_pinning_an_l4_is_ignored_for_a_32_bit_guest() -> None:
    typed = TypedMemory(32)
    assert typed.pin(1, 4) == 0 and not typed.frames.pinned


# table, index, entry, expected result
UPDATES: list[tuple[str, int, int, Callable[[TypedMemory], int], int]] = [
    ("map read-only", 3, 20, lambda w: w.entry(3, READ_ONLY), 0),
    ("map writable", 3, 20, lambda w: w.entry(20, WRITABLE), 0),
    ("unmap", 3, 5, lambda w: 0, 0),
    ("map a table writable", 3, 20, lambda w: w.entry(2, WRITABLE), -EBUSY),
    ("map a hypervisor frame", 3, 20, lambda w: 2 << 12 | READ_ONLY, -EBUSY),
    ("map nothing that exists", 3, 20, lambda w: w.entry(4000, READ_ONLY), -EPERM),
    ("map INVALID_MFN", 3, 20, lambda w: 0xF_FFFF_FFFF_F000 | READ_ONLY, -EINVAL),
    ("L1 entry with PWT", 3, 20, lambda w: w.entry(6, READ_ONLY | 8), -EINVAL),
    ("non-present L1 entry with anything", 3, 20, lambda w: 0xFFFF_FFFF_FFFF_FFFE, 0),
    ("new L1", 2, 7, lambda w: w.entry(20, LINK), 0),
    ("L1 that is mapped writable", 2, 7, lambda w: w.entry(6, LINK), -EINVAL),
    ("linear L2", 2, 7, lambda w: w.entry(2, LINK & ~PTE_RW), 0),
    ("L2 entry with PSE", 2, 7, lambda w: w.entry(20, LINK | 0x80), -EINVAL),
    ("drop the L1", 2, 5, lambda w: 0, 0),
    ("plain frame", 20, 3, lambda w: 0x1234, 0),
    ("writable frame", 6, 3, lambda w: 0x1234, 0),
]


@pytest.mark.parametrize(("name", "table", "index", "entry", "result"), UPDATES, ids=[case[0] for case in UPDATES])
def test_updates(
    pinned: TypedMemory, name: str, table: int, index: int, entry: Callable[[TypedMemory], int], result: int
) -> None:
    before = pinned.get(table, index)
    assert pinned.update(table, index, entry(pinned)) == result
    if result:
        assert pinned.get(table, index) == before
    assert_consistent(pinned)


def test_hypervisor_slots_are_not_the_guests_to_write() -> None:
    typed = TypedMemory(64)
    typed.pin_all()
    for slot in (256, 260, 271):
        assert typed.update(0, slot, 0) == -EINVAL
    assert typed.update(0, 272, 0) == 0 and typed.update(0, 255, 0) == 0
    typed = TypedMemory(32)
    typed.pin_all()
    assert typed.update(4, 428, 0) == -EPERM and typed.update(4, 427, 0) == 0
    assert typed.update(1, 3, typed.entry(4, PTE_PRESENT)) == -EINVAL


def test_frames_of_others_cannot_be_written(typed: TypedMemory) -> None:
    assert typed.frames.update_entry(2 << 12, 0) == -EINVAL
    assert typed.frames.update_entry(typed.memory.total << 12, 0) == -EINVAL
    assert typed.frames.update_machphys(2, 1) == -EINVAL
    assert typed.frames.update_machphys(typed.mfn(3), 77) == 0
    assert int(typed.memory.m2p[typed.mfn(3)]) == 77


def test_preserved_bits_survive(typed: TypedMemory) -> None:
    typed.put(3, 5, typed.entry(5, WRITABLE | 0x60))
    typed.pin_all()
    assert typed.update(3, 5, typed.entry(5, PTE_PRESENT), preserve_ad=True) == 0
    assert typed.get(3, 5) & 0x63 == 0x61


def test_shared_frames_are_mapped_but_never_tables(typed: TypedMemory) -> None:
    shared = typed.memory.shared_info_mfn
    typed.frames.share(shared)
    typed.put(3, 30, shared << 12 | WRITABLE)
    typed.pin_all()
    assert typed.frames.pin(shared, 1) == -EINVAL
    assert typed.update(2, 9, shared << 12 | LINK) == -EINVAL


def test_a_table_shared_by_two_entries_is_counted_twice(typed: TypedMemory) -> None:
    typed.put(2, 6, typed.entry(3, LINK))
    typed.pin_all()
    assert typed.count(3) == 2 and typed.count(5) == 1
    assert typed.update(2, 6, 0) == 0 and typed.count(3) == 1
    assert_consistent(typed)


@BOTH
def test_lenient_mode_lets_tables_be_mapped_writable(width: int) -> None:
    typed = TypedMemory(width, strict=False)
    typed.put(3, 20, typed.entry(2, WRITABLE))
    typed.pin_all()
    assert typed.update(3, 21, typed.entry(1, WRITABLE)) == 0
    assert typed.unpin(typed.top) == 0
    assert not typed.frames.references.any()


def test_descriptor_frames(pinned: TypedMemory) -> None:
    flat = 0x00CF_9300_0000_FFFF  # ring 0 data
    pinned.put(20, 1, flat)
    assert pinned.frames.get_type(pinned.mfn(20), tables.SEGMENTS) == 0
    assert pinned.get(20, 1) >> 45 & 3 == (3 if pinned.width == 64 else 1)
    assert pinned.update(3, 20, pinned.entry(20, WRITABLE)) == -EBUSY
    assert pinned.update(20, 1, 0) == -EINVAL
    pinned.put(21, 1, 0x0000_8900_0000_0067)  # a task state segment
    assert pinned.frames.get_type(pinned.mfn(21), tables.SEGMENTS) == -EINVAL
    assert pinned.kind(21) == tables.NONE
    assert pinned.frames.get_type(pinned.mfn(6), tables.SEGMENTS) == -EINVAL  # mapped writable


@BOTH
def test_many_l1_tables_validate_together(width: int) -> None:
    count = 300  # more than one batch
    typed = TypedMemory(width, nr_pages=count + 100)
    for number in range(count):
        typed.put(2, 10 + number, typed.entry(50 + number, LINK))
        typed.put(50 + number, 0, typed.entry(20, WRITABLE))
    typed.put(50 + count - 1, 1, typed.entry(50, WRITABLE))  # the last one maps the first one writable
    assert typed.pin(typed.top, typed.top_level) == -EBUSY
    assert not typed.frames.count.any() and not typed.frames.references.any() and not typed.frames.kind.any()
    typed.put(50 + count - 1, 1, 0)
    typed.pin_all()
    assert typed.count(20) == count
    assert_consistent(typed)


numbers = st.integers(0, 39)
flags = st.sampled_from([0, READ_ONLY, WRITABLE, LINK, LINK & ~PTE_RW, LINK | 0x80, PTE_PRESENT])
entries = st.tuples(numbers, flags)
operation = st.one_of(
    st.tuples(st.just("update"), st.integers(0, 12), st.integers(0, 10), entries),
    st.tuples(st.just("top"), st.integers(0, 3), st.integers(0, 3), entries),
    st.tuples(st.just("pin"), numbers, st.integers(1, 4), entries),
    st.tuples(st.just("unpin"), numbers, st.just(0), entries),
    st.tuples(st.just("store"), numbers, st.integers(0, 10), entries),
)


@BOTH
@given(operations=st.lists(operation, max_size=40))
@settings(max_examples=150)
def test_any_sequence_keeps_the_counts_right(
    width: int, operations: list[tuple[str, int, int, tuple[int, int]]]
) -> None:
    typed = TypedMemory(width)
    typed.pin_all()
    for what, number, index, (target, bits) in operations:
        entry = typed.entry(target, bits)
        if what in ("update", "top"):
            typed.update(number, index, entry)
        elif what == "pin":
            typed.pin(number, index)
        elif what == "unpin":
            typed.unpin(number)
        elif typed.kind(number) in (tables.NONE, tables.WRITABLE):
            typed.put(number, index, entry)  # the guest may write what it could map writable
    assert_consistent(typed)
    for mfn in list(typed.frames.pinned):
        typed.frames.unpin(mfn)
    assert not typed.frames.count.any() and not typed.frames.references.any()
    assert not np.any(typed.frames.kind)
