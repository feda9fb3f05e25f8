"""Contents of a domain: everything that the domain builder writes into the slots of a layout, for a given p2m.

A `Write` is one piece of the domain's pseudo-physical memory.  Nothing is copied here: kernel and
ramdisk stay where their owner has them until an executor moves them into frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvboot.errors import PlanError
from pvboot.kexec.layout import DomainLayout
from pvboot.kexec.pagetables import fill_tables
from pvboot.kexec.vcpu import VcpuContext
from pvboot.xen._formats import START_INFO, VCPU_CONTEXT, VCPU_INFO_OFFSETS, StartInfo
from pvboot.xen.constants import XEN_LEGACY_MAX_VCPUS
from pvboot.xen.paging import PAGE_SIZE

if TYPE_CHECKING:
    from pvboot.kexec.pagetables import FrameArray

FIRST_HIGH_MFN = 0x100000  # first frame that lies above 4 GiB


@dataclass(frozen=True, slots=True)
class Write:
    """`size` bytes at pseudo-physical address `address` (PFN * 4096 + offset): `data`, or zeros where it is None."""

    address: int
    size: int
    data: memoryview | None


@dataclass(frozen=True, slots=True, eq=False)
class DomainImage:
    """A layout with frames: everything that has to be in memory and registers when the kernel starts.

    `p2m` is uint64[nr_pages]; `tables[m]` has shape (tables of mapping m, 512); `m2p_moves` are (mfn, pfn) pairs
    for frames that were traded with the hypervisor (a page directory below 4 GiB).
    """

    layout: DomainLayout
    p2m: FrameArray
    shared_info_mfn: int
    start_info: bytes
    tables: tuple[FrameArray, ...]
    vcpu: VcpuContext
    m2p_moves: tuple[tuple[int, int], ...] = ()

    @property
    def root_mfn(self) -> int:
        """Frame of the top-level page table."""
        return int(self.p2m[self.layout.segment("pgtables").pfn])

    def mfn_of(self, segment: str) -> int:
        """Frame of a one-page segment."""
        return int(self.p2m[self.layout.segment(segment).pfn])

    def writes(self) -> Iterator[Write]:
        """All contents in the builder's order; places that no write names are zero in a fresh domain."""
        yield from self.kernel_writes()
        yield from self.ramdisk_writes()
        yield from self.page_writes()

    def kernel_writes(self) -> Iterator[Write]:
        """The kernel's pieces; a later one, zeros included, overwrites an earlier one."""
        base = self.layout.segment("kernel").pfn * PAGE_SIZE
        for piece in self.layout.kernel.pieces:
            end = base + piece.offset + len(piece.data)
            if len(piece.data):
                yield Write(base + piece.offset, len(piece.data), piece.data)
            if piece.size > len(piece.data):
                yield Write(end, piece.size - len(piece.data), None)

    def ramdisk_writes(self) -> Iterator[Write]:
        """The ramdisk in chunks, if there is one."""
        if self.layout.ramdisk is not None:
            base = self.layout.segment("ramdisk").pfn * PAGE_SIZE
            for offset, data in self.layout.ramdisk.chunks():
                yield Write(base + offset, len(data), data)

    def page_writes(self) -> Iterator[Write]:
        """The contents that the builder itself makes: p2m list, start_info, page tables."""
        yield self._p2m_write()
        info = memoryview(self.start_info)
        yield Write(self.layout.segment("start_info").pfn * PAGE_SIZE, len(info), info)
        for mapping, array in zip(self.layout.mappings, self.tables, strict=True):
            if mapping.table_count:
                data = array.data.cast("B")
                yield Write(mapping.first_table_pfn * PAGE_SIZE, len(data), data)

    def _p2m_write(self) -> Write:
        import numpy as np

        base = self.layout.segment("p2m").pfn * PAGE_SIZE
        entries = self.p2m if self.layout.width == 64 else self.p2m.astype(np.uint32)
        data = np.ascontiguousarray(entries).data.cast("B")
        return Write(base, len(data), data)

    def tables_by_slot(self) -> dict[int, FrameArray]:
        """PFN of each page table -> its 512 entries."""
        rows = (row for array in self.tables for row in array)
        return dict(zip(self.layout.table_slots, rows, strict=True))

    def shared_info(self) -> bytes:
        """The shared_info page: upcalls masked for all 32 vCPUs, the rest zero."""
        at = VCPU_INFO_OFFSETS[self.layout.width]
        page = bytearray(PAGE_SIZE)
        for vcpu in range(XEN_LEGACY_MAX_VCPUS):
            page[vcpu * at.SIZE + at.evtchn_upcall_mask] = 1
        return bytes(page)

    def grant_entries(self) -> tuple[tuple[int, int], ...]:
        """(reference, frame) of the grants that the toolstack seeds: 0 console, 1 xenstore, both to domain 0."""
        return (0, self.mfn_of("console")), (1, self.mfn_of("xenstore"))


def build_domain(
    layout: DomainLayout, p2m: FrameArray, shared_info_mfn: int, *, low_mfn: int | None = None
) -> DomainImage:
    """Fill a layout for a domain whose slot s holds frame `p2m[s]` (uint64, one entry a page).

    A 32-bit kernel with the legacy `PAE=yes` needs its L3 below 4 GiB: `low_mfn` is the frame to trade for it, as the
    hypervisor would give one.  Raises `PlanError` if there is none.
    """
    p2m, moves = _with_low_root(layout, p2m, low_mfn)
    if layout.width == 32 and int(p2m.max()) >> 32:
        raise PlanError("a frame number does not fit a 32-bit guest", found=hex(int(p2m.max())))
    tables = tuple(fill_tables(layout.width, layout.mappings, p2m))
    root_mfn = int(p2m[layout.segment("pgtables").pfn])
    return DomainImage(
        layout=layout,
        p2m=p2m,
        shared_info_mfn=shared_info_mfn,
        start_info=pack_start_info(layout, p2m, shared_info_mfn),
        tables=tables,
        vcpu=layout.vcpu(root_mfn),
        m2p_moves=moves,
    )


def needs_low_root(layout: DomainLayout) -> bool:
    """Whether the kernel wants its page directory below 4 GiB (PAE without extended cr3)."""
    return layout.width == 32 and layout.kernel.pae == "yes"


def _with_low_root(
    layout: DomainLayout, p2m: FrameArray, low_mfn: int | None
) -> tuple[FrameArray, tuple[tuple[int, int], ...]]:
    slot = layout.segment("pgtables").pfn
    if not needs_low_root(layout) or int(p2m[slot]) < FIRST_HIGH_MFN:
        return p2m, ()
    if low_mfn is None or not 0 < low_mfn < FIRST_HIGH_MFN:
        raise PlanError(
            "the kernel needs its page directory below 4 GiB (PAE without extended-cr3) and there is no such frame",
            expected=f"a frame below {FIRST_HIGH_MFN:#x}",
            found=f"{int(p2m[slot]):#x} for page {slot:#x}",
        )
    traded = p2m.copy()
    traded[slot] = low_mfn
    return traded, ((low_mfn, slot),)


def pack_start_info(layout: DomainLayout, p2m: FrameArray, shared_info_mfn: int) -> bytes:
    """The bytes of struct start_info (1168 or 1112); addresses and MFNs as the guest will see them."""
    fields = start_info_fields(layout, p2m, shared_info_mfn)
    mask = (1 << (8 * layout.word_bytes)) - 1
    values = [fields[name] for name in StartInfo.FIELDS]
    return START_INFO[layout.width].LAYOUT.pack(*(v & mask if isinstance(v, int) else v for v in values))


def start_info_fields(layout: DomainLayout, p2m: FrameArray, shared_info_mfn: int) -> dict[str, int | bytes]:
    """Every field of start_info by its name in xen.h; texts as bytes without padding."""
    has_own_map = layout.p2m_base is not None
    p2m_segment = layout.segment("p2m")
    return {
        "magic": layout.kernel.guest_type.encode("ascii"),
        "nr_pages": layout.nr_pages,
        "shared_info": shared_info_mfn * PAGE_SIZE,
        "flags": layout.flags,
        "store_mfn": int(p2m[layout.segment("xenstore").pfn]),
        "store_evtchn": layout.store_port,
        "console_mfn": int(p2m[layout.segment("console").pfn]),
        "console_evtchn": layout.console_port,
        "pt_base": layout.va_of(layout.segment("pgtables").pfn),
        "nr_pt_frames": layout.mappings[0].table_count,
        "mfn_list": p2m_segment.vstart,
        "mod_start": layout.mod_start,
        "mod_len": layout.mod_len,
        "cmd_line": layout.cmdline,
        "first_p2m_pfn": p2m_segment.pfn if has_own_map else 0,
        "nr_p2m_frames": p2m_segment.pages if has_own_map else 0,
    }


def pack_vcpu(context: VcpuContext) -> bytes:
    """struct vcpu_guest_context (5168 / 2800 bytes) as the builder passes it to the hypervisor."""
    c = context
    selectors = (c.ss, c.ds, c.ds, c.ds, c.ds)  # ss, es, ds, fs, gs
    start = (c.vgcf_flags, c.si, c.ip, c.cs, c.rflags, c.sp, *selectors, c.ss, c.sp, c.cr3, c.dr6, c.dr7, c.vm_assist)
    return VCPU_CONTEXT[context.width].pack(*start)
