"""Exceptions, events, user mode and page-table stores of real (tiny) guests."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pvboot.machine.outcome import describe
from pvboot.xen.paging import PTE_GUEST_KERNEL
from tests.machine.guests import BASE, DATA_PAGE, HANDLERS, PAGE, SPARE_PAGE, Guest

BOTH = pytest.mark.parametrize("width", [64, 32])


def trapping(width: int, instruction: str) -> Guest:
    """A guest that meets an exception at `victim`; a 64-bit one with known r11 and ecx."""
    source = f"""
        {HANDLERS}
        start:
            set_traps
            mov @sp, data + 0x110
            {"movq $0x11, %r11; movl $0x22, %ecx" if width == 64 else ""}
        victim:
            {instruction}
            ud2
        resume:
            mov $victim, @ax
            mov @ax, data + 0x118
            shutdown 0
    """
    return Guest(width, source)


# instruction, vector, error code (None: there is none), how far behind the instruction's start the saved ip is
EXCEPTIONS = [
    ("xorl %edx, %edx; divl %edx", 0, None, 2),
    ("int3", 3, None, 1),
    ("ud2", 6, None, 0),
    ("movl $0x1234, 0x10000000", 14, 2, 0),
    ("movl 0x10000000, %eax", 14, 0, 0),
    ("movl $0x7f0, %eax; movl %eax, %ds", 13, 0x7F0, 5),
    ("movl $0x12345678, %ecx; rdmsr", 13, 0, 5),
    ("int $0x80", 128, None, 2),
    ("int $0x81", 13, 0x81 * 8 + 2, 0),
]


@BOTH
@pytest.mark.parametrize(("instruction", "vector", "code", "offset"), EXCEPTIONS, ids=[case[0] for case in EXCEPTIONS])
def test_exception_frames(width: int, instruction: str, vector: int, code: int | None, offset: int) -> None:
    guest = trapping(width, instruction)
    guest.run_to_power_off()
    words = guest.words(DATA_PAGE, 0, 10)
    seen, sp_in_handler, sp_before, victim = (guest.peek_int(DATA_PAGE, 0x100 + 8 * at, guest.word) for at in range(4))
    assert seen == vector
    if width == 64:
        frame = words[2:]  # behind rcx and r11
        assert words[1] == 0x11
        if "%ecx" not in instruction:
            assert words[0] == 0x22
    else:
        frame = words
    if code is not None:
        assert frame[0] == code
        frame = frame[1:]
    assert frame[0] == victim + offset
    masked = 1  # events were masked from the start
    if width == 64:
        ip_at = 2 + (code is not None)
        assert frame[1] == 0xE030 | masked << 32
        assert frame[3] == sp_before and frame[4] == 0xE028
        assert sp_in_handler == (sp_before & ~15) - 8 * (ip_at + 5)
    else:
        assert frame[1] == 0xE019 | masked << 16
        assert sp_in_handler == sp_before - 4 * (3 + (code is not None))
    assert not frame[2] & 0x200  # the saved flags show that events were masked
    if vector == 14:
        assert guest.machine.domain.vcpu.fault_address == 0x10000000


@BOTH
def test_start_state(width: int) -> None:
    """All registers are zero but those that the ABI names; the CPU runs in the guest's ring."""
    names = ["@ax", "@cx", "@dx", "@bx", "@sp", "@bp", "@si", "@di"]
    names += [f"%r{number}" for number in range(8, 16)] if width == 64 else []
    stores = "\n".join(f"mov {name}, data + {at}*@w" for at, name in enumerate(names))
    more = "pushf@s\n pop data + 128\n movw %cs, %ax\n movw %ax, data + 136\n movw %ss, %ax\n movw %ax, data + 144"
    source = f"start: {stores}\n {more}\n shutdown 0"
    guest = Guest(width, source)
    guest.run_to_power_off()
    words = guest.words(DATA_PAGE, 0, len(names))
    vcpu = guest.image.vcpu
    expected = [0] * len(words)
    expected[4], expected[6] = vcpu.sp, vcpu.si
    assert words == expected
    flags, code, stack = (guest.peek_int(DATA_PAGE, at, 2) for at in (128, 136, 144))
    assert flags & 0x3202 == 0x202
    assert (code, stack) == ((0xE033, 0xE02B) if width == 64 else (0xE019, 0xE021))
    assert guest.machine.domain.vcpu.mask == 1


@BOTH
def test_unhandled_trap_crashes_the_domain_with_a_report(width: int) -> None:
    guest = Guest(width, "start: movl 0x10000000, %eax")
    outcome = guest.run()
    assert outcome.reason == "crash" and "trap 14" in outcome.detail and not outcome.ok
    assert outcome.report is not None
    assert outcome.report.fault_address == 0x10000000
    assert outcome.report.registers["ip"] >= BASE[width]
    assert outcome.report.fault_walk and not outcome.report.fault_walk[-1].entry & 1
    text = "\n".join(describe(outcome))
    assert "0x10000000" in text and "kernel mode" in text


@BOTH
def test_a_trap_without_a_stack_crashes_the_domain(width: int) -> None:
    guest = Guest(width, f"{HANDLERS}\n start: set_traps\n xor @sp, @sp\n ud2\n resume: ud2")
    outcome = guest.run()
    assert outcome.reason == "crash" and "stack" in outcome.detail


@BOTH
def test_a_guest_that_unmaps_the_code_it_runs_crashes(width: int) -> None:
    load = "mov $start, @arg1\n mov $0, @arg2\n mov $0, @arg3\n mov $0, @arg4"
    # No flush is asked for, so that the CPU still has the translation and comes to the ud2.
    guest = Guest(width, f"start: {load}\n hypercall 14\n ud2")
    outcome = guest.run()
    assert outcome.reason == "crash", outcome
    assert outcome.report is not None


PRIVILEGED = [
    ("cli", None),
    ("sti", None),
    ("wbinvd", None),
    ("outb %al, $0x80", None),
    ("movl $-1, %eax; inb $0x60, %al", 0xFFFFFFFF),
    ("movw $0x64, %dx; xorl %eax, %eax; inl %dx, %eax", 0xFFFFFFFF),
    ("movl $0xc0000080, %ecx; rdmsr", 0xD01),
    ("movl $0x277, %ecx; rdmsr", 0x00070106),
]


@BOTH
@pytest.mark.parametrize(("instruction", "result"), PRIVILEGED, ids=[case[0] for case in PRIVILEGED])
def test_privileged_instructions_are_performed(width: int, instruction: str, result: int | None) -> None:
    store = "movl %eax, data"
    guest = Guest(width, f"start: {instruction}\n {store}\n shutdown 0")
    guest.run_to_power_off()
    if result is not None:
        assert guest.peek_int(DATA_PAGE) == result


def test_control_and_debug_registers() -> None:
    guest = Guest(
        64,
        """
        start:
            movq %cr3, %rax; movq %rax, data
            movq %cr0, %r9; movq %r9, data + 8
            movq $0x1234, %r10; movq %r10, %cr2; movq %cr2, %rdx; movq %rdx, data + 16
            movq $0x401, %r12; movq %r12, %dr7; movq %dr7, %rcx; movq %rcx, data + 24
            movl $0xc0000101, %ecx; movl $data, %eax; movl $-1, %edx; wrmsr
            movq %gs:8, %rbx; movq %rbx, data + 32
            shutdown 0
    """,
    )
    guest.run_to_power_off()
    words = guest.words(DATA_PAGE, 0, 5)
    assert words == [guest.table_mfn(0) << 12, 0x80050033, 0x1234, 0x401, 0x80050033]


def test_32_bit_cr3_is_folded() -> None:
    guest = Guest(32, "start: movl %cr3, %eax\n movl %eax, data\n shutdown 0")
    guest.run_to_power_off()
    mfn = guest.table_mfn(0)
    assert guest.words(DATA_PAGE, 0, 1) == [mfn << 12 | mfn >> 20]


@BOTH
def test_cpuid_plain_and_by_forced_emulation(width: int) -> None:
    source = """
        start:
            movl $0x40000000, %eax; cpuid; movl %ebx, data
            movl $0x40000000, %eax; .byte 0x0f, 0x0b; .ascii "xen"; cpuid; movl %ebx, data + 4
            movl $0x12345678, %eax; cpuid; movl %eax, data + 8
            shutdown 0
    """
    guest = Guest(width, source)
    guest.run_to_power_off()
    assert guest.peek(DATA_PAGE, 0, 12) == b"XenVXenV" + bytes(4)


STORES64 = [
    ("movq %rax, (%rbx)", "exact"),
    ("xchgq %rax, (%rbx)", "exact"),
    ("lock cmpxchgq %rcx, (%rbx)", "compare"),
    ("movl %eax, (%rbx)", "low"),
    ("movups %xmm0, (%rbx)", "stepped"),
    ("lock orq %rax, (%rbx)", "or"),
    ("lock btrq $5, (%rbx)", "reset"),
]


@pytest.mark.parametrize(("store", "how"), STORES64)
def test_page_table_stores_are_checked_and_done(store: str, how: str) -> None:
    """The guest writes through its read-only mapping of the L1; the entry of the spare page changes."""
    guest = Guest(
        64,
        f"""
        start:
            movq $data, %rsi
            movq 8(%rsi), %rbx       # where the entry is mapped
            movq 16(%rsi), %rax      # new or expected value
            movq 24(%rsi), %rcx      # value to exchange
            movups 32(%rsi), %xmm0
            {store}
            pushfq; popq 64(%rsi)
            movq %rax, 72(%rsi)
            movq (%rbx), %rdx; movq %rdx, 80(%rsi)
            shutdown 0
    """,
    )
    old = guest.mfn(SPARE_PAGE) << 12 | 0x27 | PTE_GUEST_KERNEL
    new = guest.mfn(SPARE_PAGE + 4) << 12 | 0x27 | PTE_GUEST_KERNEL
    neighbour = int(guest.machine.frames[guest.l1_mfn, SPARE_PAGE + 1])
    where = guest.l1_entry_va(SPARE_PAGE)
    register = {"compare": old, "or": 0x40, "low": new}.get(how, new)
    guest.poke(DATA_PAGE, 8, struct.pack("<3Q", where, register, new) + struct.pack("<2Q", new, neighbour))
    assert int(guest.machine.frames[guest.l1_mfn, SPARE_PAGE]) == old
    outcome = guest.run_to_power_off()
    flags, ax, seen = guest.words(DATA_PAGE, 64, 3)
    expected = {"or": old | 0x40, "reset": old & ~0x20, "low": (old & ~0xFFFFFFFF) | (new & 0xFFFFFFFF)}.get(how, new)
    assert seen == expected
    assert outcome.counters["page-table stores"] == 1
    assert outcome.counters.get("page-table stores stepped", 0) == (how == "stepped")
    if how == "reset":
        assert flags & 1
    if how == "compare":
        assert flags & 0x40 and ax == old
    if store.startswith("xchg"):
        assert ax == old
    frames = guest.machine.domain.frames
    if how not in ("or", "reset"):
        assert frames.kind[guest.mfn(SPARE_PAGE)] == 0 and frames.kind[guest.mfn(SPARE_PAGE + 4)] == 6
        assert frames.count[guest.mfn(SPARE_PAGE + 4)] == 2  # its own page and this one


# store, entries: "bad" is a writable mapping of the L1 itself, "good" one of a spare page
FORBIDDEN = [
    ("movq %rax, (%rbx)", ("bad",)),
    ("movups %xmm0, (%rbx)", ("bad", "good")),
    ("movups %xmm0, (%rbx)", ("good", "bad")),
]


@pytest.mark.parametrize(("store", "entries"), FORBIDDEN)
def test_forbidden_page_table_stores_fault(store: str, entries: tuple[str, ...]) -> None:
    """Nothing of the store happens, even if its first entry alone would have passed."""
    guest = Guest(
        64,
        f"""
        {HANDLERS}
        start:
            set_traps
            movq data + 0x200, %rbx; movq data + 0x208, %rax; movups data + 0x208, %xmm0
        victim:
            {store}
            ud2
        resume:
            movq $victim, %rax; movq %rax, data + 0x118
            shutdown 0
    """,
    )
    where = guest.l1_entry_va(SPARE_PAGE)
    values = {"bad": guest.l1_mfn << 12 | 0x27, "good": guest.mfn(SPARE_PAGE + 4) << 12 | 0x27}
    chosen = [values[entry] for entry in entries]
    guest.poke(DATA_PAGE, 0x200, struct.pack(f"<{1 + len(chosen)}Q", where, *chosen))
    accessed = np.uint64(0x60)
    before = guest.machine.frames[guest.l1_mfn] | accessed
    guest.run_to_power_off()
    words = guest.words(DATA_PAGE, 0, 10)
    assert words[2] == 3 and words[3] == guest.words(DATA_PAGE, 0x118, 1)[0]  # present, write; at the store
    assert guest.machine.domain.vcpu.fault_address == where
    assert (guest.machine.frames[guest.l1_mfn] | accessed == before).all()
    assert guest.machine.domain.frames.count[guest.mfn(SPARE_PAGE + 4)] == 1


def test_stores_to_upper_tables_are_left_to_the_guest() -> None:
    """Xen emulates stores to L1 tables only."""
    source = f"""
        {HANDLERS}
        start: set_traps; movq data + 0x200, %rbx; movq $0, (%rbx); ud2
        resume: shutdown 0
    """
    guest = Guest(64, source)
    guest.poke(DATA_PAGE, 0x200, guest.layout.va_of(guest.layout.segment("pgtables").pfn).to_bytes(8, "little"))
    guest.run_to_power_off()
    assert guest.words(DATA_PAGE, 0x100, 1) == [14]


PAE_STORE = """
    start:
        movl data + 8, %ebx; movl data + 16, %eax; movl data + 20, %edx
        movl $0, (%ebx)             # as PAE kernels do: first not present, then the high half, then the low one
        movl %edx, 4(%ebx); movl %eax, (%ebx)
        movl spare, %ecx; movl %ecx, data
        shutdown 0
"""


def test_pae_page_table_stores_in_halves() -> None:
    guest = Guest(32, PAE_STORE)
    where = guest.l1_entry_va(SPARE_PAGE)
    guest.poke(DATA_PAGE, 8, where.to_bytes(4, "little"))
    guest.poke(DATA_PAGE, 16, (guest.mfn(SPARE_PAGE + 4) << 12 | 0x23).to_bytes(8, "little"))
    guest.poke(SPARE_PAGE + 4, 0, b"four")
    outcome = guest.run_to_power_off()
    assert guest.peek(DATA_PAGE, 0, 4) == b"four"
    assert outcome.counters["page-table stores"] == 3


USER = f"""
    {HANDLERS}
    start:
        set_traps
        hypercall2 30, 0, callback  # CALLBACKOP_register, syscall
        hypercall2 3, 0xe02b, spare + 0x3000  # stack_switch
        xorl %edx, %edx; movl $0x7ff0, %r10d
        hypercall2 26, user_base, 1
        movq %rax, data + 0x300; movq $0, data + 0x308
        pushq $0xe02b; pushq $spare + 0x5000; pushq $0x200; pushq $0xe033; pushq $user  # ss, rsp, flags, cs, rip
        pushq $0; pushq $0x77; pushq $0x66; pushq $0x55  # flags of the hypercall, rcx, r11, rax
        hypercall 23
        ud2
    .balign 8
    callback: .word 2, 1; .long 0; .quad entry  # syscall, masks events
    user_base: .quad 15, 0, 0
    user:
        movq %rax, %r12; movq %rcx, %r13; movq %r11, %r14
        movl $0x1234, %eax
        syscall
    after_syscall:
        movq %rax, %r15
        movl 0x10000000, %eax       # a page fault in user mode
    entry:
        movq %rsp, %rsi; movq $data, %rdi; movl $10, %ecx; cld; rep movsq
        movq %r12, data + 0x310; movq %r13, data + 0x318; movq %r14, data + 0x320; movq %rax, data + 0x328
        movq $after_syscall, %rax; movq %rax, data + 0x330
        popq %rcx; popq %r11
        # back to the user as by sysret: rax, r11, rcx, flags, then the frame
        pushq $0x100; pushq $0; pushq $0; pushq $0x99
        hypercall 23
        ud2
    resume:                         # the page fault
        movq %r15, data + 0x340
        movq data + 0x10, %rax
        shutdown 0
"""


def test_user_mode_round_trip() -> None:
    """iret to ring 3, a system call with its frame on the kernel's stack, sysret back, and a user page fault."""
    guest = Guest(64, USER)
    # The user's tables are the kernel's.
    code = guest.machine.read(guest.mfn(0), 0, 4 * PAGE)
    at = code.index(struct.pack("<QQQ", 15, 0, 0))
    guest.machine.write(guest.mfn(at // PAGE), at % PAGE + 8, guest.table_mfn(0).to_bytes(8, "little"))
    outcome = guest.run_to_power_off()
    assert guest.words(DATA_PAGE, 0x300, 1) == [0]
    user_ax, user_cx, user_r11, in_entry_ax, after = guest.words(DATA_PAGE, 0x310, 5)
    assert [user_ax, user_cx, user_r11, in_entry_ax] == [0x55, 0x77, 0x66, 0x1234]
    assert guest.words(DATA_PAGE, 0x340, 1) == [0x99]
    # The last frame is the page fault's: rcx, r11, error code (user read), rip, cs with the mask, flags, rsp, ss.
    frame = guest.words(DATA_PAGE, 0, 8)
    assert frame[2] == 4 and frame[3] == after + 3 and frame[4] == 0xE033
    assert frame[5] & 0x200 and frame[6] == guest.va(SPARE_PAGE, 0x5000) and frame[7] == 0xE02B
    assert guest.words(DATA_PAGE, 0x108, 1) == [guest.va(SPARE_PAGE, 0x3000) - 64]
    assert outcome.counters["user system calls"] == 1


TIMER64 = """
    start:
        hypercall2 30, 0, callback
        hypercall2 32, 1, virq      # bind_virq
        movq data + 0x10, %rbx      # where shared_info is mapped
        movb $0, 1(%rbx)            # events on
    spin:
        {spin}
        cmpl $5, ticks(%rip)
        jb spin
        shutdown 0
    .balign 8
    callback: .word 0, 0; .long 0; .quad upcall
    virq: .long 0, 0, 0
    ticks: .long 0
    upcall:
        pushq %rax
        incl ticks(%rip)
        movb $0, (%rbx); movq $0, 8(%rbx); movq $0, 2048(%rbx)  # upcall pending, selector, pending ports
        popq %rax
        # frame: rcx, r11, rip, cs | mask, rflags, rsp, ss; iret wants rax, r11, rcx, flags in front of rip
        movq %rax, save(%rip)
        popq %rcx; popq %r11
        pushq $0; pushq %rcx; pushq %r11; pushq save(%rip)
        hypercall 23
    .balign 8
    save: .quad 0
"""


def map_shared_info(guest: Guest) -> int:
    """Map shared_info over a spare page as a guest would; its address."""
    va = guest.va(SPARE_PAGE + 2)
    entry = guest.machine.shared_info_mfn << 12 | 0x23
    assert guest.machine.update_va_mapping(va, entry, 2) == 0
    return va


@pytest.mark.parametrize("spin", ["pause", "nop", "movl $0, %edi; hypercall 17"], ids=["pause", "bare", "hypercall"])
def test_ticks_reach_a_spinning_kernel(spin: str) -> None:
    guest = Guest(64, TIMER64.format(spin=spin))
    guest.poke(DATA_PAGE, 0x10, map_shared_info(guest).to_bytes(8, "little"))
    outcome = guest.run_to_power_off()
    assert outcome.counters["upcalls"] >= 5 and outcome.counters["timer events"] >= 5


def test_32_bit_upcall_and_iret() -> None:
    guest = Guest(
        32,
        """
        start:
            hypercall2 30, 0, callback
            hypercall2 32, 7, port  # bind_ipi
            movl data + 0x10, %ebp
            movb $0, 1(%ebp)        # events on
            movl port + 4, %eax; movl %eax, send
            movl $0x1357, %edi
            hypercall2 32, 4, send  # to itself
            movl %eax, data; movl %edi, data + 4; movl %esp, data + 8
            shutdown 0
        .balign 8
        callback: .word 0, 0; .long 0xe019, upcall
        port: .long 0, 0
        send: .long 0
        upcall:
            incl data + 0x20
            movl (%esp), %edx; movl %edx, data + 0x24
            movl 4(%esp), %edx; movl %edx, data + 0x28
            movb 1(%ebp), %dl; movb %dl, data + 0x2c
            movb $0, (%ebp); movl $0, 4(%ebp); movl $0, 2048(%ebp)
            pushl %eax
            hypercall 23
    """,
    )
    guest.poke(DATA_PAGE, 0x10, map_shared_info(guest).to_bytes(4, "little"))
    sp = guest.image.vcpu.sp
    guest.run_to_power_off()
    result, kept, sp_after = guest.words(DATA_PAGE, 0, 3)
    count, _, selector, mask = guest.words(DATA_PAGE, 0x20, 4)
    assert (result, kept, sp_after) == (0, 0x1357, sp)
    assert count == 1 and selector == 0xE019 and mask & 0xFF == 1
    assert guest.machine.domain.vcpu.mask == 0
