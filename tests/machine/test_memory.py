"""Machine memory and the guest's address space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.machine.errors import GuestFaultError, MachineError
from pvboot.machine.memory import NR_PAGES_MAX, Memory
from pvboot.machine.space import AddressSpace
from tests.machine.typed_memory import READ_ONLY, WRITABLE, TypedMemory

BOTH = pytest.mark.parametrize("width", [64, 32])
BASE = 5 << 21  # what the L1 of a TypedMemory covers


@BOTH
def test_shared_info_address_exceeds_every_frame_number(width: int) -> None:
    for pages in (1, 4096, 1 << 20, 1 << 22):
        memory = Memory(width, pages)
        assert memory.shared_info_mfn << 12 > memory.total


@BOTH
def test_m2p_is_the_inverse_of_the_p2m(width: int) -> None:
    memory = Memory(width, 1000, frame_seed=3)
    assert sorted(memory.p2m) == list(range(memory.guest_base, memory.total))
    assert list(memory.p2m) != sorted(memory.p2m)
    assert (memory.m2p[memory.p2m.astype(int)] == np.arange(1000)).all()
    assert memory.m2p[0] == np.iinfo(memory.m2p.dtype).max


def test_the_same_seed_gives_the_same_frames() -> None:
    assert (Memory(64, 500, 7).p2m == Memory(64, 500, 7).p2m).all()


@pytest.mark.parametrize("pages", [0, -1, NR_PAGES_MAX + 1])
def test_impossible_sizes(pages: int) -> None:
    with pytest.raises(MachineError):
        Memory(64, pages)


def test_large_guests_cost_little_to_start() -> None:
    memory = Memory(64, (16 << 30) >> 12)
    memory.write(int(memory.p2m[-1]), 4090, b"edge!!")
    assert memory.read(int(memory.p2m[-1]), 4090, 6) == b"edge!!"


def space_of(width: int) -> tuple[TypedMemory, AddressSpace]:
    """A TypedMemory whose L1 maps frames 5 ... 9 writable at BASE + 5 pages and frame 10 read-only behind them."""
    typed = TypedMemory(width)
    typed.put(3, 10, typed.entry(10, READ_ONLY))
    typed.pin_all()
    space = AddressSpace(typed.memory)
    space.set_root(typed.mfn(typed.top))
    return typed, space


VA = {64: (1 << 39) + (2 << 30) + BASE, 32: BASE}


@BOTH
def test_copies_cross_pages(width: int) -> None:
    _, space = space_of(width)
    start = VA[width] + 0x5FF0
    data = bytes(range(200)) * 50
    space.write(start, data)
    assert space.read(start, len(data)) == data


@BOTH
def test_faults(width: int) -> None:
    _, space = space_of(width)
    va = VA[width]
    with pytest.raises(GuestFaultError) as caught:
        space.read(va + 0xAFF0, 32)  # into the unmapped page 11
    assert caught.value.address == va + 0xB000
    with pytest.raises(GuestFaultError):
        space.write(va + 0xA000, b"read-only")
    assert space.read(va + 0xA000, 4) == bytes(4)
    outside = {
        64: [0xFFFF_8000_0000_0000, 0xFFFF_82FF_0000_0000, 1 << 47, (1 << 64) - 1, 1 << 70],
        32: [0xF580_0000, 0xFFFF_FFFF, 1 << 32],
    }
    for address in outside[width]:
        with pytest.raises(GuestFaultError):
            space.read(address, 1)
    assert space.prefix(va + 0xAFFA, 15) == bytes(6)


@BOTH
def test_walk_names_every_level(width: int) -> None:
    typed, space = space_of(width)
    steps = space.walk(VA[width] + 0x5000)
    assert [step.level for step in steps] == ([4, 3, 2, 1] if width == 64 else [3, 2, 1])
    assert steps[-1].entry >> 12 & 0xFF_FFFF == typed.mfn(5)
    assert space.walk(1 << 20)[-1].entry == 0
    assert space.leaf(1 << 30 << (3 if width == 64 else 0)) is None


@BOTH
def test_changed_entries_are_seen(width: int) -> None:
    typed, space = space_of(width)
    typed.frames.forget = space.forget
    va = VA[width] + 0x5000
    space.write(va, b"five")
    assert typed.update(3, 5, typed.entry(6, WRITABLE)) == 0
    assert space.read(va, 4) == bytes(4)
    assert typed.update(3, 5, typed.entry(5, READ_ONLY)) == 0
    with pytest.raises(GuestFaultError):
        space.write(va, b"x")


words = st.integers(0, (1 << 64) - 1)


@BOTH
@given(table=st.integers(0, 39), index=st.integers(0, 511), entry=words, va=words)
@settings(max_examples=200)
def test_garbage_in_tables_never_leaves_memory(width: int, table: int, index: int, entry: int, va: int) -> None:
    typed = TypedMemory(width)
    typed.put(table, index, entry)
    space = AddressSpace(typed.memory)
    space.set_root(typed.mfn(typed.top))
    space.walk(va)
    space.leaf(va)
    try:
        address = space.machine_address(va)
    except GuestFaultError:
        return
    assert 0 <= address < typed.memory.size_bytes
