"""A domain and its relocation plan as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pvboot.kexec.build import DomainImage
from pvboot.kexec.relocate import EnterTrampoline, KexecPlan, MmuUpdate, PinTable
from pvboot.kexec.runs import change_runs
from pvboot.xen.paging import PAGE_SIZE

if TYPE_CHECKING:
    from pvboot.kexec.layout import DomainLayout, Segment

M64 = (1 << 64) - 1
SHOWN_MOVES = 16


def describe(image: DomainImage, plan: KexecPlan | None) -> str:
    """Segment table, start state, and (if there is one) the relocation, as lines of text."""
    lines = [*_domain(image), *_segments(image.layout), *_start(image)]
    if plan is not None:
        lines += _relocation(plan)
    return "\n".join(lines) + "\n"


def _domain(image: DomainImage) -> list[str]:
    layout, kernel = image.layout, image.layout.kernel
    return [
        f"{kernel.name}: {kernel.container}, {kernel.guest_type}, entry {kernel.virt_entry:#x}",
        f"domain of {layout.nr_pages} pages ({layout.nr_pages * PAGE_SIZE >> 20} MiB), "
        f"{layout.pfn_end} laid out, {layout.nr_pages - layout.pfn_end} free",
        "",
    ]


def _segments(layout: DomainLayout) -> list[str]:
    rows = [f"{'segment':<12} {'pfn':>9} {'pages':>8}  virtual address"]
    position = 0
    for segment in sorted(layout.segments, key=lambda segment: segment.pfn):
        rows += _padding(layout, position, segment.pfn)
        rows.append(_row(layout, segment))
        position = segment.end_pfn
    return rows + _padding(layout, position, layout.mapped_pages)


def _padding(layout: DomainLayout, start: int, stop: int) -> list[str]:
    if start >= stop:
        return []
    return [f"{'(padding)':<12} {start:>#9x} {stop - start:>8}  {layout.va_of(start) & M64:#018x}"]


def _row(layout: DomainLayout, segment: Segment) -> str:
    own_map = segment.name == "p2m" and layout.p2m_base is not None
    place = f"{segment.vstart & M64:#018x}" if own_map or segment.pfn < layout.mapped_pages else "not mapped"
    return f"{segment.name:<12} {segment.pfn:>#9x} {segment.pages:>8}  {place}"


def _start(image: DomainImage) -> list[str]:
    layout, vcpu = image.layout, image.vcpu
    counts = [
        f"L{level + 1} {sum(mapping.ranges[level].count for mapping in layout.mappings)}"
        for level in reversed(range(len(layout.mappings[0].ranges)))
    ]
    lines = [
        "",
        f"page tables  {', '.join(counts)}; initial mapping {layout.kernel.virt_base:#x}..{layout.mapped_end & M64:#x}",
        f"vCPU 0       ip {vcpu.ip & M64:#x}  sp {vcpu.sp & M64:#x}  start_info {vcpu.si & M64:#x}  cr3 {vcpu.cr3:#x}",
    ]
    if layout.ramdisk is not None:
        kind = "PFN" if layout.kernel.unmapped_initrd else "address"
        lines.append(f"ramdisk      {kind} {layout.mod_start & M64:#x}, {layout.mod_len} bytes")
    if layout.cmdline:
        lines.append(f"command line {layout.cmdline.decode('utf-8', 'backslashreplace')!r}")
    return lines


def _relocation(plan: KexecPlan) -> list[str]:
    busy = int(plan.source.busy.sum())
    lines = ["", f"relocation   {busy} busy pages of the loader, {len(plan.displaced)} pages change their frame"]
    runs = list(change_runs(plan, SHOWN_MOVES + 1))
    lines += [
        f"  page {slot:#x}..{slot + pages - 1:#x} takes the frames of page {old:#x}.."
        for slot, old, pages in runs[:SHOWN_MOVES]
    ]
    if len(runs) > SHOWN_MOVES:
        lines.append("  ... (all of them: --json, --m2p-out)")
    for number, operation in enumerate(plan.operations, 1):
        detail = ""
        if isinstance(operation, MmuUpdate):
            detail = f"mmu_update, {len(operation.updates)} entries"
        elif isinstance(operation, PinTable):
            detail = f"mmuext_op, pin L{operation.level} frame {operation.mfn:#x}"
        elif isinstance(operation, EnterTrampoline):
            va = plan.trampoline.target_va & M64
            detail = f"jump to frame {plan.trampoline_mfn:#x}+{operation.offset:#x}, address {va:#x}"
        lines.append(f"  {number}. {operation.why}" + (f" ({detail})" if detail else ""))
    return lines
