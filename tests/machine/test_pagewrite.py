"""Decoding of stores to page tables, compared with the assembler; flags compared with the host's arithmetic."""

from __future__ import annotations

import random
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as x86

from pvboot.machine.pagewrite import (
    ADD,
    AND,
    ARITHMETIC_FLAGS,
    BIT_COMPLEMENT,
    BIT_RESET,
    BIT_SET,
    COMPARE_EXCHANGE,
    DEC,
    EXCHANGE,
    EXCHANGE_ADD,
    FLAG_ADJUST,
    FLAG_CARRY,
    INC,
    MOVE,
    NEGATE,
    NOT,
    OR,
    SUB,
    XOR,
    PageWrite,
    compare_flags,
    compute,
    decode,
    logic_flags,
)

# machine code, what it is (assembled by gas)
KNOWN64 = [
    ("48890b", "mov %rcx,(%rbx)", PageWrite(MOVE, 8, "cx", 0, 3)),
    ("4d890424", "mov %r8,(%r12)", PageWrite(MOVE, 8, "r8", 0, 4)),
    ("48894508", "mov %rax,8(%rbp)", PageWrite(MOVE, 8, "ax", 0, 4)),
    ("4889849310270000", "mov %rax,10000(%rbx,%rdx,4)", PageWrite(MOVE, 8, "ax", 0, 8)),
    ("48890512000000", "mov %rax,18(%rip)", PageWrite(MOVE, 8, "ax", 0, 7)),
    ("4889042500100000", "mov %rax,0x1000", PageWrite(MOVE, 8, "ax", 0, 8)),
    ("890b", "mov %ecx,(%rbx)", PageWrite(MOVE, 4, "cx", 0, 2)),
    ("48c70300000000", "movq $0,(%rbx)", PageWrite(MOVE, 8, "", 0, 7)),
    ("48c74310ffffffff", "movq $-1,16(%rbx)", PageWrite(MOVE, 8, "", (1 << 64) - 1, 8)),
    ("c7030000f0ff", "movl $0xfff00000,(%rbx)", PageWrite(MOVE, 4, "", 0xFFF00000, 6)),
    ("488703", "xchg %rax,(%rbx)", PageWrite(EXCHANGE, 8, "ax", 0, 3)),
    ("f0490fb10f", "lock cmpxchg %rcx,(%r15)", PageWrite(COMPARE_EXCHANGE, 8, "cx", 0, 5)),
    ("3e498023df", "ds andb $0xdf,(%r11)", PageWrite(AND, 1, "", 0xDF, 5)),
    ("f08063017f", "lock andb $0x7f,1(%rbx)", PageWrite(AND, 1, "", 0x7F, 5)),
    ("f0480fba3305", "lock btrq $5,(%rbx)", PageWrite(BIT_RESET, 8, "", 5, 6)),
    ("3e480fba3305", "ds btrq $5,(%rbx)", PageWrite(BIT_RESET, 8, "", 5, 6)),
    ("0fba6b043f", "btsl $63,4(%rbx)", PageWrite(BIT_SET, 4, "", 63, 5)),
    ("480fba3b3f", "btcq $63,(%rbx)", PageWrite(BIT_COMPLEMENT, 8, "", 63, 5)),
    ("f0480fb30b", "lock btr %rcx,(%rbx)", PageWrite(BIT_RESET, 8, "cx", 0, 5)),
    ("480fab0b", "bts %rcx,(%rbx)", PageWrite(BIT_SET, 8, "cx", 0, 4)),
    ("4c0fbb03", "btc %r8,(%rbx)", PageWrite(BIT_COMPLEMENT, 8, "r8", 0, 4)),
    ("f048210b", "lock and %rcx,(%rbx)", PageWrite(AND, 8, "cx", 0, 4)),
    ("48090b", "or %rcx,(%rbx)", PageWrite(OR, 8, "cx", 0, 3)),
    ("48310b", "xor %rcx,(%rbx)", PageWrite(XOR, 8, "cx", 0, 3)),
    ("48010b", "add %rcx,(%rbx)", PageWrite(ADD, 8, "cx", 0, 3)),
    ("48290b", "sub %rcx,(%rbx)", PageWrite(SUB, 8, "cx", 0, 3)),
    ("48832bff", "subq $-1,(%rbx)", PageWrite(SUB, 8, "", (1 << 64) - 1, 4)),
    ("488303ff", "addq $-1,(%rbx)", PageWrite(ADD, 8, "", (1 << 64) - 1, 4)),
    ("48810b00000080", "orq $-0x80000000,(%rbx)", PageWrite(OR, 8, "", 0xFFFFFFFF80000000, 7)),
    ("8333fe", "xorl $-2,(%rbx)", PageWrite(XOR, 4, "", 0xFFFFFFFE, 3)),
    ("f0800b42", "lock orb $0x42,(%rbx)", PageWrite(OR, 1, "", 0x42, 4)),
    ("f0480fc10b", "lock xadd %rcx,(%rbx)", PageWrite(EXCHANGE_ADD, 8, "cx", 0, 5)),
    ("48f713", "notq (%rbx)", PageWrite(NOT, 8, "", 0, 3)),
    ("48f71b", "negq (%rbx)", PageWrite(NEGATE, 8, "", 0, 3)),
    ("48ff03", "incq (%rbx)", PageWrite(INC, 8, "", 0, 3)),
    ("ff0b", "decl (%rbx)", PageWrite(DEC, 4, "", 0, 2)),
]
KNOWN32 = [
    ("8913", "mov %edx,(%ebx)", PageWrite(MOVE, 4, "dx", 0, 2)),
    ("895304", "mov %edx,4(%ebx)", PageWrite(MOVE, 4, "dx", 0, 3)),
    ("891500100000", "mov %edx,0x1000", PageWrite(MOVE, 4, "dx", 0, 6)),
    ("c70300000000", "movl $0,(%ebx)", PageWrite(MOVE, 4, "", 0, 6)),
    ("8703", "xchg %eax,(%ebx)", PageWrite(EXCHANGE, 4, "ax", 0, 2)),
]
UNKNOWN = ["0f1103", "481103", "f00fc70b", "4889c3", "90", "48833bff", "48f703ffffffff", "66010b", "880b"]


@pytest.mark.parametrize(("code", "text", "store"), KNOWN64, ids=[case[1] for case in KNOWN64])
def test_64_bit_forms(code: str, text: str, store: PageWrite) -> None:
    assert decode(bytes.fromhex(code).ljust(24, b"\0"), wide=True) == store


@pytest.mark.parametrize(("code", "text", "store"), KNOWN32, ids=[case[1] for case in KNOWN32])
def test_32_bit_forms(code: str, text: str, store: PageWrite) -> None:
    assert decode(bytes.fromhex(code).ljust(24, b"\0"), wide=False) == store


# Values with their sign, parity and carries at the edges, and some others.
EDGES = [0, 1, 0x0F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
VALUES = [*EDGES, *(random.Random(1).getrandbits(64) for _ in range(10))]
AT_RBX = re.compile(r"[ ,]\(%rbx\)$")
UNDEFINED = dict.fromkeys((BIT_SET, BIT_RESET, BIT_COMPLEMENT), ARITHMETIC_FLAGS & ~FLAG_CARRY)
UNDEFINED |= dict.fromkeys((AND, OR, XOR), FLAG_ADJUST)


@pytest.mark.parametrize(
    ("code", "store"),
    [(code, store) for code, text, store in KNOWN64 if AT_RBX.search(text)],
    ids=[text for _, text, _ in KNOWN64 if AT_RBX.search(text)],
)
def test_stores_compute_what_a_processor_does(code: str, store: PageWrite) -> None:
    """The engine executes the same instruction on ordinary memory."""
    cpu = Uc(UC_ARCH_X86, UC_MODE_64)
    cpu.mem_map(0, 0x4000)
    cpu.mem_write(0x1000, bytes.fromhex(code) + b"\x90")
    mask = (1 << 8 * store.size) - 1
    for old in VALUES:
        for value in EDGES:
            # The register of a bit's number may reach beyond the operand.
            operand = value & 63 if store.kind in (BIT_SET, BIT_RESET, BIT_COMPLEMENT) else value
            cpu.mem_write(0x2000, struct.pack("<Q", old))
            cpu.reg_write(x86.UC_X86_REG_RBX, 0x2000)
            for register in (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RCX, x86.UC_X86_REG_R8):
                cpu.reg_write(register, operand)
            cpu.reg_write(x86.UC_X86_REG_EFLAGS, 0x202 | FLAG_CARRY)
            cpu.emu_start(0x1000, 0x1000 + len(code) // 2)
            given = (operand if store.register else store.immediate) & mask
            new, flags = compute(store, old & mask, given, operand & mask, 0x202 | FLAG_CARRY)
            assert new == struct.unpack("<Q", cpu.mem_read(0x2000, 8))[0] & mask
            defined = ARITHMETIC_FLAGS & ~UNDEFINED.get(store.kind, 0)
            assert flags & defined == cpu.reg_read(x86.UC_X86_REG_EFLAGS) & defined


@pytest.mark.parametrize("code", UNKNOWN)
def test_other_instructions_are_left_to_the_cpu(code: str) -> None:
    assert decode(bytes.fromhex(code).ljust(24, b"\0"), wide=True) is None


@given(code=st.binary(min_size=15, max_size=15), wide=st.booleans())
def test_any_bytes_decode_or_not(code: bytes, wide: bool) -> None:
    store = decode(code.ljust(24, b"\0"), wide=wide)
    assert store is None or 2 <= store.length <= 20


CARRY, PARITY, ADJUST, ZERO, SIGN, OVERFLOW = 1, 4, 0x10, 0x40, 0x80, 0x800
words = st.integers(0, (1 << 64) - 1)


@given(left=words, right=words, size=st.sampled_from([1, 4, 8]))
def test_compare_flags(left: int, right: int, size: int) -> None:
    mask = (1 << 8 * size) - 1
    left, right = left & mask, right & mask

    def signed(value: int) -> int:
        return value - (mask + 1) if value >> (8 * size - 1) else value

    flags = compare_flags(0xFFFF_F7FF & ~0x8D5 | 0x202, left, right, size)
    assert bool(flags & ZERO) == (left == right)
    assert bool(flags & CARRY) == (left < right)
    assert bool(flags & SIGN) != bool(flags & OVERFLOW) or signed(left) >= signed(right)
    assert (bool(flags & SIGN) != bool(flags & OVERFLOW)) == (signed(left) < signed(right))
    assert bool(flags & ADJUST) == (left & 15 < right & 15)
    assert bool(flags & PARITY) == (bin((left - right) & 0xFF).count("1") % 2 == 0)
    assert flags & 0x202 == 0x202


@given(result=words, size=st.sampled_from([1, 4, 8]))
def test_logic_flags(result: int, size: int) -> None:
    result &= (1 << 8 * size) - 1
    flags = logic_flags(0xFFFF, result, size)
    assert not flags & (CARRY | OVERFLOW | ADJUST)
    assert bool(flags & ZERO) == (result == 0) and bool(flags & SIGN) == bool(result >> (8 * size - 1))
