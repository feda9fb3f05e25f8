"""The page of hypercall stubs (Xen: xen/arch/x86/pv/hypercall.c, hypercall_page_initialise_ring3/1)."""

from __future__ import annotations

from pvboot.xen.constants import HYPERCALL_NUMBERS
from pvboot.xen.paging import PAGE_SIZE

IRET = HYPERCALL_NUMBERS["iret"]
SLOT_BYTES = 32
SLOTS = PAGE_SIZE // SLOT_BYTES
TRAP_FILL = b"\xcc"


def _stub(width: int, number: int) -> bytes:
    move = b"\xb8" + number.to_bytes(4, "little")  # mov eax, number
    if width == 32:
        return b"\x50" + move + b"\xcd\x82" if number == IRET else move + b"\xcd\x82\xc3"
    if number == IRET:
        return b"\x51\x41\x53\x50" + move + b"\x0f\x05"
    return b"\x51\x41\x53" + move + b"\x0f\x05\x41\x5b\x59\xc3"


def hypercall_page(width: int) -> bytes:
    """The page's contents for a 64-bit or 32-bit guest."""
    return b"".join(_stub(width, number).ljust(SLOT_BYTES, TRAP_FILL) for number in range(SLOTS))
