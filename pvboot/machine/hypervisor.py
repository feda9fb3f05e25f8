"""The hypervisor's own mappings in every guest address space: M2P (read-only), descriptor area, entry page.

The descriptor area follows Xen's rule: pages 0 ... 13 of the GDT are the guest's, page 14 holds the flat segments with
the selectors of the public headers.  Behind it lies the entry page, from which the CPU first enters the guest.
"""

from __future__ import annotations

import numpy as np

from pvboot.machine.errors import MachineError
from pvboot.machine.memory import M2P_MFN, SUPERPAGE_FRAMES, Memory
from pvboot.xen.constants import (
    FIRST_RESERVED_GDT_PAGE,
    FLAT_RING1_CS,
    FLAT_RING1_DS,
    FLAT_RING3_CS32,
    FLAT_RING3_CS64,
    FLAT_RING3_SS64,
)
from pvboot.xen.paging import (
    FIRST_XEN_L2_SLOT,
    FIRST_XEN_L4_SLOT,
    HYPERVISOR_VIRT_START,
    LAST_XEN_L4_SLOT,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_FRAME,
    PTE_NX,
    PTE_PRESENT,
    PTE_SUPERPAGE,
    PTE_USER,
    TABLE_PROT,
)

# Xen's per-domain area, L4 slot 260; for 32-bit guests the last L2 slot, at which their M2P window ends.
GDT_VA = {64: 0xFFFF_8200_0000_0000, 32: 0xFFE0_0000}
GDT_L4_SLOT = 260
ENTRY_PAGE = 16  # page number within the area; 14 and 15 are the reserved GDT pages
WINDOW_PAGES = range(ENTRY_PAGE + 1, 512)  # map one frame each for a moment
GDT_LIMIT = 16 * 4096 - 0x1001

ENTRY_FRAME_OFFSET = 0x400
UNTIL_OFFSET = 0x808
TSC_CODE_OFFSET = 0x900

RING0_CODE = 0xE008
RING0_DATA = 0xE010
# Selector -> descriptor (base 0, limit 4 GiB, accessed).
FLAT_SEGMENTS = {
    64: {
        RING0_CODE: 0x00AF9B000000FFFF,
        RING0_DATA: 0x00CF93000000FFFF,
        FLAT_RING3_CS32: 0x00CFFB000000FFFF,
        FLAT_RING3_SS64: 0x00CFF3000000FFFF,
        FLAT_RING3_CS64: 0x00AFFB000000FFFF,
    },
    32: {
        RING0_CODE: 0x00CF9B000000FFFF,
        RING0_DATA: 0x00CF93000000FFFF,
        FLAT_RING1_CS: 0x00CFBB000000FFFF,
        FLAT_RING1_DS: 0x00CFB3000000FFFF,
        0xE02B: 0x00CFFB000000FFFF,  # FLAT_RING3_CS of 32-bit guests
        0xE033: 0x00CFF3000000FFFF,  # FLAT_RING3_DS of 32-bit guests
    },
}

PRIVATE_LEAF = PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY


class Hypervisor:
    """Frames and addresses of the hypervisor's mappings; `slots` is what goes into each top table or slot-3 L2."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.wide = memory.width == 64
        self.gdt_va = GDT_VA[memory.width]
        self.entry_va = self.gdt_va + ENTRY_PAGE * 4096
        self.m2p_va = HYPERVISOR_VIRT_START[memory.width]
        self._zero = memory.private_frame()
        self._segments = memory.private_frame()
        self.entry_mfn = memory.private_frame()
        self.pae_root_mfn = memory.private_frame()
        self.scratch_mfn = memory.private_frame()
        self._area_l1 = memory.private_frame()
        self._next_window = WINDOW_PAGES.start
        self._fill_area()
        self.slots = self._wide_slots() if self.wide else self._pae_slots()

    def _fill_area(self) -> None:
        words = self._memory.words
        for page in range(FIRST_RESERVED_GDT_PAGE + 2):
            words[self._area_l1 * 512 + page] = self._zero << 12 | PRIVATE_LEAF
        words[self._area_l1 * 512 + FIRST_RESERVED_GDT_PAGE] = self._segments << 12 | PRIVATE_LEAF
        # The guest's ring must be able to fetch here: the engine enters and stops at addresses in this page.
        words[self._area_l1 * 512 + ENTRY_PAGE] = self.entry_mfn << 12 | PRIVATE_LEAF | PTE_USER
        first = FIRST_RESERVED_GDT_PAGE * 512
        for selector, descriptor in FLAT_SEGMENTS[self._memory.width].items():
            words[self._segments * 512 + (selector >> 3) - first] = descriptor
        iret = b"\x48\xcf" if self.wide else b"\xcf"
        self._memory.page(self.entry_mfn)[:] = b"\x90" * 4096
        self._memory.write(self.entry_mfn, 0, iret)

    def _superpages(self, flags: int) -> list[int]:
        count = self._memory.m2p_frames // SUPERPAGE_FRAMES
        return [(M2P_MFN + index * SUPERPAGE_FRAMES) << 12 | PTE_SUPERPAGE | flags for index in range(count)]

    def _wide_slots(self) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        memory = self._memory
        m2p_l3, m2p_l2, area_l3, area_l2 = (memory.private_frame() for _ in range(4))
        entries = self._superpages(PTE_PRESENT | PTE_ACCESSED | PTE_USER | PTE_NX)
        if len(entries) > 512:
            raise MachineError("the guest is too large for the machine's M2P")
        memory.frames[m2p_l2, : len(entries)] = entries
        memory.words[m2p_l3 * 512] = m2p_l2 << 12 | PTE_PRESENT | PTE_ACCESSED | PTE_USER
        memory.words[area_l2 * 512] = self._area_l1 << 12 | TABLE_PROT
        memory.words[area_l3 * 512] = area_l2 << 12 | TABLE_PROT
        slots = np.zeros(LAST_XEN_L4_SLOT - FIRST_XEN_L4_SLOT + 1, dtype=np.uint64)
        slots[0] = m2p_l3 << 12 | TABLE_PROT
        slots[GDT_L4_SLOT - FIRST_XEN_L4_SLOT] = area_l3 << 12 | TABLE_PROT
        return slots

    def _pae_slots(self) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        slots = np.zeros(512 - FIRST_XEN_L2_SLOT, dtype=np.uint64)
        entries = self._superpages(PTE_PRESENT | PTE_ACCESSED | PTE_NX)
        if len(entries) >= len(slots):
            raise MachineError("the guest is too large for a 32-bit guest's M2P")
        slots[: len(entries)] = entries
        # No write permission at this level: ring 1 counts as supervisor for the pages below.
        slots[-1] = self._area_l1 << 12 | PTE_PRESENT | PTE_ACCESSED
        return slots

    def map_gdt(self, frames: list[int]) -> None:
        """Let the first pages of the descriptor area be these frames, the rest empty."""
        for page in range(FIRST_RESERVED_GDT_PAGE):
            mfn = frames[page] if page < len(frames) else self._zero
            self._memory.words[self._area_l1 * 512 + page] = mfn << 12 | PRIVATE_LEAF

    def open_window(self, mfn: int) -> tuple[int, bool]:
        """Map a frame executable; the address, and whether it was not used since all addresses were.

        The CPU may still hold its last translation of an address that was used before.
        """
        fresh = self._next_window < WINDOW_PAGES.stop
        page = self._next_window if fresh else WINDOW_PAGES.start
        self._next_window = page + 1
        self._memory.words[self._area_l1 * 512 + page] = mfn << 12 | PRIVATE_LEAF | PTE_USER
        return self.gdt_va + page * 4096, fresh

    def close_window(self, address: int) -> None:
        """Undo `open_window`."""
        self._memory.words[self._area_l1 * 512 + (address - self.gdt_va) // 4096] = 0

    def load_pae_root(self, mfn: int) -> int:
        """Copy a PAE top table where cr3 can reach it (below 4 GiB); the machine address to load.

        Present and address bits only: a PAE walk reserves the others.
        """
        words = self._memory.words
        for index in range(4):
            words[self.pae_root_mfn * 512 + index] = words[mfn * 512 + index] & (PTE_FRAME | PTE_PRESENT)
        return self.pae_root_mfn << 12
