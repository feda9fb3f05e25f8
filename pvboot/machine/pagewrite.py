"""Stores of the guest kernel to its own, read-only mapped L1 tables, which Xen performs for it with a check.

The few instructions that kernels use for this are decoded here; for any other the run loop lets the CPU execute it
on a copy of the table and then applies what has changed (`run.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

REGISTERS = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di", *(f"r{number}" for number in range(8, 16)))
LOCK_AND_SEGMENTS = frozenset(b"\xf0\x3e\x2e")

MOVE_REGISTER, MOVE_IMMEDIATE, EXCHANGE, AND_BYTE, COMPARE_EXCHANGE = range(5)
FROM_REGISTER = {0x89: MOVE_REGISTER, 0x87: EXCHANGE, 0x0FB1: COMPARE_EXCHANGE}


@dataclass(frozen=True, slots=True)
class PageWrite:
    """A decoded store: what it does, its operand size, register or immediate, and the instruction's length."""

    kind: int
    size: int
    register: str
    immediate: int
    length: int


def _operand_end(code: bytes, at: int, wide: bool) -> int | None:
    """The end of a ModRM memory operand; None for a register operand."""
    modrm = code[at]
    mode = modrm >> 6
    if mode == 3:
        return None
    end = at + 1
    if modrm & 7 == 4:
        base = code[end] & 7
        end += 1
        if mode == 0 and base == 5:
            end += 4
    elif mode == 0 and modrm & 7 == 5:
        end += 4
    return end + {0: 0, 1: 1, 2: 4}[mode]


def decode(code: bytes, *, wide: bool) -> PageWrite | None:
    """The store at the start of `code` (padded to at least 15 bytes), or None if it is not one of the known forms."""
    at = 0
    while at < 4 and code[at] in LOCK_AND_SEGMENTS:
        at += 1
    rex = 0
    if wide and 0x40 <= code[at] <= 0x4F:
        rex = code[at]
        at += 1
    size = 8 if rex & 8 else 4
    opcode = code[at]
    at += 1
    if opcode == 0x0F:
        opcode = 0x0F00 | code[at]
        at += 1
    end = _operand_end(code, at, wide)
    if end is None:
        return None
    number = code[at] >> 3 & 7
    register = REGISTERS[number | (rex & 4) << 1]
    if opcode in FROM_REGISTER:
        return PageWrite(FROM_REGISTER[opcode], size, register, 0, end)
    if opcode == 0xC7 and number == 0:
        value = int.from_bytes(code[end : end + 4], "little", signed=True) & ((1 << 8 * size) - 1)
        return PageWrite(MOVE_IMMEDIATE, size, "", value, end + 4)
    if opcode == 0x80 and number == 4:
        return PageWrite(AND_BYTE, 1, "", code[end], end + 1)
    return None


FLAG_CARRY, FLAG_PARITY, FLAG_ADJUST, FLAG_ZERO, FLAG_SIGN, FLAG_OVERFLOW = 1, 4, 0x10, 0x40, 0x80, 0x800
ARITHMETIC_FLAGS = FLAG_CARRY | FLAG_PARITY | FLAG_ADJUST | FLAG_ZERO | FLAG_SIGN | FLAG_OVERFLOW


def logic_flags(flags: int, result: int, size: int) -> int:
    """Flags after and, or, xor with this result."""
    flags &= ~ARITHMETIC_FLAGS
    if not result:
        flags |= FLAG_ZERO
    if result >> (8 * size - 1) & 1:
        flags |= FLAG_SIGN
    if not (result & 0xFF).bit_count() & 1:
        flags |= FLAG_PARITY
    return flags


def compare_flags(flags: int, left: int, right: int, size: int) -> int:
    """Flags after comparing left with right (left - right)."""
    bits = 8 * size
    result = (left - right) & ((1 << bits) - 1)
    flags = logic_flags(flags, result, size)
    if left < right:
        flags |= FLAG_CARRY
    if (left ^ right) & (left ^ result) & 1 << (bits - 1):
        flags |= FLAG_OVERFLOW
    if (left ^ right ^ result) & 0x10:
        flags |= FLAG_ADJUST
    return flags
