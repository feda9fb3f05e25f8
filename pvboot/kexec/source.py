"""The domain in which the loader runs: what a relocation starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvboot.errors import PlanError
from pvboot.kexec.build import DomainImage
from pvboot.xen.paging import level_shift, levels_of, va_mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pvboot.kexec.pagetables import FrameArray


@dataclass(frozen=True, slots=True)
class LoaderTable:
    """A page table of the running loader: its level, the first (masked) virtual address it covers, and its frame."""

    level: int
    va: int
    mfn: int


@dataclass(frozen=True, slots=True)
class AddressSpace:
    """The running loader's page tables, as far as a relocation touches them.

    `alias_slots` (uint64[nr_pages]) holds, for each PFN, the machine address of the L1 entry through which the
    loader maps that page writable, 0 for none.  `tables` names every table below the top one.
    """

    tables: tuple[LoaderTable, ...]
    alias_slots: FrameArray

    def find(self, level: int, va: int) -> int | None:
        """Frame of the table of `level` that covers a (masked) address, None if the loader has none there."""
        base = va >> level_shift(level + 1) << level_shift(level + 1)
        for table in self.tables:
            if table.level == level and table.va == base:
                return table.mfn
        return None


@dataclass(frozen=True, slots=True, eq=False)
class SourceDomain:
    """A running domain that is about to be relocated.

    `p2m` uint64[nr_pages]: MFN of each PFN.  `busy` bool[nr_pages]: the loader still needs the frame behind that PFN
    (image, stacks, heap, blobs, p2m list, all page tables, GDT frames, granted frames, hypercall page).  The three
    special PFNs are busy too.  `hypercall_page` are the bytes of the loader's own page, None if it has none.
    """

    width: int
    p2m: FrameArray
    busy: npt.NDArray[np.bool_]
    shared_info_mfn: int
    console_pfn: int
    xenstore_pfn: int
    trampoline_pfn: int
    root_mfn: int
    address_space: AddressSpace | None = None
    console_port: int = 2
    store_port: int = 1
    hypercall_page: bytes | None = None

    @property
    def nr_pages(self) -> int:
        """Pages of the domain."""
        return len(self.p2m)

    def check(self) -> None:
        """Raise `PlanError` if the description contradicts itself (frames twice, PFNs out of range, widths)."""
        import numpy as np

        if self.width not in (32, 64):
            raise PlanError("impossible width of the loader's domain", expected="32 or 64", found=str(self.width))
        if len(self.busy) != self.nr_pages:
            raise PlanError(
                "the list of busy pages does not fit the domain",
                expected=f"{self.nr_pages} pages",
                found=f"{len(self.busy)}",
            )
        specials = (self.console_pfn, self.xenstore_pfn, self.trampoline_pfn)
        for pfn in specials:
            if not 0 <= pfn < self.nr_pages:
                raise PlanError(
                    "a special page lies outside the domain", expected=f"0..{self.nr_pages - 1}", found=str(pfn)
                )
        if len(set(specials)) != 3:
            raise PlanError("console, xenstore and trampoline pages must differ", found=str(specials))
        ordered = np.sort(self.p2m)
        if self.nr_pages > 1 and bool((ordered[1:] == ordered[:-1]).any()):
            raise PlanError("the p2m names a frame twice")


def running_loader(image: DomainImage, trampoline_pfn: int, hypercall_page: bytes | None = None) -> SourceDomain:
    """A loader that was started by a domain builder as `image` says and still runs in its initial page tables.

    Busy are all its segments (also the unused pages below its kernel stay free); every page of its initial mapping
    that is not a page table has a writable alias there.
    """
    import numpy as np

    layout = image.layout
    busy = np.zeros(layout.nr_pages, dtype=np.bool_)
    for segment in layout.segments:
        busy[segment.pfn : segment.end_pfn] = True
    aliases = np.zeros(layout.nr_pages, dtype=np.uint64)
    tables: list[LoaderTable] = []
    mask = va_mask(layout.width)
    for mapping in layout.mappings:
        for level in range(1, levels_of(layout.width)):
            owned = mapping.ranges[level - 1]
            for index in range(owned.count):
                va = owned.start + (index << level_shift(level + 1)) & mask
                tables.append(LoaderTable(level, va, int(image.p2m[owned.pfn + index])))
    initial = layout.mappings[0]
    leaf = initial.ranges[0]
    pages = np.arange(layout.mapped_pages, dtype=np.uint64)
    entry = pages + np.uint64((initial.start - leaf.start) >> 12)
    table_mfns = image.p2m[leaf.pfn : leaf.pfn + leaf.count]
    aliases[: layout.mapped_pages] = (table_mfns[(entry >> np.uint64(9)).astype(np.int64)] << np.uint64(12)) + (
        entry & np.uint64(511)
    ) * np.uint64(8)
    page_tables = layout.segment("pgtables")
    aliases[page_tables.pfn : page_tables.end_pfn] = 0
    return SourceDomain(
        width=layout.width,
        p2m=image.p2m,
        busy=busy,
        shared_info_mfn=image.shared_info_mfn,
        console_pfn=layout.segment("console").pfn,
        xenstore_pfn=layout.segment("xenstore").pfn,
        trampoline_pfn=trampoline_pfn,
        root_mfn=image.root_mfn,
        address_space=AddressSpace(tuple(tables), aliases),
        console_port=layout.console_port,
        store_port=layout.store_port,
        hypercall_page=hypercall_page,
    )
