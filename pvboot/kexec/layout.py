"""Layout of a PV domain in PFN space: which segment lies where, before any frame is chosen.

The stages are those of Xen's domain builder (kernel, ramdisk, p2m list, start_info, rings, page tables, boot
stack, padding, unmapped ramdisk, unmapped p2m list); source of the rules: libxenguest's xg_dom_core.c and
xg_dom_x86.c, restated, compared with the real library in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pvboot.errors import PlanError
from pvboot.kernel.features import AUTO_TRANSLATED_PHYSMAP
from pvboot.kernel.image import KernelImage
from pvboot.kexec.pagetables import Mapping, plan_mapping
from pvboot.kexec.vcpu import VcpuContext
from pvboot.xen.constants import MAX_GUEST_CMDLINE, SIF_MOD_START_PFN, VMASST_TYPE_PAE_EXTENDED_CR3
from pvboot.xen.paging import HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START, PAGE_SIZE

SPECIAL_SEGMENTS: Final = ("console", "xenstore", "bootstack")  # a relocation gives these slots the loader's frames

SLACK_PAGES: Final = 128  # 512 KiB of free, mapped memory behind the boot stack
MAPPING_ROUND: Final = (4 << 20) - 1

MAX_PAGES: Final = 1 << 36  # 256 TiB; 32-bit guests are stopped earlier by their own limits
MAX_PAGES_32: Final = 1 << 25  # the M2P window of a 32-bit guest confines it below 2^37 bytes


class Blob(Protocol):
    """Bytes to be placed into the domain without being held a second time."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """Consecutive (offset, bytes) that cover the blob; may be called more than once."""


@dataclass(frozen=True, slots=True)
class BytesBlob:
    """A blob that lies in memory."""

    data: bytes | memoryview

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """The data as one chunk."""
        if self.data:
            yield 0, memoryview(self.data)


@dataclass(frozen=True, slots=True)
class Segment:
    """`pages` frames from slot `pfn` on.

    `vstart`, `vend` (exclusive, exact in bytes) are virtual addresses; where the segment is not mapped they are
    what the builder's running address counter showed (the reference tools print them too).
    """

    name: str
    vstart: int
    vend: int
    pfn: int
    pages: int

    @property
    def end_pfn(self) -> int:
        """First PFN behind the segment."""
        return self.pfn + self.pages


@dataclass(frozen=True, slots=True)
class DomainLayout:
    """The places of everything in a domain of `nr_pages` pages, in PFN space.

    `mappings[0]` is the initial mapping of PFNs 0.. at VIRT_BASE, `mappings[1]` (if any) the p2m list at INIT_P2M.
    `pfn_end` is the first PFN that nothing uses, `mapped_end` the virtual end of the initial mapping.
    """

    kernel: KernelImage
    nr_pages: int
    cmdline: bytes
    ramdisk: Blob | None
    flags: int
    segments: tuple[Segment, ...]
    mappings: tuple[Mapping, ...]
    pfn_end: int
    virt_end: int
    mapped_end: int
    mod_start: int
    mod_len: int
    console_port: int
    store_port: int

    @property
    def width(self) -> int:
        """64 or 32."""
        return self.kernel.width

    @property
    def word_bytes(self) -> int:
        """Bytes of a p2m entry: 8 or 4."""
        return 8 if self.kernel.width == 64 else 4

    def segment(self, name: str) -> Segment:
        """The segment of that name; KeyError if the domain has none."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise KeyError(name)

    @property
    def mapped_pages(self) -> int:
        """Pages of the initial mapping (PFN 0 up to this)."""
        return (self.mapped_end - self.kernel.virt_base) // PAGE_SIZE

    @property
    def p2m_base(self) -> int | None:
        """Virtual address of the p2m list if it has a mapping of its own (INIT_P2M), else None."""
        return self.kernel.usable_p2m_base

    @property
    def p2m_list_pages(self) -> int:
        """Pages of the p2m list itself."""
        return pages_for(self.nr_pages * self.word_bytes)

    @property
    def table_slots(self) -> list[int]:
        """PFNs of all page tables, mapping by mapping."""
        return [mapping.first_table_pfn + row for mapping in self.mappings for row in range(mapping.table_count)]

    @property
    def hypercall_slot(self) -> int | None:
        """PFN of the hypercall page, None if the kernel wants none."""
        if self.kernel.hypercall_page is None:
            return None
        return (self.kernel.hypercall_page - self.kernel.virt_base) // PAGE_SIZE

    def va_of(self, pfn: int) -> int:
        """Virtual address of a mapped slot."""
        return self.kernel.virt_base + pfn * PAGE_SIZE

    def vcpu(self, cr3_mfn: int) -> VcpuContext:
        """Start state of vCPU 0 for a top-level table in frame `cr3_mfn`."""
        extended = self.width == 32 and self.kernel.pae in ("yes[extended-cr3]", "bimodal")
        return VcpuContext(
            width=self.width,
            ip=self.kernel.virt_entry,
            sp=self.va_of(self.segment("bootstack").pfn + 1),
            si=self.va_of(self.segment("start_info").pfn),
            cr3_mfn=cr3_mfn,
            vm_assist=1 << VMASST_TYPE_PAE_EXTENDED_CR3 if extended else 0,
        )


def pages_for(size_bytes: int) -> int:
    """Pages that hold so many bytes."""
    return -(-size_bytes // PAGE_SIZE)


class _Allocator:
    """Hands out slots and virtual addresses side by side, as the domain builder does."""

    def __init__(self, kernel: KernelImage, nr_pages: int) -> None:
        self.nr_pages = nr_pages
        self.pfn = 0
        self.va = kernel.virt_base
        self.segments: list[Segment] = []

    def reserve(self, what: str, pages: int) -> tuple[int, int]:
        if pages > self.nr_pages - self.pfn:
            raise PlanError(
                f"domain memory is too small for the {what}",
                expected=f"{pages} pages from page {self.pfn} on",
                found=f"{max(self.nr_pages - self.pfn, 0)} of {self.nr_pages} pages left",
            )
        pfn, va = self.pfn, self.va
        self.pfn += pages
        self.va += pages * PAGE_SIZE
        return pfn, va

    def add(self, name: str, size_bytes: int, what: str | None = None) -> Segment:
        pages = pages_for(size_bytes)
        pfn, va = self.reserve(what or name, pages)
        segment = Segment(name, va, va + size_bytes, pfn, pages)
        self.segments.append(segment)
        return segment

    def pad_to(self, va: int, what: str) -> None:
        if va % PAGE_SIZE:
            raise PlanError(f"{what} is not page aligned", expected="a multiple of 0x1000", found=hex(va))
        if va < self.va:
            raise PlanError(f"{what} lies below memory in use", expected=f"at least {self.va:#x}", found=hex(va))
        self.reserve(f"padding up to {what}", (va - self.va) // PAGE_SIZE)


def plan_layout(
    kernel: KernelImage,
    nr_pages: int,
    *,
    ramdisk: Blob | None = None,
    cmdline: bytes = b"",
    flags: int = 0,
    console_port: int = 2,
    store_port: int = 1,
) -> DomainLayout:
    """Lay out a domain of `nr_pages` 4 KiB pages for a kernel.

    `flags` are start_info flags of the caller (SIF_MULTIBOOT_MOD for a module package).  The command line is cut to
    1023 bytes, as Xen does.  Raises `PlanError` if the memory is too small, if an address cannot be mapped in a PV
    guest (the hypervisor's area, not canonical, past the end of the address space), or if the kernel's own
    requirements cannot be met.
    """
    _check_request(kernel, nr_pages)
    slots = _Allocator(kernel, nr_pages)
    slots.pad_to(kernel.virt_kstart, "the start of the kernel")
    slots.add("kernel", kernel.virt_kend - kernel.virt_kstart)
    mod_start = mod_len = 0
    if ramdisk is not None and not kernel.unmapped_initrd:
        segment = slots.add("ramdisk", ramdisk.size)
        mod_start, mod_len = segment.vstart, ramdisk.size
    p2m_base = kernel.usable_p2m_base
    list_bytes = nr_pages * (8 if kernel.width == 64 else 4)
    if p2m_base is None:
        slots.add("p2m", pages_for(list_bytes) * PAGE_SIZE, "p2m list")
    for name in ("start_info", "xenstore", "console"):
        slots.add(name, PAGE_SIZE)
    mapping, mapped_end = _plan_initial_mapping(kernel, slots)
    slots.add("pgtables", mapping.table_count * PAGE_SIZE, "page tables")
    slots.add("bootstack", PAGE_SIZE, "boot stack")
    slots.pad_to(mapped_end, "the end of the initial mapping")
    mappings = [mapping]
    if ramdisk is not None and kernel.unmapped_initrd:
        segment = slots.add("ramdisk", ramdisk.size)
        mod_start, mod_len = segment.pfn, segment.pages * PAGE_SIZE
        flags |= SIF_MOD_START_PFN
    if p2m_base is not None:
        mappings.append(_plan_p2m_mapping(kernel, slots, p2m_base, pages_for(list_bytes), mapping))
    layout = DomainLayout(
        kernel=kernel,
        nr_pages=nr_pages,
        cmdline=cmdline[: MAX_GUEST_CMDLINE - 1],
        ramdisk=ramdisk,
        flags=flags,
        segments=tuple(slots.segments),
        mappings=tuple(mappings),
        pfn_end=slots.pfn,
        virt_end=slots.va,
        mapped_end=mapped_end,
        mod_start=mod_start,
        mod_len=mod_len,
        console_port=console_port,
        store_port=store_port,
    )
    _check_hypercall_page(layout)
    return layout


def _check_request(kernel: KernelImage, nr_pages: int) -> None:
    limit = MAX_PAGES if kernel.width == 64 else MAX_PAGES_32
    if not 0 < nr_pages <= limit:
        raise PlanError("impossible domain size", expected=f"1 to {limit} pages", found=f"{nr_pages} pages")
    if kernel.features_required & AUTO_TRANSLATED_PHYSMAP:
        raise PlanError("the kernel requires auto_translated_physmap", found="PV domains have none")
    base = kernel.usable_p2m_base
    if base is not None:
        end = base + pages_for(nr_pages * 8) * PAGE_SIZE
        _check_range(kernel.width, base, end, "INIT_P2M mapping")
        if end > kernel.virt_base:
            raise PlanError(
                "the p2m list at INIT_P2M runs into the kernel's mapping",
                expected=f"its end at most {kernel.virt_base:#x}",
                found=f"{base:#x}..{end:#x}",
            )


def _check_range(width: int, start: int, end: int, what: str) -> None:
    """Refuse virtual ranges that no PV guest can map; `end` is exclusive."""
    low_end = HYPERVISOR_VIRT_START[32] if width == 32 else 1 << 47
    high_start = HYPERVISOR_VIRT_END[64]
    if end <= low_end or (width == 64 and high_start <= start and end < 1 << 64):
        return
    if width == 32:
        reason, expected = "reaches into the hypervisor's address range", f"an end of at most {low_end:#x}"
    elif end >= 1 << 64:  # Xen's own builder loops for ever where the end wraps to 0
        reason, expected = "reaches the end of the address space", "an end below 2^64"
    else:
        reason = "is not canonical"
        if start >= HYPERVISOR_VIRT_START[64]:
            reason = "reaches into the hypervisor's address range"
        expected = f"below {low_end:#x} or from {high_start:#x} on"
    raise PlanError(f"{what} {reason}", expected=expected, found=f"{start:#x}..{end:#x}")


def _plan_initial_mapping(kernel: KernelImage, slots: _Allocator) -> tuple[Mapping, int]:
    """Find the end of the initial mapping: rounded up to 4 MiB, with room for its tables, the stack and the slack."""
    extra_pages = 1 + SLACK_PAGES
    pages = extra_pages
    while True:
        last = (slots.va + pages * PAGE_SIZE) | MAPPING_ROUND
        _check_range(kernel.width, kernel.virt_base, last + 1, "the initial mapping")
        mapping = plan_mapping(kernel.width, kernel.virt_base, last, 0, slots.pfn, (), slots.nr_pages)
        pages = mapping.table_count + extra_pages
        if slots.va + pages * PAGE_SIZE <= last + 1:
            return mapping, last + 1


def _plan_p2m_mapping(kernel: KernelImage, slots: _Allocator, base: int, list_pages: int, initial: Mapping) -> Mapping:
    """The p2m list at INIT_P2M and, behind it in the same segment, the tables that the first mapping lacks."""
    first = slots.pfn
    mapping = plan_mapping(
        kernel.width, base, base + list_pages * PAGE_SIZE - 1, first, first + list_pages, (initial,), slots.nr_pages
    )
    pages = list_pages + mapping.table_count
    slots.reserve("p2m list", pages)
    slots.segments.append(Segment("p2m", base, slots.va, first, pages))
    return mapping


def _check_hypercall_page(layout: DomainLayout) -> None:
    slot = layout.hypercall_slot
    if slot is not None and not 0 <= slot < layout.nr_pages:
        raise PlanError(
            "the hypercall page lies outside the domain's memory",
            expected=f"page 0..{layout.nr_pages - 1}",
            found=f"page {slot} (address {layout.kernel.hypercall_page:#x})",
        )
