"""Page-table entries: the flags that Xen refuses, and a guest's entries as it keeps them (xen/arch/x86/pv/mm.h)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pvboot.xen.paging import PTE_ACCESSED, PTE_FRAME, PTE_GLOBAL, PTE_GUEST_KERNEL, PTE_RW, PTE_USER

# Flags a domain without devices may not set: PWT, PCD, PAT/PSE; G only in L1.
L1_FORBIDDEN = 0x098
UPPER_FORBIDDEN = 0x198
PAE_L3_FORBIDDEN = 0x198 | 0xFFF << 52


def frames_of(entries: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The frames that entries name."""
    return ((entries & np.uint64(PTE_FRAME)) >> np.uint64(12)).astype(np.int64)


def adjust_l1_entries(entries: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A 64-bit guest's L1 entries as Xen keeps them: all reachable from ring 3, kernel pages marked as such."""
    kernel = (entries & np.uint64(PTE_USER)) == 0
    marks = np.where(kernel, np.uint64(PTE_GUEST_KERNEL | PTE_USER), np.uint64(PTE_GLOBAL | PTE_USER))
    # An entry that already carries the kernel mark was adjusted before.
    marked = (entries & np.uint64(PTE_GUEST_KERNEL)) != 0
    return np.where(marked, entries | np.uint64(PTE_USER), entries | marks)


def adjust_l1_entry(entry: int) -> int:
    """`adjust_l1_entries` for one present entry."""
    if not entry & PTE_USER:
        entry |= PTE_GUEST_KERNEL
    return entry | PTE_USER if entry & PTE_GUEST_KERNEL else entry | PTE_USER | PTE_GLOBAL


def adjust_upper_entry(entry: int, level: int, *, wide: bool) -> int:
    """A present entry of an L2, L3 or L4 as Xen keeps it."""
    if not wide:
        # Xen's own long-mode walk of a PAE L3 needs both; the machine's CPU walks a copy without them.
        return entry | PTE_USER | PTE_RW if level == 3 else entry
    if level == 4:
        entry |= PTE_ACCESSED
    return entry | PTE_USER


def forbidden_flags(level: int, *, wide: bool) -> int:
    """Flags that make a present entry of this level invalid."""
    if level == 1:
        return L1_FORBIDDEN
    return PAE_L3_FORBIDDEN if level == 3 and not wide else UPPER_FORBIDDEN
