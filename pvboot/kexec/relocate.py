"""The relocation plan: turn the running loader's domain into the one that the domain builder would have made.

The new p2m P is a permutation of the old one O.  Payload goes into frames that the loader does not need; a slot
whose frame is busy is exchanged with a free frame from behind the target slots, which moves numbers and no data.
Only busy slots (and the three special pages) are displaced, the least possible.  Console and xenstore rings keep
their frames, the boot stack's frame is the trampoline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvboot.errors import PlanError
from pvboot.kexec.build import FIRST_HIGH_MFN, DomainImage, Write, build_domain, needs_low_root
from pvboot.kexec.layout import SPECIAL_SEGMENTS, DomainLayout
from pvboot.kexec.source import SourceDomain
from pvboot.kexec.trampoline import Trampoline, make_trampoline
from pvboot.xen.constants import MMU_MACHPHYS_UPDATE, MMU_NORMAL_PT_UPDATE
from pvboot.xen.paging import ENTRIES, PAGE_SIZE, TABLE_PROT, level_shift, levels_of, va_mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pvboot.kexec.pagetables import FrameArray


@dataclass(frozen=True, slots=True)
class MmuUpdate:
    """Hypercall mmu_update: `updates` is uint64[n, 2] of (ptr | kind, value)."""

    why: str
    updates: FrameArray


@dataclass(frozen=True, slots=True)
class PinTable:
    """Hypercall mmuext_op MMUEXT_PIN_Lx_TABLE of a frame."""

    why: str
    level: int
    mfn: int


@dataclass(frozen=True, slots=True)
class PointOfNoReturn:
    """From here on the loader cannot go back to its menu: devices closed, upcalls masked, event ports closed."""

    why: str


@dataclass(frozen=True, slots=True)
class EnterTrampoline:
    """Jump to the trampoline through the loader's own mapping of its page."""

    why: str
    offset: int


Operation = MmuUpdate | PinTable | PointOfNoReturn | EnterTrampoline


@dataclass(frozen=True, slots=True)
class NewLoaderTable:
    """A page table that the loader must add to its own address space so that the trampoline's address is mapped."""

    level: int
    mfn: int
    entry_index: int  # -1: all entries are zero
    entry: int


@dataclass(frozen=True, slots=True, eq=False)
class KexecPlan:
    """Everything an executor needs, in order: `writes()`, then `operations`.

    `image` is the target domain, with P as its p2m.  `loader_tables` are frames to fill before the first operation.
    Until `PointOfNoReturn` nothing that the loader needs is touched.
    """

    source: SourceDomain
    image: DomainImage
    trampoline: Trampoline
    loader_tables: tuple[NewLoaderTable, ...]
    operations: tuple[Operation, ...]
    displaced: npt.NDArray[np.int64]  # slots whose frame changes, ascending

    @property
    def layout(self) -> DomainLayout:
        """Layout of the target domain."""
        return self.image.layout

    @property
    def trampoline_mfn(self) -> int:
        """Frame of the trampoline, the boot stack of the new domain."""
        return int(self.source.p2m[self.source.trampoline_pfn])

    @property
    def m2p_updates(self) -> FrameArray:
        """uint64[n, 2] of (mfn<<12 | MMU_MACHPHYS_UPDATE, new PFN), ascending by PFN."""
        return _m2p_updates(self.image.p2m, self.displaced)

    def writes(self) -> Iterator[Write]:
        """All contents by *new* PFN: first zeros wherever a fresh domain would be zero, then the image.

        The rings and the trampoline's page are left out.  Every page named here is free until the point of no return.
        """
        kept = {self.layout.segment(name).pfn for name in SPECIAL_SEGMENTS}
        yield from _zero_writes(self.layout, kept)
        yield from self.image.writes()
        slot = self.layout.hypercall_slot
        if slot is not None and self.source.hypercall_page is not None:
            yield Write(slot * PAGE_SIZE, PAGE_SIZE, memoryview(self.source.hypercall_page))

    def pages_written(self) -> int:
        """Pages of payload that an executor stores (the zeroed ones not counted)."""
        return sum(-(-write.size // PAGE_SIZE) for write in self.image.writes() if write.data is not None)


def plan_relocation(layout: DomainLayout, source: SourceDomain) -> KexecPlan:
    """Plan the hand-over from the running loader to the domain of `layout`.

    Raises `PlanError` if the two do not fit together (width, size, ports), or if there are too few free frames.
    """
    import numpy as np

    source.check()
    _check_fit(layout, source)
    p2m = _permute(layout, source)
    displaced = np.flatnonzero(p2m != source.p2m)
    image = build_domain(layout, p2m, source.shared_info_mfn)
    target = layout.segment("bootstack").pfn
    trampoline = make_trampoline(
        layout.width,
        mfn=int(source.p2m[source.trampoline_pfn]),
        target_va=layout.va_of(target),
        new_root_mfn=image.root_mfn,
        old_root_mfn=source.root_mfn,
        stack=image.vcpu.sp,
        start_info=image.vcpu.si,
        entry=image.vcpu.ip,
    )
    tables, link = _reach_target(layout, source, p2m, trampoline.target_va)
    operations = _operations(image, source, link, _m2p_updates(p2m, displaced), trampoline)
    return KexecPlan(source, image, trampoline, tables, operations, displaced)


def _check_fit(layout: DomainLayout, source: SourceDomain) -> None:
    if layout.width != source.width:
        raise PlanError(
            "a kernel can only be entered from a loader of its own width",
            expected=f"{source.width}-bit kernel",
            found=f"{layout.width}-bit kernel",
        )
    if layout.nr_pages != source.nr_pages:
        raise PlanError(
            "the layout was made for another domain size",
            expected=f"{source.nr_pages} pages",
            found=f"{layout.nr_pages} pages",
        )
    ports = (layout.console_port, layout.store_port)
    if ports != (source.console_port, source.store_port):
        raise PlanError(
            "the layout names other event-channel ports than the running domain has",
            expected=f"{(source.console_port, source.store_port)}",
            found=f"{ports}",
        )
    if layout.hypercall_slot is not None and layout.hypercall_slot >= layout.pfn_end:
        raise PlanError(
            "the hypercall page lies behind the memory that is laid out",
            expected=f"below page {layout.pfn_end:#x}",
            found=f"page {layout.hypercall_slot:#x}",
        )


def _permute(layout: DomainLayout, source: SourceDomain) -> FrameArray:
    """The new p2m: fix the special frames, then trade busy frames out of the target slots."""
    import numpy as np

    order = np.arange(layout.nr_pages, dtype=np.int64)  # order[slot] = old PFN whose frame the slot gets

    place: dict[int, int] = {}  # where old PFNs went, for the few that moved

    def put(slot: int, old_pfn: int) -> None:
        current = place.get(old_pfn, old_pfn)
        displaced = int(order[slot])
        order[slot], order[current] = old_pfn, displaced
        place[old_pfn], place[displaced] = slot, current

    fixed = {
        layout.segment("console").pfn: source.console_pfn,
        layout.segment("xenstore").pfn: source.xenstore_pfn,
        layout.segment("bootstack").pfn: source.trampoline_pfn,
    }
    for slot, old_pfn in fixed.items():
        put(slot, old_pfn)
    busy = source.busy.copy()
    for old_pfn in fixed.values():
        busy[old_pfn] = True
    slot_busy = busy[order]
    for slot in fixed:
        slot_busy[slot] = False
    if needs_low_root(layout):
        _place_low_root(layout, source, order, slot_busy)
    wanted = np.flatnonzero(slot_busy[: layout.pfn_end])
    donors = np.flatnonzero(~slot_busy[layout.pfn_end :])[: len(wanted)] + layout.pfn_end
    if len(donors) < len(wanted):
        raise PlanError(
            "too little free memory to relocate the running loader",
            expected=f"{len(wanted)} free pages behind page {layout.pfn_end:#x}",
            found=f"{len(donors)}",
        )
    order[wanted], order[donors] = order[donors], order[wanted]
    return source.p2m[order]


def _place_low_root(
    layout: DomainLayout, source: SourceDomain, order: npt.NDArray[np.int64], slot_busy: npt.NDArray[np.bool_]
) -> None:
    """PAE without extended cr3: the L3 must lie in a free frame below 4 GiB that the domain already has."""
    import numpy as np

    slot = layout.segment("pgtables").pfn
    frames = source.p2m[order]
    low = (frames < np.uint64(FIRST_HIGH_MFN)) & ~slot_busy
    if bool(low[slot]):
        return
    low[[layout.segment(name).pfn for name in SPECIAL_SEGMENTS]] = False
    candidates = np.flatnonzero(low)
    if not len(candidates):
        raise PlanError(
            "the kernel needs its page directory below 4 GiB (PAE without extended-cr3)",
            expected=f"a free frame below {FIRST_HIGH_MFN:#x} in the domain",
            found="none",
        )
    donor = int(candidates[-1])
    order[slot], order[donor] = order[donor], order[slot]
    slot_busy[slot], slot_busy[donor] = slot_busy[donor], slot_busy[slot]


def _m2p_updates(p2m: FrameArray, displaced: npt.NDArray[np.int64]) -> FrameArray:
    import numpy as np

    updates = np.empty((len(displaced), 2), dtype=np.uint64)
    updates[:, 0] = p2m[displaced] << np.uint64(12) | np.uint64(MMU_MACHPHYS_UPDATE)
    updates[:, 1] = displaced
    return updates


def _reach_target(
    layout: DomainLayout, source: SourceDomain, p2m: FrameArray, target_va: int
) -> tuple[tuple[NewLoaderTable, ...], MmuUpdate | None]:
    """Tables that the loader lacks for the trampoline's target address, and the update that hooks them in.

    They come from free frames behind the target slots, so that they survive as ordinary memory afterwards.
    Without a description of the loader's address space the loader has to see to it itself.
    """
    import numpy as np

    space = source.address_space
    if space is None:
        return (), None
    va = target_va & va_mask(layout.width)
    parent, missing = source.root_mfn, []
    for level in range(levels_of(layout.width) - 1, 0, -1):
        found = space.find(level, va)
        if found is None:
            missing.append(level)
        else:
            parent = found
    if not missing:
        return (), None
    frames = _spare_frames(layout, source, p2m, len(missing))
    tables = []
    for position, (level, mfn) in enumerate(zip(missing, frames, strict=True)):
        below = frames[position + 1] if position + 1 < len(frames) else None
        index = (va >> level_shift(level)) % ENTRIES if below is not None else -1
        tables.append(NewLoaderTable(level, mfn, index, below << 12 | TABLE_PROT if below is not None else 0))
    slot = parent << 12 | ((va >> level_shift(missing[0] + 1)) % ENTRIES) * 8
    hook = np.array([[slot, frames[0] << 12 | TABLE_PROT]], dtype=np.uint64)
    updates = np.concatenate([_unmap_aliases(source, np.array(frames, dtype=np.uint64)), hook])
    return tuple(tables), MmuUpdate("map the trampoline's target address", updates)


def _spare_frames(layout: DomainLayout, source: SourceDomain, p2m: FrameArray, count: int) -> list[int]:
    """Free frames outside the target slots, from the top of the domain."""
    import numpy as np

    usable = ~source.busy & ~np.isin(source.p2m, p2m[: layout.pfn_end])
    chosen = np.flatnonzero(usable)[-count:]
    if len(chosen) < count:
        raise PlanError(
            "too little free memory for the page tables of the trampoline",
            expected=f"{count} free pages outside the new domain's own",
            found=f"{len(chosen)}",
        )
    return [int(source.p2m[pfn]) for pfn in chosen]


def _operations(
    image: DomainImage, source: SourceDomain, link: MmuUpdate | None, m2p: FrameArray, trampoline: Trampoline
) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    if link is not None:
        operations.append(link)
    aliases = _table_aliases(image, source)
    if len(aliases):
        operations.append(MmuUpdate("unmap the frames of the new page tables", aliases))
    top = levels_of(image.layout.width)
    operations.append(PinTable("validate the new page tables", top, image.root_mfn))
    operations.append(PointOfNoReturn("close devices, mask upcalls, close event ports"))
    if len(m2p):
        operations.append(MmuUpdate("tell the hypervisor the new page numbers", m2p))
    operations.append(EnterTrampoline("switch address spaces and enter the kernel", trampoline.code_offset))
    return tuple(operations)


def _table_aliases(image: DomainImage, source: SourceDomain) -> FrameArray:
    """Updates that clear the loader's writable mappings of frames that become page tables."""
    return _unmap_aliases(source, image.p2m[image.layout.table_slots])


def _unmap_aliases(source: SourceDomain, frames: FrameArray) -> FrameArray:
    """(ptr, 0) for every L1 entry of the loader that maps one of `frames` writable, ascending by ptr."""
    import numpy as np

    if source.address_space is None:
        return np.empty((0, 2), dtype=np.uint64)
    ptrs = source.address_space.alias_slots[np.flatnonzero(np.isin(source.p2m, frames))]
    ptrs = np.sort(ptrs[ptrs != 0])
    updates = np.zeros((len(ptrs), 2), dtype=np.uint64)
    updates[:, 0] = ptrs | np.uint64(MMU_NORMAL_PT_UPDATE)
    return updates


def _zero_writes(layout: DomainLayout, kept: set[int]) -> Iterator[Write]:
    """Zeros for all target slots but the kept ones, in runs."""
    start = 0
    for stop in [*sorted(kept), layout.pfn_end]:
        if stop > start:
            yield Write(start * PAGE_SIZE, (stop - start) * PAGE_SIZE, None)
        start = stop + 1
