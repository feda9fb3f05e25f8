"""Checks a relocation plan against its invariants, by looking at the plan alone and not at how it was made.

An executor runs this before the point of no return; the numbers in the texts are those of the planner's
description in docs/reference/kexec-plan.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from pvboot.errors import PlanError
from pvboot.kexec._formats import TRAMPOLINE_DATA
from pvboot.kexec.build import start_info_fields
from pvboot.kexec.layout import SPECIAL_SEGMENTS, DomainLayout
from pvboot.kexec.relocate import EnterTrampoline, KexecPlan, MmuUpdate, PinTable, PointOfNoReturn
from pvboot.xen._formats import START_INFO
from pvboot.xen.constants import MMUEXT_NEW_BASEPTR, MMUEXT_UNPIN_TABLE
from pvboot.xen.paging import PAGE_SIZE, PTE_FRAME, PTE_RW, level_shift, levels_of, va_mask


def violations(plan: KexecPlan) -> list[str]:
    """Every broken invariant in words; an empty list for a sound plan.  Work is linear in the domain's pages."""
    return [
        *_frames(plan),
        *_machine_to_phys(plan),
        *_page_tables(plan),
        *_aliases(plan),
        *_trampoline(plan),
        *_start_info(plan),
        *_order(plan),
    ]


def check_plan(plan: KexecPlan) -> None:
    """Raise `PlanError` if a plan breaks an invariant."""
    problems = violations(plan)
    if problems:
        raise PlanError("the relocation plan breaks an invariant", found="; ".join(problems[:3]))


def _special_pfns(plan: KexecPlan) -> dict[str, int]:
    source = plan.source
    return dict(zip(SPECIAL_SEGMENTS, (source.console_pfn, source.xenstore_pfn, source.trampoline_pfn), strict=True))


def _frames(plan: KexecPlan) -> Iterator[str]:
    """1 permutation, 2 special frames, 3 no busy frame in a target slot."""
    import numpy as np

    old, new, layout = plan.source.p2m, plan.image.p2m, plan.layout
    if not np.array_equal(np.sort(old), np.sort(new)):
        yield "1: the new p2m is not a permutation of the old one"
    kept = []
    for name, pfn in _special_pfns(plan).items():
        slot = layout.segment(name).pfn
        kept.append(slot)
        if new[slot] != old[pfn]:
            yield f"2: slot {slot:#x} ({name}) holds frame {int(new[slot]):#x} instead of {int(old[pfn]):#x}"
    window = np.delete(new[: layout.pfn_end], kept)
    busy = old[plan.source.busy]
    taken = np.intersect1d(window, busy)
    if len(taken):
        yield f"3: {len(taken)} busy frames lie in target slots, the first is {int(taken[0]):#x}"


def _machine_to_phys(plan: KexecPlan) -> Iterator[str]:
    """5 the M2P is updated for every displaced slot once, and for nothing else."""
    import numpy as np

    changes = [
        operation.updates
        for operation in plan.operations
        if isinstance(operation, MmuUpdate) and len(operation.updates) and int(operation.updates[0, 0]) & 3 == 1
    ]
    updates = np.concatenate(changes) if changes else np.empty((0, 2), dtype=np.uint64)
    slots = np.flatnonzero(plan.source.p2m != plan.image.p2m)
    if not np.array_equal(np.sort(updates[:, 1]), slots.astype(np.uint64)):
        yield "5: the M2P updates are not exactly the displaced slots"
    elif not np.array_equal(updates[:, 0] >> np.uint64(12), plan.image.p2m[updates[:, 1].astype(np.int64)]):
        yield "5: an M2P update names another frame than the new p2m"


def _page_tables(plan: KexecPlan) -> Iterator[str]:
    """6 the address space is the intended one and nothing else, 7 tables lie where the layout says, 8 and read-only."""
    layout = plan.layout
    expected = _expected_leaves(layout)
    seen: dict[int, tuple[int, bool]] = {}
    tables = plan.image.tables_by_slot()
    slot_of = {int(plan.image.p2m[slot]): slot for slot in range(layout.pfn_end)}
    reached: set[int] = set()
    todo = [(layout.segment("pgtables").pfn, levels_of(layout.width), 0)]
    while todo:
        slot, level, base = todo.pop()
        if slot not in tables:
            yield f"7: slot {slot:#x} is used as an L{level} table but is not a table"
            continue
        reached.add(slot)
        for index in tables[slot].nonzero()[0].tolist():
            entry = int(tables[slot][index])
            va = base | index << level_shift(level)
            child = slot_of.get((entry & PTE_FRAME) >> 12)
            if child is None:
                yield f"6: the entry for {va:#x} leads to a frame outside the target slots"
            elif level > 1:
                todo.append((child, level - 1, va))
            else:
                seen[va] = (child, bool(entry & PTE_RW))
    if seen != expected:
        yield f"6: {len(set(seen.items()) ^ set(expected.items()))} leaf mappings differ from the intended ones"
    if reached != set(tables):
        yield f"7: {len(set(tables) - reached)} page tables are not used"
    writable = [slot for slot, rw in seen.values() if rw and slot in tables]
    if writable:
        yield f"8: page-table slot {writable[0]:#x} is mapped writable in the new tables"


def _expected_leaves(layout: DomainLayout) -> dict[int, tuple[int, bool]]:
    mask = va_mask(layout.width)
    tables = set(layout.table_slots)
    leaves = {
        layout.kernel.virt_base + slot * PAGE_SIZE & mask: (slot, slot not in tables)
        for slot in range(layout.mapped_pages)
    }
    if layout.p2m_base is not None:
        first = layout.segment("p2m").pfn
        for page in range(layout.p2m_list_pages):
            leaves[layout.p2m_base + page * PAGE_SIZE & mask] = (first + page, True)
    return leaves


def _aliases(plan: KexecPlan) -> Iterator[str]:
    """8 no frame of a new table is still mapped writable by the loader when the tables are pinned."""
    import numpy as np

    space = plan.source.address_space
    if space is None:
        return
    cleared: set[int] = set()
    for operation in plan.operations:
        if isinstance(operation, PinTable):
            break
        if isinstance(operation, MmuUpdate):
            cleared |= {int(ptr) for ptr, value in operation.updates if not int(value) & 1}
    frames = set(plan.image.p2m[plan.layout.table_slots].tolist()) | {table.mfn for table in plan.loader_tables}
    aliased = np.flatnonzero(np.isin(plan.source.p2m, np.array(sorted(frames), dtype=np.uint64)))
    for pfn in aliased.tolist():
        ptr = int(space.alias_slots[pfn])
        if ptr and ptr not in cleared:
            yield f"8: the loader still maps page {pfn:#x}, a new page table, writable at {ptr:#x}"


def _trampoline(plan: KexecPlan) -> Iterator[str]:
    """9 the trampoline is reachable at one address in both address spaces, its operations lie inside the page."""
    layout, trampoline = plan.layout, plan.trampoline
    slot = layout.segment("bootstack").pfn
    if trampoline.target_va != layout.va_of(slot) or int(plan.image.p2m[slot]) != plan.trampoline_mfn:
        yield "9: the trampoline's address does not lead to its frame in the new tables"
    if len(trampoline.page) != PAGE_SIZE or trampoline.code_offset < TRAMPOLINE_DATA[layout.width].size:
        yield "9: the trampoline does not fit its page"
    values = TRAMPOLINE_DATA[layout.width].unpack_from(trampoline.page)
    wanted = (MMUEXT_NEW_BASEPTR, plan.image.root_mfn, 0, MMUEXT_UNPIN_TABLE, plan.source.root_mfn, 0)
    if values[:6] != wanted:
        yield "9: the trampoline switches to or unpins another table than planned"
    space = plan.source.address_space
    if space is not None:
        va = trampoline.target_va & va_mask(layout.width)
        added = {table.level for table in plan.loader_tables}
        missing = [
            level for level in range(1, levels_of(layout.width)) if space.find(level, va) is None and level not in added
        ]
        if missing:
            yield f"9: the loader has no L{missing[0]} table for the trampoline's address {trampoline.target_va:#x}"


def _start_info(plan: KexecPlan) -> Iterator[str]:
    """10 start_info agrees with the layout, frame numbers taken through the new p2m."""
    layout, image = plan.layout, plan.image
    mask = (1 << 8 * layout.word_bytes) - 1
    info = START_INFO[layout.width](image.start_info)
    wanted = start_info_fields(layout, image.p2m, plan.source.shared_info_mfn)
    for name, expected in wanted.items():
        value = getattr(info, name)
        agrees = value.rstrip(b"\0") == expected if isinstance(expected, bytes) else value == expected & mask
        if not agrees:
            yield f"10: start_info.{name} is {value!r}, expected {expected!r}"


def _order(plan: KexecPlan) -> Iterator[str]:
    """14 exactly one pinned top table in the end; and the operations stand in an order that can be abandoned."""
    kinds = [type(operation) for operation in plan.operations]
    pins = [operation for operation in plan.operations if isinstance(operation, PinTable)]
    if [(pin.level, pin.mfn) for pin in pins] != [(levels_of(plan.layout.width), plan.image.root_mfn)]:
        yield "14: the new top-level table is not pinned exactly once"
    if kinds.count(PointOfNoReturn) != 1 or kinds[-1] is not EnterTrampoline:
        yield "14: the plan does not end by entering the trampoline after one point of no return"
    elif PinTable in kinds and kinds.index(PinTable) > kinds.index(PointOfNoReturn):
        yield "14: the tables are validated only after the point of no return"
