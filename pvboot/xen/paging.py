"""Page tables of the two kinds of PV guests: 64-bit ones with four levels, 32-bit (PAE) ones with three.

`level` counts from 1 (L1, leaf tables) to the top.  Sources: the processor manuals; xen-x86_64.h and xen-x86_32.h for
the form of cr3.
"""

from __future__ import annotations

from typing import Final

PAGE_SIZE: Final = 4096
PAGE_SHIFT: Final = 12
ENTRIES: Final = 512  # of a table; also the 64-bit words of a frame

PTE_PRESENT: Final = 1 << 0
PTE_RW: Final = 1 << 1
PTE_USER: Final = 1 << 2
PTE_ACCESSED: Final = 1 << 5
PTE_DIRTY: Final = 1 << 6
PTE_SUPERPAGE: Final = 1 << 7
PTE_GLOBAL: Final = 1 << 8
PTE_GUEST_KERNEL: Final = 1 << 52  # Xen's own mark of a 64-bit guest kernel's pages
PTE_NX: Final = 1 << 63
PTE_FRAME: Final = 0x000F_FFFF_FFFF_F000  # bits that hold the frame's address

LEAF_PROT: Final = PTE_PRESENT | PTE_RW | PTE_ACCESSED
TABLE_PROT: Final = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY

# The hypervisor's part of a guest's address space, which begins with the M2P.
HYPERVISOR_VIRT_START: Final = {64: 0xFFFF_8000_0000_0000, 32: 0xF580_0000}
HYPERVISOR_VIRT_END: Final = {64: 0xFFFF_8800_0000_0000, 32: 1 << 32}
# Slots that belong to the hypervisor: of every L4, and of the L2 in a PAE guest's last L3 slot.
FIRST_XEN_L4_SLOT: Final = 256
LAST_XEN_L4_SLOT: Final = 271
FIRST_XEN_L2_SLOT: Final = 428


def levels_of(width: int) -> int:
    """Levels of page tables: 4 for 64-bit guests, 3 for PAE ones."""
    return 4 if width == 64 else 3


def va_mask(width: int) -> int:
    """The bits of a virtual address that select page-table entries (and the offset)."""
    return (1 << 48) - 1 if width == 64 else (1 << 32) - 1


def level_shift(level: int) -> int:
    """Bits of a virtual address below the index into a table of this level."""
    return PAGE_SHIFT + 9 * (level - 1)


def canonical(width: int, va: int) -> int:
    """A masked virtual address as the processor wants it."""
    return va | 0xFFFF << 48 if width == 64 and va >> 47 & 1 else va


def is_guest_address(width: int, va: int) -> bool:
    """Whether an address is the guest's to use: canonical and outside the hypervisor's range."""
    if width == 32:
        return 0 <= va < HYPERVISOR_VIRT_START[32]
    return 0 <= va < 1 << 47 or HYPERVISOR_VIRT_END[64] <= va < 1 << 64


def pfn_to_cr3(width: int, mfn: int) -> int:
    """The cr3 value for a top-level table; a PAE guest's is folded to reach frames above 4 GiB (extended cr3)."""
    return mfn << 12 if width == 64 else (mfn << 12 | mfn >> 20) & 0xFFFFFFFF


def cr3_to_pfn(width: int, cr3: int) -> int:
    """The frame that a cr3 value names."""
    return cr3 >> 12 if width == 64 else (cr3 >> 12 | cr3 << 20) & 0xFFFFFFFF
