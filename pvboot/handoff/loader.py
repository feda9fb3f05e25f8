"""The running loader of the embedded machine: a small domain like PV-GRUB's, from which the plan departs.

It is a PV guest in its own right: built by the layout rules, with its own page tables, p2m list, start_info and
rings, in low pages that the new kernel's slots want, too.  Its image holds a page for the trampoline and one for
the hypercall page; the executor plays its code.
"""

from __future__ import annotations

from typing import Final

from pvboot.kernel.image import KernelImage
from pvboot.xen.constants import GUEST_TYPES
from pvboot.xen.paging import PAGE_SIZE

IMAGE_PAGES: Final = 512  # 2 MiB, the size of a small Mini-OS application with its heap
HYPERCALL_PFN: Final = 1
TRAMPOLINE_PFN: Final = 2


def loader_kernel(width: int) -> KernelImage:
    """The loader as a kernel at virtual address 0."""
    return KernelImage(
        name="pvboot loader",
        container="bin",
        width=width,
        guest_type=GUEST_TYPES[width],
        virt_base=0,
        virt_entry=0,
        virt_kstart=0,
        virt_kend=IMAGE_PAGES * PAGE_SIZE,
        paddr_offset=0,
        pieces=(),
        hypercall_page=HYPERCALL_PFN * PAGE_SIZE,
        pae="yes[extended-cr3]",
        guest_os="pvboot",
        xen_version="xen-3.0",
        loader="generic",
    )
