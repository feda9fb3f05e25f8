"""Guests that mean harm: any hypercall, memory or code must end in an error or an outcome, never in a traceback."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.machine.entries import frames_of
from pvboot.machine.outcome import RunLimits
from pvboot.machine.tables import L1, LEVEL_OF, NONE, WRITABLE
from pvboot.xen.constants import DOMID_SELF, HYPERCALL_NAMES, HYPERCALL_NUMBERS
from pvboot.xen.paging import PTE_PRESENT, PTE_RW
from tests.machine.guests import BASE, DATA_PAGE, SPARE_PAGE, Guest, assemble

BOTH = pytest.mark.parametrize("width", [64, 32])
EXCLUDED = {HYPERCALL_NUMBERS[name] for name in ("sched_op", "iret")}  # they wait, or need a CPU: tested apart


def interesting(guest: Guest) -> list[int]:
    """Numbers that mean something to the hypervisor: addresses, frames, machine addresses, counts, errors."""
    mask = (1 << guest.width) - 1
    tables = guest.layout.segment("pgtables")
    frames = [guest.mfn(0), guest.mfn(SPARE_PAGE), guest.l1_mfn, guest.table_mfn(0), guest.table_mfn(1), 0, 1, 2]
    frames += [guest.machine.shared_info_mfn, guest.machine.domain.memory.total, guest.machine.domain.memory.total - 1]
    values = [*range(20), DOMID_SELF, 1 << 16, 1 << 31, (1 << 31) - 1, mask, mask - 7, 1 << (guest.width - 1)]
    values += [guest.va(DATA_PAGE), guest.va(SPARE_PAGE), guest.va(SPARE_PAGE, 4090), guest.layout.va_of(tables.pfn)]
    values += [guest.machine.domain.hypervisor.gdt_va, guest.machine.domain.hypervisor.m2p_va, 0x10000000]
    values += frames
    values += [frame << 12 | low for frame in frames for low in (0, 1, 2, 0x23, 0x67, 8)]
    return [value & mask for value in values]


def check_safety(guest: Guest) -> None:
    """What Xen's typing is for: no live table maps a table writable, or reaches a frame that is not the guest's."""
    frames, memory = guest.machine.domain.frames, guest.machine.domain.memory
    for mfn in np.flatnonzero(frames.kind != NONE):
        kind = int(frames.kind[mfn])
        assert int(frames.count[mfn]) > 0
        if kind != L1:
            continue
        entries = memory.frames[mfn]
        present = entries[(entries & np.uint64(PTE_PRESENT)) != 0]
        targets = frames_of(present)
        assert not len(targets) or int(targets.max()) < memory.total
        assert (frames.owner[targets] != 0).all()
        writable = targets[(present & np.uint64(PTE_RW)) != 0]
        assert (frames.kind[writable] == WRITABLE).all()
    assert int(frames.kind[guest.machine.domain.vcpu.kernel_root]) in LEVEL_OF


REASONS = ("poweroff", "reboot", "suspend", "crash", "watchdog", "cpu-limit", "silent", "halted", "fault")
IDLE = "start: shutdown 0"


@BOTH
@given(data=st.data())
@settings(max_examples=60)
def test_any_hypercalls(width: int, data: st.DataObject) -> None:
    guest = Guest(width, IDLE)
    values = st.sampled_from(interesting(guest))
    numbers = st.sampled_from([number for number in HYPERCALL_NAMES if number not in EXCLUDED])
    mask = (1 << width) - 1
    for _ in range(data.draw(st.integers(1, 12))):
        words = data.draw(st.lists(values, min_size=8, max_size=24))
        packed = b"".join(word.to_bytes(guest.word, "little") for word in words)
        guest.poke(DATA_PAGE, 0, packed)
        guest.poke(SPARE_PAGE, 0, packed[::-1])
        number = data.draw(numbers)
        arguments = tuple(data.draw(values) for _ in range(6))
        result = guest.machine.hypercalls.call(number, arguments)
        assert -200 < result <= mask
    check_safety(guest)


@BOTH
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=25)
def test_any_code(width: int, seed: int) -> None:
    """Random bytes executed as a kernel."""
    guest = Guest(width, IDLE)
    generator = np.random.default_rng(seed)
    code = bytearray(generator.integers(0, 256, 4096, dtype=np.uint8).tobytes())
    # Make traps and hypercalls frequent.
    calls = [b"\x0f\x05", b"\xcd\x82", b"\x0f\x0b", b"\xf3\x90", b"\x0f\x22\xd8", b"\x0f\x30", b"\xcc"]
    for _ in range(200):
        piece = calls[int(generator.integers(0, len(calls)))]
        at = int(generator.integers(0, 4090))
        code[at : at + len(piece)] = piece
    guest.machine.write(guest.mfn(0), 0, bytes(code))
    outcome = guest.run(RunLimits(cpu_seconds=0.2, idle_seconds=0.2))
    assert outcome.reason in REASONS
    check_safety(guest)


# A pseudo-random hypercall with pseudo-random arguments, again and again; not those that wait.
HAMMER = """
    start:
    again:
        movl seed, %eax
        imull $1664525, %eax
        addl $1013904223, %eax
        movl %eax, seed
        movl %eax, %ebp
        shrl $3, %ebp
        .irp register, @arg1, @arg2, @arg3, @arg4, @arg5
        movl %ebp, %eax
        andl $127, %eax
        mov values(,@ax,@w), \\register
        shrl $4, %ebp
        .endr
        movl seed, %eax
        shrl $26, %eax
        .irp waiting, 23, 24, 29
        cmpl $\\waiting, %eax
        je again
        .endr
        @hypercall
        jmp again
    .balign 8
    seed: .long {seed}
    .balign 4096
    values: .fill 128, @w, 0
"""


@BOTH
@pytest.mark.parametrize("seed", [1, 77, 4711])
def test_a_guest_hammers_the_hypervisor(width: int, seed: int) -> None:
    source = HAMMER.format(seed=seed)
    guest = Guest(width, source)
    values = interesting(guest)[:128]
    code = assemble(width, source)
    page = len(code) // 4096 if len(code) % 4096 else len(code) // 4096 - 1
    guest.poke(page, 0, b"".join(value.to_bytes(guest.word, "little") for value in values))
    outcome = guest.run(RunLimits(cpu_seconds=1.0, silent_seconds=None))
    assert outcome.reason in ("cpu-limit", "crash", "halted"), outcome
    check_safety(guest)


@BOTH
def test_a_multicall_without_end_obeys_the_limit(width: int) -> None:
    """2**31 entries, all mapped: the same few frames over and over would do; here every entry is the list's page."""
    load = "mov $data, @arg1\n mov $0x7fffffff, @arg2"
    guest = Guest(width, f"start: {load}\n hypercall 13\n jmp start")
    size = 8 * guest.word
    for page in range(DATA_PAGE, SPARE_PAGE + 8):
        for at in range(0, 4096, size):
            guest.poke(page, at, (17).to_bytes(guest.word, "little"))
    outcome = guest.run(RunLimits(cpu_seconds=0.5, silent_seconds=None))
    assert outcome.reason == "cpu-limit"


@pytest.mark.parametrize(
    "body",
    [
        "xorl %edi, %edi\n movq $-4096, %rsi\n hypercall 23",
        "movq $0x800000000000, %rsp\n hypercall 23",
        "movq $data, %rsp\n hypercall 23",
    ],
)
def test_bad_iret_frames(body: str) -> None:
    outcome = Guest(64, f"start: {body}\n ud2").run(RunLimits(cpu_seconds=1))
    assert outcome.reason == "crash"


@pytest.mark.parametrize("selector", [0x23, 0xE023, 0x10, 0xFFFF])
def test_return_to_foreign_segments_ends_the_guest(selector: int) -> None:
    pushes = f"pushq $0xe02b; pushq $data; pushq $0x200; pushq ${selector | 3}; pushq $data{'; pushq $0' * 4}"
    guest = Guest(64, f"start: {pushes}; hypercall 23; ud2")
    assert guest.run(RunLimits(cpu_seconds=1)).reason == "crash"


def test_the_hypervisors_pages_are_out_of_reach() -> None:
    """Neither the entry page nor the descriptors can be written by a 64-bit guest, and M2P is read-only."""
    places = {
        64: (0xFFFF_8000_0000_0000, 0xFFFF_8200_0000_0000, 0xFFFF_8200_0000_E000, 0xFFFF_8200_0001_0000),
        32: (0xF580_0000, 0xFFE0_0000, 0xFFE0_E000, 0xFFE1_0000),
    }
    for width, addresses in places.items():
        for address in addresses:
            outcome = Guest(width, f"start: mov ${address:#x}, @ax\n movl $0, (@ax)\n shutdown 0").run()
            assert outcome.reason == "crash" and "trap 14" in outcome.detail


@BOTH
def test_jumping_into_the_hypervisor_ends_the_guest(width: int) -> None:
    guest = Guest(width, "start: shutdown 0")
    hypervisor = guest.machine.domain.hypervisor
    for offset in (0, 0x400, 0x700, 0x808):
        target = hypervisor.entry_va + offset
        outcome = Guest(width, f"start: mov ${target:#x}, @ax\n jmp *@ax").run(RunLimits(cpu_seconds=1))
        assert outcome.reason in ("crash", "fault"), (offset, outcome)


@BOTH
def test_the_m2p_cannot_be_executed(width: int) -> None:
    guest = Guest(width, "start: shutdown 0")
    target = guest.machine.domain.hypervisor.m2p_va + 0x1000 * guest.word
    outcome = Guest(width, f"start: mov ${target:#x}, @ax\n jmp *@ax").run(RunLimits(cpu_seconds=1))
    assert outcome.reason == "crash" and "trap 14" in outcome.detail


def test_console_indexes_of_a_guest_are_not_believed() -> None:
    guest = Guest(64, "start: movl $0, %edi\n hypercall 29\n movl $0, %edi\n hypercall 29\n shutdown 0")
    ring = guest.image.mfn_of("console")
    guest.machine.write(ring, 3072, struct.pack("<IIII", 5, 0xFFFFFFF0, 17, 0x80000000))
    store = guest.image.mfn_of("xenstore")
    guest.machine.write(store, 2048, struct.pack("<IIII", 0, 0x7FFFFFFF, 0xFFFF0000, 3))
    guest.run_to_power_off()
    assert guest.printed == b"" and guest.machine.domain.console.bad_indexes
    assert guest.machine.domain.xenstore.broken


@BOTH
def test_base_is_what_the_tests_assume(width: int) -> None:
    assert Guest(width, IDLE).va(0) == BASE[width]
