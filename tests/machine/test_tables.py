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
from tests.machine.worlds import LINK, READ_ONLY, WRITABLE, World, assert_consistent

BOTH = pytest.mark.parametrize("width", [64, 32])


@BOTH
def test_pinning_types_all_tables_and_what_they_map(width: int) -> None:
    world = World(width)
    world.pin_all()
    assert world.kind(2) == tables.L2 and world.kind(3) == tables.L1 and world.kind(5) == tables.WRITABLE
    assert world.kind(1) == tables.L3 and world.count(5) == 1
    if width == 32:
        assert world.kind(4) == tables.L2_XEN
    assert_consistent(world)


@BOTH
def test_unpinning_releases_everything(width: int) -> None:
    world = World(width)
    world.pin_all()
    assert world.unpin(world.top) == 0
    assert not world.frames.count.any() and not world.frames.references.any()
    assert not world.frames.kind.any()


@BOTH
def test_the_hypervisor_fills_its_slots(width: int) -> None:
    world = World(width)
    slot, table = (256, 0) if width == 64 else (428, 4)
    world.put(table, slot, world.entry(7, WRITABLE))  # what the guest wrote there does not count
    world.pin_all()
    assert world.get(table, slot) == 0x1067 and world.count(7) == 1


def test_64_bit_entries_become_reachable_from_ring_3() -> None:
    world = World(64)
    world.put(3, 11, world.entry(11, WRITABLE | PTE_USER))
    world.pin_all()
    assert world.get(3, 5) == world.entry(5, WRITABLE | PTE_USER | PTE_GUEST_KERNEL)
    assert world.get(3, 11) == world.entry(11, WRITABLE | PTE_USER | PTE_GLOBAL)
    assert world.get(1, 2) & PTE_USER and world.get(2, 5) & PTE_USER
    assert world.update(3, 12, world.entry(12, READ_ONLY)) == 0
    assert world.get(3, 12) == world.entry(12, READ_ONLY | PTE_USER | PTE_GUEST_KERNEL)


def test_pae_top_entries_beyond_the_fourth_are_cleared() -> None:
    world = World(32)
    world.put(1, 4, 0xFFFF)
    world.pin_all()
    assert world.get(1, 4) == 0


# name, what is done to the world before pinning the top table, expected error
REFUSED_AT_PIN: list[tuple[str, Callable[[World], object], int]] = [
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


@BOTH
@pytest.mark.parametrize(("name", "change", "error"), REFUSED_AT_PIN, ids=[case[0] for case in REFUSED_AT_PIN])
def test_refused_at_pin(width: int, name: str, change: Callable[[World], object], error: int) -> None:
    world = World(width)
    change(world)
    assert world.pin(world.top, world.top_level) == -error
    # Nothing is left behind.
    assert not world.frames.count.any() and not world.frames.references.any() and not world.frames.kind.any()
    assert not world.frames.pinned


@BOTH
def test_a_writable_frame_cannot_become_a_table(width: int) -> None:
    world = World(width)
    world.pin_all()
    assert world.pin(6, 1) == -EINVAL
    assert world.update(3, 6, 0) == 0
    assert world.pin(6, 1) == 0
    assert_consistent(world)


PAE_RULES: list[tuple[str, Callable[[World], object]]] = [
    ("no slot 3", lambda w: w.put(1, 3, 0)),
    ("slot 3 shares its L2 with another slot", lambda w: w.put(1, 2, w.entry(4, PTE_PRESENT))),
    ("slot 3 names an ordinary L2", lambda w: w.put(1, 3, w.entry(2, PTE_PRESENT))),
    ("NX in the top table", lambda w: w.put(1, 0, w.entry(2, PTE_PRESENT | PTE_NX))),
    ("linear top table", lambda w: w.put(1, 2, w.entry(1, PTE_PRESENT))),
]


@pytest.mark.parametrize(("name", "change"), PAE_RULES, ids=[case[0] for case in PAE_RULES])
def test_pae_rules(name: str, change: Callable[[World], object]) -> None:
    world = World(32)
    change(world)
    assert world.pin(1, 3) == -EINVAL
    assert not world.frames.count.any()


def test_pae_l2_of_slot_3_is_neither_pinned_nor_shared() -> None:
    world = World(32)
    world.pin_all()
    assert world.pin(4, 2) == -EINVAL
    world.put(10, 0, world.entry(2, PTE_PRESENT))
    world.put(10, 3, world.entry(4, PTE_PRESENT))
    assert world.update(3, 10, 0) == 0
    assert world.pin(10, 3) == -EINVAL
    assert_consistent(world)


def test_pae_top_table_above_4_gib_needs_extended_cr3() -> None:
    world = World(32, nr_pages=(1 << 20) + 8)
    high = (1 << 20) + 4 - world.base
    world.put(high, 0, world.entry(2, PTE_PRESENT))
    world.put(high, 3, world.entry(4, PTE_PRESENT))
    world.frames.vcpu_started = True
    assert world.pin(high, 3) == -ERANGE
    world.frames.extended_cr3 = True
    assert world.pin(high, 3) == 0


@BOTH
def test_pin_counts(width: int) -> None:
    world = World(width)
    assert world.unpin(world.top) == -EINVAL
    world.pin_all()
    assert world.pin(world.top, world.top_level) == -EINVAL
    assert world.pin(3, 2) == -EINVAL  # an L1 is no L2
    assert world.pin(3, 1) == 0 and world.count(3) == 2
    assert world.frames.pin(2, 1) == -EINVAL  # the hypervisor's own
    assert world.frames.pin(1 << 60, 1) == -EINVAL
    assert_consistent(world)


def test_pinning_an_l4_is_nothing_to_a_32_bit_guest() -> None:
    world = World(32)
    assert world.pin(1, 4) == 0 and not world.frames.pinned


# table, index, entry, expected result
UPDATES: list[tuple[str, int, int, Callable[[World], int], int]] = [
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


@BOTH
@pytest.mark.parametrize(("name", "table", "index", "entry", "result"), UPDATES, ids=[case[0] for case in UPDATES])
def test_updates(width: int, name: str, table: int, index: int, entry: Callable[[World], int], result: int) -> None:
    world = World(width)
    world.pin_all()
    before = world.get(table, index)
    assert world.update(table, index, entry(world)) == result
    if result:
        assert world.get(table, index) == before
    assert_consistent(world)


def test_hypervisor_slots_are_not_the_guests_to_write() -> None:
    world = World(64)
    world.pin_all()
    for slot in (256, 260, 271):
        assert world.update(0, slot, 0) == -EINVAL
    assert world.update(0, 272, 0) == 0 and world.update(0, 255, 0) == 0
    world = World(32)
    world.pin_all()
    assert world.update(4, 428, 0) == -EPERM and world.update(4, 427, 0) == 0
    assert world.update(1, 3, world.entry(4, PTE_PRESENT)) == -EINVAL


@BOTH
def test_frames_of_others_cannot_be_written(width: int) -> None:
    world = World(width)
    assert world.frames.update_entry(2 << 12, 0) == -EINVAL
    assert world.frames.update_entry(world.memory.total << 12, 0) == -EINVAL
    assert world.frames.update_machphys(2, 1) == -EINVAL
    assert world.frames.update_machphys(world.mfn(3), 77) == 0
    assert int(world.memory.m2p[world.mfn(3)]) == 77


@BOTH
def test_preserved_bits_survive(width: int) -> None:
    world = World(width)
    world.put(3, 5, world.entry(5, WRITABLE | 0x60))
    world.pin_all()
    assert world.update(3, 5, world.entry(5, PTE_PRESENT), preserve_ad=True) == 0
    assert world.get(3, 5) & 0x63 == 0x61


@BOTH
def test_shared_frames_are_mapped_but_never_tables(width: int) -> None:
    world = World(width)
    shared = world.memory.shared_info_mfn
    world.frames.share(shared)
    world.put(3, 30, shared << 12 | WRITABLE)
    world.pin_all()
    assert world.frames.pin(shared, 1) == -EINVAL
    assert world.update(2, 9, shared << 12 | LINK) == -EINVAL


@BOTH
def test_a_table_shared_by_two_entries_is_counted_twice(width: int) -> None:
    world = World(width)
    world.put(2, 6, world.entry(3, LINK))
    world.pin_all()
    assert world.count(3) == 2 and world.count(5) == 1
    assert world.update(2, 6, 0) == 0 and world.count(3) == 1
    assert_consistent(world)


@BOTH
def test_lenient_mode_lets_tables_be_mapped_writable(width: int) -> None:
    world = World(width, strict=False)
    world.put(3, 20, world.entry(2, WRITABLE))
    world.pin_all()
    assert world.update(3, 21, world.entry(1, WRITABLE)) == 0
    assert world.unpin(world.top) == 0
    assert not world.frames.references.any()


@BOTH
def test_descriptor_frames(width: int) -> None:
    world = World(width)
    world.pin_all()
    flat = 0x00CF_9300_0000_FFFF  # ring 0 data
    world.put(20, 1, flat)
    assert world.frames.get_type(world.mfn(20), tables.SEGMENTS) == 0
    assert world.get(20, 1) >> 45 & 3 == (3 if width == 64 else 1)
    assert world.update(3, 20, world.entry(20, WRITABLE)) == -EBUSY
    assert world.update(20, 1, 0) == -EINVAL
    world.put(21, 1, 0x0000_8900_0000_0067)  # a task state segment
    assert world.frames.get_type(world.mfn(21), tables.SEGMENTS) == -EINVAL
    assert world.kind(21) == tables.NONE
    assert world.frames.get_type(world.mfn(6), tables.SEGMENTS) == -EINVAL  # mapped writable


@BOTH
def test_many_l1_tables_validate_together(width: int) -> None:
    count = 300  # more than one batch
    world = World(width, nr_pages=count + 100)
    for number in range(count):
        world.put(2, 10 + number, world.entry(50 + number, LINK))
        world.put(50 + number, 0, world.entry(20, WRITABLE))
    world.put(50 + count - 1, 1, world.entry(50, WRITABLE))  # the last one maps the first one writable
    assert world.pin(world.top, world.top_level) == -EBUSY
    assert not world.frames.count.any() and not world.frames.references.any() and not world.frames.kind.any()
    world.put(50 + count - 1, 1, 0)
    world.pin_all()
    assert world.count(20) == count
    assert_consistent(world)


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
    world = World(width)
    world.pin_all()
    for what, number, index, (target, bits) in operations:
        entry = world.entry(target, bits)
        if what in ("update", "top"):
            world.update(number, index, entry)
        elif what == "pin":
            world.pin(number, index)
        elif what == "unpin":
            world.unpin(number)
        elif world.kind(number) in (tables.NONE, tables.WRITABLE):
            world.put(number, index, entry)  # the guest may write what it could map writable
    assert_consistent(world)
    for mfn in list(world.frames.pinned):
        world.frames.unpin(mfn)
    assert not world.frames.count.any() and not world.frames.references.any()
    assert not np.any(world.frames.kind)
