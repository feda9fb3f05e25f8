"""Decoding of stores to page tables, compared with the assembler; flags compared with the host's arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.machine.pagewrite import (
    AND_BYTE,
    COMPARE_EXCHANGE,
    EXCHANGE,
    MOVE_IMMEDIATE,
    MOVE_REGISTER,
    PageWrite,
    compare_flags,
    decode,
    logic_flags,
)

# machine code, what it is (assembled by gas)
KNOWN64 = [
    ("48890b", "mov %rcx,(%rbx)", PageWrite(MOVE_REGISTER, 8, "cx", 0, 3)),
    ("4d890424", "mov %r8,(%r12)", PageWrite(MOVE_REGISTER, 8, "r8", 0, 4)),
    ("48894508", "mov %rax,8(%rbp)", PageWrite(MOVE_REGISTER, 8, "ax", 0, 4)),
    ("4889849310270000", "mov %rax,10000(%rbx,%rdx,4)", PageWrite(MOVE_REGISTER, 8, "ax", 0, 8)),
    ("48890512000000", "mov %rax,18(%rip)", PageWrite(MOVE_REGISTER, 8, "ax", 0, 7)),
    ("4889042500100000", "mov %rax,0x1000", PageWrite(MOVE_REGISTER, 8, "ax", 0, 8)),
    ("890b", "mov %ecx,(%rbx)", PageWrite(MOVE_REGISTER, 4, "cx", 0, 2)),
    ("48c70300000000", "movq $0,(%rbx)", PageWrite(MOVE_IMMEDIATE, 8, "", 0, 7)),
    ("48c74310ffffffff", "movq $-1,16(%rbx)", PageWrite(MOVE_IMMEDIATE, 8, "", (1 << 64) - 1, 8)),
    ("c7030000f0ff", "movl $0xfff00000,(%rbx)", PageWrite(MOVE_IMMEDIATE, 4, "", 0xFFF00000, 6)),
    ("488703", "xchg %rax,(%rbx)", PageWrite(EXCHANGE, 8, "ax", 0, 3)),
    ("f0490fb10f", "lock cmpxchg %rcx,(%r15)", PageWrite(COMPARE_EXCHANGE, 8, "cx", 0, 5)),
    ("3e498023df", "ds andb $0xdf,(%r11)", PageWrite(AND_BYTE, 1, "", 0xDF, 5)),
    ("f08063017f", "lock andb $0x7f,1(%rbx)", PageWrite(AND_BYTE, 1, "", 0x7F, 5)),
]
KNOWN32 = [
    ("8913", "mov %edx,(%ebx)", PageWrite(MOVE_REGISTER, 4, "dx", 0, 2)),
    ("895304", "mov %edx,4(%ebx)", PageWrite(MOVE_REGISTER, 4, "dx", 0, 3)),
    ("891500100000", "mov %edx,0x1000", PageWrite(MOVE_REGISTER, 4, "dx", 0, 6)),
    ("c70300000000", "movl $0,(%ebx)", PageWrite(MOVE_IMMEDIATE, 4, "", 0, 6)),
    ("8703", "xchg %eax,(%ebx)", PageWrite(EXCHANGE, 4, "ax", 0, 2)),
]
UNKNOWN = ["0f1103", "480903", "f00fc70b", "4889c3", "90", "488303ff", "48f703ffffffff"]


@pytest.mark.parametrize(("code", "text", "store"), KNOWN64, ids=[case[1] for case in KNOWN64])
def test_64_bit_forms(code: str, text: str, store: PageWrite) -> None:
    assert decode(bytes.fromhex(code).ljust(24, b"\0"), wide=True) == store


@pytest.mark.parametrize(("code", "text", "store"), KNOWN32, ids=[case[1] for case in KNOWN32])
def test_32_bit_forms(code: str, text: str, store: PageWrite) -> None:
    assert decode(bytes.fromhex(code).ljust(24, b"\0"), wide=False) == store


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
