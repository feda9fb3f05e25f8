"""Code that changes without the CPU's notice: a guest always executes what memory holds."""

from __future__ import annotations

import struct

import pytest

from pvboot.xen.paging import PTE_NX
from tests.machine.guests import DATA_PAGE, SPARE_PAGE, Guest

# `change` turns the function at `spare` from one that returns 1 into one that returns 2.
GUEST = """
    .macro map address, entry       # update_va_mapping
        mov $\\address, %rdi
        mov \\entry, %rsi
        mov $2, %edx
        hypercall 14
    .endm
    .set entry_alias, data + 0x10   # no-execute
    .set entry_code, data + 0x18
    .set none, data + 0x20
    start:
        mov $spare, %rbx
        call *%rbx
        mov %eax, data
        {change}
        mov $spare, %rbx
        call *%rbx
        mov %eax, data + 4
        shutdown 0
    .balign 8
    update: .quad 0, 0              # address and value
    copy: .quad 17, 0, 0            # MMUEXT_COPY_PAGE, target, source
"""
# The first store through a fresh translation is noticed, hence two.
CHANGES = {
    "an alias that goes": """
        map spare+0x1000, entry_alias
        movb $0x90, spare + 0x1ff0
        movl $2, spare + 0x1001
        map spare+0x1000, none""",
    "write, then execute": """
        map spare, entry_alias
        movb $0x90, spare + 0xff0
        movl $2, spare + 1
        map spare, entry_code""",
    "a copied page": """
        movq data + 0x28, %rax; movq %rax, copy + 8
        movq data + 0x30, %rax; movq %rax, copy + 16
        movq $copy, %rdi; movl $1, %esi; xorl %edx, %edx; movl $0x7ff0, %r10d
        hypercall 26""",
    "a word written by a hypercall": """
        movq data + 0x28, %rax; shlq $12, %rax; movq %rax, update
        movq data + 0x38, %rax; movq %rax, update + 8
        movq $update, %rdi; movl $1, %esi; xorl %edx, %edx; movl $0x7ff0, %r10d
        hypercall 1""",
}


def function(value: int) -> bytes:
    return b"\xb8" + struct.pack("<I", value) + b"\xc3\x90\x90"  # mov $value, %eax; ret


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_code_is_executed(change: str) -> None:
    guest = Guest(64, GUEST.format(change=change))
    code, source = guest.mfn(SPARE_PAGE), guest.mfn(SPARE_PAGE + 2)
    guest.poke(SPARE_PAGE, 0, function(1))
    guest.poke(SPARE_PAGE + 2, 0, function(2))
    entry = code << 12 | 0x67
    word = struct.unpack("<Q", function(2))[0]
    guest.poke_ints(DATA_PAGE, 0x10, entry | PTE_NX, entry, 0, code, source, word, size=8)
    outcome = guest.run_to_power_off()
    assert [guest.peek_int(DATA_PAGE), guest.peek_int(DATA_PAGE, 4)] == [1, 2]
    assert outcome.counters["frames of changed code"] >= 1


def test_unchanged_code_is_kept() -> None:
    """Turning a page no-execute and back costs no translation."""
    change = "map spare, entry_alias; map spare, entry_code; map spare, entry_alias; map spare, entry_code"
    guest = Guest(64, GUEST.format(change=change.replace("; ", "\n")))
    guest.poke(SPARE_PAGE, 0, function(1))
    entry = guest.mfn(SPARE_PAGE) << 12 | 0x67
    guest.poke_ints(DATA_PAGE, 0x10, entry | PTE_NX, entry, size=8)
    outcome = guest.run_to_power_off()
    assert guest.peek_int(DATA_PAGE, 4) == 1
    assert outcome.counters["frames of changed code"] == 1  # its contents were not known the first time


def test_more_frames_than_the_window_has_pages() -> None:
    guest = Guest(64, "start: shutdown 0")
    domain = guest.machine.domain
    guest.run_to_power_off()
    for mfn in [guest.mfn(SPARE_PAGE)] * 1200:
        domain.code.seen[mfn] = 1
        domain.code.written(mfn)
    assert domain.code.dropped >= 1200
