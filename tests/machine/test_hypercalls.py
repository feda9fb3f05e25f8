"""Hypercalls made by a real guest through the CPU, for both widths."""

from __future__ import annotations

import struct
from errno import EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOSYS, ESRCH

import numpy as np
import pytest

from pvboot.xen._formats import (
    GNTTAB_QUERY_SIZE,
    GNTTAB_SETUP_TABLE,
    MMUEXT_OP,
    MULTICALL_ENTRY,
    XEN_MEMORY_MAP,
    XEN_MEMORY_RESERVATION,
)
from pvboot.xen.constants import DOMID_SELF
from pvboot.xen.paging import PTE_GLOBAL, PTE_GUEST_KERNEL
from tests.machine.guests import DATA_PAGE, PAGE, SPARE_PAGE, Guest, caller, perform


@pytest.fixture(params=[64, 32])
def guest(request: pytest.FixtureRequest) -> Guest:
    return caller(request.param)


NOWHERE = 0x1000_0000  # mapped in neither width
READ_ONLY, WRITABLE = 0x21, 0x23


def one(guest: Guest, name: str | int, *arguments: int) -> int:
    return perform(guest, [(name, arguments)])[0]


def expect(guest: Guest, *calls: tuple[str, tuple[int, ...], int]) -> None:
    """Hypercalls (name, arguments, result) that the guest makes in one run."""
    results = perform(guest, [(name, arguments) for name, arguments, _ in calls])
    assert results == [result for *_, result in calls]


def mapping(guest: Guest, va: int, entry: int, flags: int = 0) -> tuple[int, ...]:
    """Arguments of update_va_mapping."""
    return va, *halves(guest, entry), flags


def halves(guest: Guest, value: int) -> tuple[int, ...]:
    """A 64-bit argument, which a 32-bit guest passes as two."""
    return (value,) if guest.width == 64 else (value & 0xFFFFFFFF, value >> 32)


def test_unknown_hypercalls(guest: Guest) -> None:
    assert perform(guest, [(38, ()), (63, ()), (0x7FFFFFFF, ()), ("hvm_op", (1, 2))]) == [-ENOSYS] * 4
    counters = guest.machine.domain.counters
    assert counters["unknown tmem_op"] == 1 and counters["unknown hvm_op"] == 1


def test_version_and_features(guest: Guest) -> None:
    buffer = guest.va(DATA_PAGE)
    expect(
        guest,
        ("xen_version", (0, 0), 4 << 16 | 17),
        ("xen_version", (3, buffer), 0),
        ("xen_version", (6, guest.va(DATA_PAGE + 1)), 0),
        ("xen_version", (5, guest.va(DATA_PAGE + 2)), 0),
        ("xen_version", (7, 0), PAGE),
        ("xen_version", (77, buffer), -ENOSYS),
        ("xen_version", (1, NOWHERE), -EFAULT),
    )
    assert guest.peek(DATA_PAGE, 0, 15) == {64: b"xen-3.0-x86_64 ", 32: b"xen-3.0-x86_32p"}[guest.width]
    features = guest.peek_int(DATA_PAGE + 1, 4)
    assert features & 0xE0 == 0xE0  # preserve-AD, highmem assist, gnttab_map_avail_bits
    assert guest.words(DATA_PAGE + 2, 0, 1) == [{64: 0xFFFF_8000_0000_0000, 32: 0xF580_0000}[guest.width]]


def test_m2p_window(guest: Guest) -> None:
    assert one(guest, "memory_op", 12, guest.va(DATA_PAGE)) == 0
    start, end, last = guest.words(DATA_PAGE, 0, 3)
    assert start == guest.machine.domain.hypervisor.m2p_va and last == guest.machine.domain.memory.total - 1
    assert end - start >= (last + 1) * guest.word


def test_memory_map(guest: Guest) -> None:
    layout = XEN_MEMORY_MAP[guest.width]
    guest.poke(DATA_PAGE, 0, layout.pack(8, guest.va(DATA_PAGE + 1)))
    guest.poke(DATA_PAGE + 2, 0, layout.pack(0, guest.va(DATA_PAGE + 1)))
    expect(
        guest,
        ("memory_op", (9, guest.va(DATA_PAGE)), 0),
        ("memory_op", (9, guest.va(DATA_PAGE + 2)), -EINVAL),
        ("memory_op", (3, 0), guest.machine.nr_pages),
        ("memory_op", (4, 0), guest.machine.nr_pages),
        ("memory_op", (11,), -ENOSYS),
    )
    assert struct.unpack("<QQI", guest.peek(DATA_PAGE + 1, 0, 20)) == (0, guest.machine.nr_pages * PAGE, 1)


def test_mmu_update(guest: Guest) -> None:
    slot = guest.l1_slot
    requests = [
        (slot(SPARE_PAGE), guest.mfn(SPARE_PAGE + 1) << 12 | WRITABLE),  # another frame
        (slot(SPARE_PAGE) | 2, guest.mfn(SPARE_PAGE + 1) << 12 | READ_ONLY),  # keeping A and D
        (guest.mfn(5) << 12 | 1, 0x1234),  # M2P
        (slot(SPARE_PAGE + 2), guest.l1_mfn << 12 | WRITABLE),  # refused
        (slot(SPARE_PAGE + 3), 0),  # not reached
    ]
    guest.poke(DATA_PAGE, 0, b"".join(struct.pack("<QQ", *request) for request in requests))
    before = guest.machine.read(guest.l1_mfn, 8 * (SPARE_PAGE + 2), 16)
    expect(
        guest,
        ("mmu_update", (guest.va(DATA_PAGE), len(requests), guest.va(DATA_PAGE + 1), DOMID_SELF), -EBUSY),
        ("mmu_update", (guest.va(DATA_PAGE), 1, 0, 7), -ESRCH),
        ("mmu_update", (NOWHERE, 1, 0, DOMID_SELF), -EFAULT),
    )
    assert guest.peek_int(DATA_PAGE + 1, 0) == 3
    entry = int(guest.machine.frames[guest.l1_mfn, SPARE_PAGE])
    marks = PTE_GUEST_KERNEL | 4 if guest.width == 64 else 0
    # The dirty bit was not set, the accessed bit was.
    assert entry == guest.mfn(SPARE_PAGE + 1) << 12 | READ_ONLY | marks
    assert int(guest.machine.m2p[guest.mfn(5)]) == 0x1234
    assert guest.machine.read(guest.l1_mfn, 8 * (SPARE_PAGE + 2), 16) == before


def test_update_va_mapping(guest: Guest) -> None:
    va = guest.va(SPARE_PAGE)
    guest.poke(SPARE_PAGE + 1, 0, guest.word.to_bytes(guest.word, "little"))
    expect(
        guest,
        ("update_va_mapping", mapping(guest, va, guest.mfn(SPARE_PAGE + 1) << 12 | WRITABLE | 4, 2), 0),
        ("update_va_mapping", mapping(guest, NOWHERE, 0), -EINVAL),
        ("update_va_mapping", mapping(guest, guest.machine.domain.hypervisor.m2p_va, 0), -EINVAL),
        ("update_va_mapping", mapping(guest, guest.machine.domain.hypervisor.gdt_va, 0), -EINVAL),
        ("update_va_mapping", mapping(guest, va, guest.table_mfn(0) << 12 | WRITABLE), -EBUSY),
        ("update_va_mapping", mapping(guest, va, guest.table_mfn(0) << 12 | READ_ONLY | 0x80), -EINVAL),
    )
    entry = int(guest.machine.frames[guest.l1_mfn, SPARE_PAGE])
    assert entry == guest.mfn(SPARE_PAGE + 1) << 12 | WRITABLE | 4 | (PTE_GLOBAL if guest.width == 64 else 0)


def ext_ops(guest: Guest, ops: list[tuple[int, int, int]], page: int = DATA_PAGE) -> tuple[int, ...]:
    layout = MMUEXT_OP[guest.width]
    guest.poke(page, 0, b"".join(layout.pack(*op) for op in ops))
    return guest.va(page), len(ops), guest.va(page, 2048), DOMID_SELF


@pytest.mark.parametrize(
    ("name", "ops", "result", "done"),
    [
        ("pin the running top table again", [("pin", 0)], -EINVAL, 0),
        ("unpin twice", [("unpin", 0), ("unpin", 0)], -EINVAL, 1),
        ("flushes", [(6, 0, 0), (7, 0, 0), (8, 0, 0), (9, 0, 0), (10, 0, 0), (11, 0, 0)], 0, 6),
        ("cache flush without devices", [(12, 0, 0)], -13, 0),
        ("new base that is not a table", [(5, "spare", 0)], -EINVAL, 0),
        ("new base that is a hypervisor frame", [(5, 2, 0)], -EINVAL, 0),
        ("the base it has", [(5, "top", 0)], 0, 1),
        ("pin a mapped frame", [(0, "spare", 0)], -EINVAL, 0),
        ("no LDT", [(13, 0, 0)], 0, 1),
        ("unknown operation", [(6, 0, 0), (14, 0, 0)], -ENOSYS, 1),
        ("clear a page", [(16, "spare", 0)], 0, 1),
        ("copy a page", [(17, "spare", "code")], 0, 1),
        ("clear a page table", [(16, "top", 0)], -EINVAL, 0),
        ("copy to a page table", [(17, "top", "code")], -EINVAL, 0),
        ("copy from a hypervisor frame", [(17, "spare", 2)], -EINVAL, 0),
        ("mark superpage", [(19, "spare", 0)], -ENOSYS, 0),
    ],
)
def test_mmuext_op(guest: Guest, name: str, ops: list[tuple[int | str, ...]], result: int, done: int) -> None:
    guest.poke(SPARE_PAGE, 0, b"something")
    names = {"spare": guest.mfn(SPARE_PAGE), "top": guest.table_mfn(0), "code": guest.mfn(0)}
    prepared = []
    for op in ops:
        if op[0] in ("pin", "unpin"):
            prepared.append((guest.width // 32 + 1 if op[0] == "pin" else 4, names["top"], 0))
        else:
            command, first, second = (names[value] if isinstance(value, str) else value for value in op)
            prepared.append((command, first, second))
    assert one(guest, "mmuext_op", *ext_ops(guest, prepared)) == result
    assert guest.peek_int(DATA_PAGE, 2048) == done
    if name == "clear a page":
        assert guest.peek(SPARE_PAGE, 0, PAGE) == bytes(PAGE)
    if name == "copy a page":
        assert guest.peek(SPARE_PAGE, 0, PAGE) == guest.peek(0, 0, PAGE)


def test_multicall(guest: Guest) -> None:
    layout = MULTICALL_ENTRY[guest.width]
    numbers = [(17, 0, 0), (63, 0, 0), (13, guest.va(DATA_PAGE), 1), (17, 1, NOWHERE), (18, 0, 3)]
    text = guest.va(DATA_PAGE + 1)
    entries = [layout.pack(number, 0x55, first, second, text, 0, 0, 0) for number, first, second in numbers]
    guest.poke(DATA_PAGE, 0, b"".join(entries))
    guest.poke(DATA_PAGE + 1, 0, b"abc")
    assert perform(guest, [("multicall", (guest.va(DATA_PAGE), 5)), ("multicall", (NOWHERE, 5))]) == [0, -EFAULT]
    places = [index * layout.size + guest.word for index in range(5)]
    results = [int.from_bytes(guest.peek(DATA_PAGE, place, guest.word), "little", signed=True) for place in places]
    assert results == [4 << 16 | 17, -ENOSYS, -EINVAL, -EFAULT, 0]
    assert guest.printed == b"abc"


def test_event_channels(guest: Guest) -> None:
    structures = [
        (0, 0, 0),  # VIRQ 0 on vCPU 0
        (1, 5, 0),  # VIRQ 1 on a vCPU that does not exist
        (0, 0),  # IPI
        (DOMID_SELF | 0 << 16, 0),  # unbound for domain 0
        *((DOMID_SELF, 3), (DOMID_SELF, 2), (DOMID_SELF, 77)),
        *((4,), (99,), (4, 0), (4, 7)),
    ]
    for index, values in enumerate(structures):
        guest.poke_ints(DATA_PAGE, 64 * index, *values)
    operations = [
        *((1, 0, 0), (1, 0, -EEXIST), (1, 1, -ENOENT), (7, 2, 0), (6, 3, 0), (5, 4, 0), (5, 5, 0), (5, 6, 0)),
        *((4, 7, 0), (4, 8, -EINVAL), (9, 7, 0), (8, 9, 0), (8, 10, -ENOENT), (3, 7, 0), (3, 7, -EINVAL)),
        (11, 0, -ENOSYS),
    ]
    calls = [("event_channel_op", (op, guest.va(DATA_PAGE, 64 * index)), result) for op, index, result in operations]
    expect(guest, *calls, ("event_channel_op", (1, NOWHERE), -EFAULT))

    def word(index: int, number: int) -> int:
        return guest.peek_int(DATA_PAGE, 64 * index + 4 * number)

    assert word(0, 2) == 3 and word(2, 1) == 4 and word(3, 1) == 5
    assert [word(4, 2), word(4, 4)] == [4, 0]  # VIRQ 0
    assert [word(5, 2), word(5, 4), word(5, 5)] == [2, 0, 2]  # the console, connected to domain 0
    assert word(6, 2) == 0
    assert guest.machine.domain.events.is_pending(4) is False  # closing forgets


def test_vcpu_op(guest: Guest) -> None:
    info, timer = guest.va(DATA_PAGE), guest.va(DATA_PAGE, 64)
    guest.poke(DATA_PAGE, 0, struct.pack("<QII", guest.mfn(SPARE_PAGE), 128, 0))
    guest.poke_ints(DATA_PAGE, 64, 1 << 62, size=8)
    guest.poke(DATA_PAGE, 128, struct.pack("<QII", guest.mfn(SPARE_PAGE), 4090, 0))
    guest.poke(DATA_PAGE, 192, guest.va(DATA_PAGE + 1).to_bytes(8, "little"))
    expect(
        guest,
        ("vcpu_op", (3, 0, 0), 1),
        ("vcpu_op", (3, 1), -ENOENT),
        ("vcpu_op", (10, 0, guest.va(DATA_PAGE, 128)), -EINVAL),
        ("vcpu_op", (10, 0, info), 0),
        ("vcpu_op", (10, 0, info), -EINVAL),
        ("vcpu_op", (8, 0, timer), 0),
        ("vcpu_op", (9, 0, 0), 0),
        ("vcpu_op", (7, 0, 0), 0),
        ("vcpu_op", (5, 0, guest.va(DATA_PAGE, 192)), 0),
        ("vcpu_op", (13, 0), -ENOSYS),
    )
    page = guest.peek(SPARE_PAGE, 128, 64)
    assert page[0] == 1 and page[1] == 1 and struct.unpack_from("<I", page, 56)[0] != 0  # mask kept, TSC factor
    assert guest.peek(DATA_PAGE + 1, 0, 4) == bytes(4)  # RUNSTATE_running
    domain = guest.machine.domain
    assert domain.timer.next_due is None
    assert domain.frames.kind[guest.mfn(SPARE_PAGE)] == 6


def test_grant_table(guest: Guest) -> None:
    layout = GNTTAB_SETUP_TABLE[guest.width]
    guest.poke_ints(DATA_PAGE, 0, 1)
    guest.poke(DATA_PAGE, 64, GNTTAB_QUERY_SIZE.pack(DOMID_SELF, 0, 0, 9))
    guest.poke(DATA_PAGE, 128, layout.pack(DOMID_SELF, 4, 9, guest.va(DATA_PAGE + 1)))
    guest.poke(DATA_PAGE, 192, layout.pack(DOMID_SELF, 400, 9, guest.va(DATA_PAGE + 1)))
    guest.poke_ints(DATA_PAGE, 256, 2)
    expect(
        guest,
        ("grant_table_op", (8, guest.va(DATA_PAGE), 1), 0),
        ("grant_table_op", (6, guest.va(DATA_PAGE, 64), 1), 0),
        ("grant_table_op", (2, guest.va(DATA_PAGE, 128), 1), 0),
        ("grant_table_op", (2, guest.va(DATA_PAGE, 192), 1), 0),
        ("grant_table_op", (8, guest.va(DATA_PAGE, 256), 1), -EINVAL),
        ("grant_table_op", (0, 0, 1), -ENOSYS),
    )
    assert GNTTAB_QUERY_SIZE.unpack(guest.peek(DATA_PAGE, 64, 16))[3] == 0
    assert layout.unpack(guest.peek(DATA_PAGE, 128, layout.size))[2] == 0
    assert layout.unpack(guest.peek(DATA_PAGE, 192, layout.size))[2] == -8
    first = guest.words(DATA_PAGE + 1, 0, 4)[0]
    entries = guest.machine.read(first, 0, 16)
    console, store = guest.image.mfn_of("console"), guest.image.mfn_of("xenstore")
    assert struct.unpack("<HHIHHI", entries) == (1, 0, console, 1, 0, store)


def test_balloon(guest: Guest) -> None:
    layout = XEN_MEMORY_RESERVATION[guest.width]
    word = guest.word
    frames = [guest.mfn(SPARE_PAGE), guest.mfn(SPARE_PAGE + 1), 2]
    guest.poke(DATA_PAGE, 0, layout.pack(guest.va(DATA_PAGE, 256), 3, 0, 0, DOMID_SELF))
    guest.poke(DATA_PAGE, 256, b"".join(frame.to_bytes(word, "little") for frame in frames))
    guest.poke(DATA_PAGE, 64, layout.pack(guest.va(DATA_PAGE, 512), 2, 0, 0, DOMID_SELF))
    guest.poke(DATA_PAGE, 512, b"".join(pfn.to_bytes(word, "little") for pfn in (7, 8)))
    guest.poke(DATA_PAGE, 128, layout.pack(guest.va(DATA_PAGE, 256), 1, 9, 0, 5))
    guest.poke(SPARE_PAGE, 0, b"secret")
    calls: list[tuple[str | int, tuple[int, ...]]] = [
        # Unmap the second frame only: the first stays mapped and must not be given out again.
        ("update_va_mapping", mapping(guest, guest.va(SPARE_PAGE + 1), 0, 2)),
        ("memory_op", (1, guest.va(DATA_PAGE))),
        ("memory_op", (3, 0)),
        ("memory_op", (6, guest.va(DATA_PAGE, 64))),
        ("memory_op", (3, 0)),
        ("memory_op", (1, guest.va(DATA_PAGE, 128))),
        ("update_va_mapping", mapping(guest, guest.va(SPARE_PAGE + 2), frames[0] << 12 | READ_ONLY, 2)),
    ]
    total = guest.machine.nr_pages
    assert perform(guest, calls) == [0, 2, total - 2, 1, total - 1, -ESRCH, -EBUSY]
    assert guest.words(DATA_PAGE, 512, 2) == [frames[1], 8]
    assert int(guest.machine.m2p[frames[1]]) == 7
    assert guest.machine.read(frames[1], 0, PAGE) == bytes(PAGE)


def test_gdt(guest: Guest) -> None:
    guest.poke_ints(SPARE_PAGE, 8, 0x00CF_9200_0000_FFFF, size=8)
    guest.poke(DATA_PAGE, 0, guest.mfn(SPARE_PAGE).to_bytes(guest.word, "little"))
    entry = halves(guest, (guest.mfn(SPARE_PAGE) << 12) + 16)
    good, bad = halves(guest, 0x00CF_9200_0000_FFFF), halves(guest, 0x0000_8900_0000_0067)
    expect(
        guest,
        ("set_gdt", (guest.va(DATA_PAGE), 512), -EINVAL),  # still mapped writable
        ("update_va_mapping", mapping(guest, guest.va(SPARE_PAGE), guest.mfn(SPARE_PAGE) << 12 | READ_ONLY, 2), 0),
        ("set_gdt", (guest.va(DATA_PAGE), 512), 0),
        ("update_descriptor", (*entry, *good), 0),
        ("update_descriptor", (*entry, *bad), -EINVAL),
        ("set_gdt", (guest.va(DATA_PAGE), 7169), -EINVAL),
        ("set_gdt", (NOWHERE, 512), -EFAULT),
    )
    for offset in (8, 16):
        value = guest.peek_int(SPARE_PAGE, offset, 8)
        assert value >> 45 & 3 == (3 if guest.width == 64 else 1) and value >> 40 & 1


def test_misc(guest: Guest) -> None:
    expect(
        guest,
        ("vm_assist", (0, 2), 0),
        ("vm_assist", (1, 2), 0),
        ("vm_assist", (0, 9), -ENOSYS),
        ("physdev_op", (6, 0), 0),
        ("physdev_op", (1,), -ENOSYS),
        ("set_debugreg", (7, 0x455), 0),
        ("get_debugreg", (7,), 0x455),
        ("set_debugreg", (5,), -EINVAL),
        ("fpu_taskswitch", (0,), 0),
        ("stack_switch", (0xE02B, 0x1000), 0),
        ("sched_op", (9,), -ENOSYS),
        ("sched_op", (0, 0), 0),
        ("callback_op", (9,), -ENOSYS),
        ("set_trap_table", (0,), 0),
        ("set_trap_table", (NOWHERE,), -EFAULT),
        ("console_io", (0, 5, NOWHERE), -EFAULT),
    )


def test_read_only_memory_is_not_written_for_the_guest(guest: Guest) -> None:
    """A result address in a page table must fail like any other read-only page."""
    table = guest.layout.va_of(guest.layout.segment("pgtables").pfn)
    before = guest.machine.frames[guest.table_mfn(0)].copy()
    assert one(guest, "xen_version", 5, table + 8) == -EFAULT
    assert (guest.machine.frames[guest.table_mfn(0)] == before).all()


def test_huge_counts_end_with_the_limit_or_a_fault(guest: Guest) -> None:
    huge = 0x7FFF_FFFF
    results = perform(
        guest,
        [
            ("mmu_update", (guest.va(DATA_PAGE), huge, 0, DOMID_SELF)),
            ("mmuext_op", (guest.va(DATA_PAGE), huge, 0, DOMID_SELF)),
            ("multicall", (guest.va(DATA_PAGE), huge)),
            ("console_io", (0, huge, guest.va(DATA_PAGE))),
        ],
    )
    assert all(result < 0 for result in results[:2])
    assert results[2] == -EFAULT and results[3] == -EFAULT


def test_mmu_update_by_array_equals_one_by_one() -> None:
    one_by_one, at_once = caller(64), caller(64)
    pfns = np.arange(100, 200, dtype=np.uint64)
    for guest, as_array in ((one_by_one, False), (at_once, True)):
        mfns = guest.image.p2m[pfns.astype(int)]
        updates = np.stack([mfns << np.uint64(12) | np.uint64(1), pfns[::-1]], axis=1)
        argument = updates if as_array else [(int(pointer), int(value)) for pointer, value in updates]
        assert guest.machine.mmu_update(argument) == 0
        assert guest.machine.mmu_update(np.array([[2 << 12 | 1, 0]], dtype=np.uint64)) == -EINVAL
    assert (one_by_one.machine.m2p == at_once.machine.m2p).all()
    assert at_once.machine.mmu_update([(5, 0)]) == -ENOSYS
