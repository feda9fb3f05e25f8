"""`KernelImage`: a kernel as the domain planner sees it, whatever file it came in."""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.xen.paging import PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the kernel segment: `data` at `offset` bytes from `virt_kstart`, zeros up to `size` bytes.

    Pieces are applied in order; a later one overwrites an earlier one, zeros included.
    """

    offset: int
    data: memoryview
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelParms:
    """The statements of a kernel's notes or `__xen_guest`, None, "" or 0 where absent (elf_dom_parms of Xen).

    Addresses are virtual and unsigned.  `pae` is one of "no", "yes" (page directory below 4 GiB),
    "yes[extended-cr3]", "bimodal".
    """

    hypercall_page: int | None = None
    p2m_base: int | None = None  # INIT_P2M as the kernel states it; the planner judges it
    hv_start_low: int | None = None
    phys_entry: int | None = None
    pae: str = "no"
    unmapped_initrd: bool = False
    bsd_symtab: bool = False
    guest_os: str = ""
    guest_version: str = ""
    xen_version: str = ""
    loader: str = ""
    features_supported: int = 0
    features_required: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelImage(KernelParms):
    """A kernel that a PV domain can start.

    `width` is 64 or 32 and follows e_machine, not EI_CLASS.  The kernel segment is [virt_kstart, virt_kend), filled by
    `pieces`, zero elsewhere.  A BSD symbol table may end behind virt_kend (as in Xen), but never behind its last page.
    """

    name: str
    container: str  # "elf", "elf.gz", "bzImage/<codec>" ("none" is a codec too), "bin", "bin.gz"
    width: int
    guest_type: str  # "xen-3.0-x86_64" or "xen-3.0-x86_32p"
    virt_base: int
    virt_entry: int
    virt_kstart: int
    virt_kend: int
    paddr_offset: int
    pieces: tuple[Piece, ...]
    features_active: int = 0  # required by the kernel or insisted on by the caller
    elf_size: int = 0  # bytes of the unpacked file

    @property
    def usable_p2m_base(self) -> int | None:
        """INIT_P2M if the builder honours it: 64-bit, page aligned, below VIRT_BASE; else it is silently dropped.

        Source: alloc_p2m_list_x86_64 and its callers in tools/libs/guest/xg_dom_x86.c.
        """
        base = self.p2m_base
        if base is None or self.width != 64 or base % PAGE_SIZE or base >= self.virt_base:
            return None
        return base
