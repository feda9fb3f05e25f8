"""Stores of the guest kernel to its own, read-only mapped L1 tables, which Xen performs for it with a check.

The few instructions that kernels use for this are decoded here; for any other the run loop lets the CPU execute it
on a copy of the table and then applies what has changed (`run.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

REGISTERS = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di", *(f"r{number}" for number in range(8, 16)))
LOCK_AND_SEGMENTS = frozenset(b"\xf0\x3e\x2e")

ADD, OR, ADC, SBB, AND, SUB, XOR, COMPARE = range(8)  # as instructions number them
MOVE, EXCHANGE, COMPARE_EXCHANGE, EXCHANGE_ADD, BIT_SET, BIT_RESET, BIT_COMPLEMENT, NOT, NEGATE, INC, DEC = range(8, 19)
ARITHMETIC = frozenset((ADD, OR, AND, SUB, XOR))  # those of the first eight that are performed here
BITS = {5: BIT_SET, 6: BIT_RESET, 7: BIT_COMPLEMENT}
FROM_REGISTER = {
    0x89: MOVE,
    0x87: EXCHANGE,
    0x0FB1: COMPARE_EXCHANGE,
    0x0FC1: EXCHANGE_ADD,
    0x0FAB: BIT_SET,
    0x0FB3: BIT_RESET,
    0x0FBB: BIT_COMPLEMENT,
    **{kind << 3 | 1: kind for kind in ARITHMETIC},
}
# (opcode, number in ModRM) of the forms without a second operand.
UNARY = {(0xF7, 2): NOT, (0xF7, 3): NEGATE, (0xFF, 0): INC, (0xFF, 1): DEC}


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
    if (opcode, number) in UNARY:
        return PageWrite(UNARY[opcode, number], size, "", 0, end)
    if opcode == 0x80 and number in ARITHMETIC:
        return PageWrite(number, 1, "", code[end], end + 1)
    if opcode == 0x0FBA and number in BITS:
        return PageWrite(BITS[number], size, "", code[end], end + 1)
    is_move = opcode == 0xC7 and number == 0
    if is_move or (opcode in (0x81, 0x83) and number in ARITHMETIC):
        bytes_left = 1 if opcode == 0x83 else 4
        value = int.from_bytes(code[end : end + bytes_left], "little", signed=True) & ((1 << 8 * size) - 1)
        return PageWrite(MOVE if is_move else number, size, "", value, end + bytes_left)
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


def add_flags(flags: int, left: int, right: int, size: int) -> int:
    """Flags after left + right."""
    bits = 8 * size
    result = (left + right) & ((1 << bits) - 1)
    flags = logic_flags(flags, result, size)
    if result < left:
        flags |= FLAG_CARRY
    if (left ^ result) & (right ^ result) & 1 << (bits - 1):
        flags |= FLAG_OVERFLOW
    if (left ^ right ^ result) & 0x10:
        flags |= FLAG_ADJUST
    return flags


def compute(store: PageWrite, old: int, operand: int, accumulator: int, flags: int) -> tuple[int, int]:
    """The memory operand after a store, and the flags; `operand` is its register's value or its immediate."""
    kind, size = store.kind, store.size
    mask = (1 << 8 * size) - 1
    if kind in (MOVE, EXCHANGE):
        return operand, flags
    if kind in (AND, OR, XOR):
        new = old & operand if kind == AND else old | operand if kind == OR else old ^ operand
        return new, logic_flags(flags, new, size)
    if kind in (ADD, EXCHANGE_ADD):
        return (old + operand) & mask, add_flags(flags, old, operand, size)
    if kind == SUB:
        return (old - operand) & mask, compare_flags(flags, old, operand, size)
    if kind == NEGATE:
        return -old & mask, compare_flags(flags, 0, old, size)
    if kind == NOT:
        return ~old & mask, flags
    if kind == COMPARE_EXCHANGE:
        return operand if accumulator == old else old, compare_flags(flags, accumulator, old, size)
    if kind in (INC, DEC):
        after = add_flags(flags, old, 1, size) if kind == INC else compare_flags(flags, old, 1, size)
        return (old + 1 if kind == INC else old - 1) & mask, after & ~FLAG_CARRY | flags & FLAG_CARRY
    bit = 1 << (operand & (8 * size - 1))
    new = old | bit if kind == BIT_SET else old & ~bit if kind == BIT_RESET else old ^ bit
    return new, flags & ~FLAG_CARRY | (FLAG_CARRY if old & bit else 0)
