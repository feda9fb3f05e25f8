"""The sixteen invariants of a relocation, as properties over loaders, kernels and frame orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.errors import PlanError
from pvboot.kexec._formats import TRAMPOLINE_DATA
from pvboot.kexec.build import Write, build_domain
from pvboot.kexec.layout import BytesBlob, DomainLayout, plan_layout
from pvboot.kexec.relocate import EnterTrampoline, KexecPlan, MmuUpdate, PinTable, PointOfNoReturn, plan_relocation
from pvboot.kexec.report import plan_report
from pvboot.kexec.source import SourceDomain, running_loader
from pvboot.kexec.verify import violations
from pvboot.xen._formats import START_INFO
from pvboot.xen.paging import PTE_RW, level_shift, levels_of, va_mask
from tests.kexec.kernels import PAGE, built, frames, make_kernel, make_loader
from tests.kexec.walk import walk_leaves

SPECIAL = ("console", "xenstore", "bootstack")
PROPERTY = settings(max_examples=40)


@st.composite
def relocations(draw: st.DrawFn) -> tuple[DomainLayout, SourceDomain]:
    """A running loader and a kernel to come, of every kind that differs in layout."""
    width = draw(st.sampled_from([64, 32]))
    nr_pages = draw(st.integers(2100, 6000))
    seed = draw(st.one_of(st.none(), st.integers(0, 2**16)))
    loader_base = draw(st.sampled_from([0, 0xFFFFFFFF80000000 if width == 64 else 0xC0000000]))
    loader = built(make_loader(width, draw(st.integers(16, 500)), loader_base), nr_pages, seed)
    source = running_loader(loader, trampoline_pfn=draw(st.integers(0, 15)))
    extra_busy = draw(st.lists(st.integers(0, nr_pages - 1), max_size=200))
    busy = source.busy.copy()
    busy[extra_busy] = True
    low = draw(st.booleans())
    changes: dict[str, Any] = {"virt_base": 0} if low else {}
    if width == 64 and not low and draw(st.booleans()):
        changes |= {"p2m_base": 0x8000000000}
    if draw(st.booleans()):
        changes["unmapped_initrd"] = True
    ramdisk = draw(st.one_of(st.none(), st.binary(min_size=1, max_size=40_000)))
    layout = plan_layout(
        make_kernel(width, **changes),
        nr_pages,
        ramdisk=None if ramdisk is None else BytesBlob(ramdisk),
        cmdline=draw(st.binary(max_size=1100)).replace(b"\0", b""),
    )
    return layout, replace(source, busy=busy)


def for_any_plan(test: Callable[[KexecPlan], None]) -> Callable[[], None]:
    return PROPERTY(given(relocations().map(lambda case: plan_relocation(*case)))(test))


def special_slots(plan: KexecPlan) -> list[int]:
    return [plan.layout.segment(name).pfn for name in SPECIAL]


def special_frames(plan: KexecPlan) -> list[int]:
    source = plan.source
    return [int(source.p2m[pfn]) for pfn in (source.console_pfn, source.xenstore_pfn, source.trampoline_pfn)]


def pieces(writes: Iterable[Write]) -> Iterator[tuple[int, int, bytes]]:
    """(page, offset, contents) of every part of the writes that lies in one page."""
    for write in writes:
        data = bytes(write.size) if write.data is None else bytes(write.data)
        address = write.address
        while data:
            take = PAGE - address % PAGE
            yield address // PAGE, address % PAGE, data[:take]
            data, address = data[take:], address + take


def memory_after(plan: KexecPlan) -> dict[int, bytearray]:
    """Frame -> contents after an executor stored everything; frames start full of rubbish."""
    memory: dict[int, bytearray] = {}
    for slot, offset, data in pieces(plan.writes()):
        page = memory.setdefault(int(plan.image.p2m[slot]), bytearray(b"\xa5" * PAGE))
        page[offset : offset + len(data)] = data
    return memory


def table_frames(plan: KexecPlan) -> set[int]:
    return {int(plan.image.p2m[slot]) for slot in plan.layout.table_slots}


@for_any_plan
def test_01_the_new_p2m_is_a_permutation_of_the_old_one(plan: KexecPlan) -> None:
    assert sorted(plan.image.p2m.tolist()) == sorted(plan.source.p2m.tolist())


@for_any_plan
def test_02_rings_and_trampoline_keep_their_frames(plan: KexecPlan) -> None:
    assert [int(plan.image.p2m[slot]) for slot in special_slots(plan)] == special_frames(plan)


@for_any_plan
def test_03_no_busy_frame_lies_in_a_target_slot(plan: KexecPlan) -> None:
    busy = set(plan.source.p2m[plan.source.busy].tolist()) - set(special_frames(plan))
    assert busy.isdisjoint(plan.image.p2m[: plan.layout.pfn_end].tolist())


@for_any_plan
def test_04_the_p2m_list_in_memory_is_the_new_p2m(plan: KexecPlan) -> None:
    memory, segment = memory_after(plan), plan.layout.segment("p2m")
    raw = b"".join(bytes(memory[int(plan.image.p2m[segment.pfn + page])]) for page in range(plan.layout.p2m_list_pages))
    entries = np.frombuffer(raw, dtype=np.uint64 if plan.layout.width == 64 else np.uint32)
    assert np.array_equal(entries[: plan.layout.nr_pages], plan.image.p2m)
    assert not entries[plan.layout.nr_pages :].any()


@for_any_plan
def test_05_the_m2p_ends_up_as_the_inverse_and_is_updated_for_displaced_slots_only(plan: KexecPlan) -> None:
    m2p = {int(mfn): pfn for pfn, mfn in enumerate(plan.source.p2m)}
    updated = []
    for operation in plan.operations:
        if isinstance(operation, MmuUpdate):
            for ptr, value in operation.updates.tolist():
                if ptr & 3 == 1:
                    m2p[ptr >> 12] = value
                    updated.append(value)
    assert all(m2p[int(mfn)] == slot for slot, mfn in enumerate(plan.image.p2m))
    assert sorted(updated) == np.flatnonzero(plan.source.p2m != plan.image.p2m).tolist()


@for_any_plan
def test_06_and_08_the_new_address_space_maps_what_it_should_and_tables_read_only(plan: KexecPlan) -> None:
    layout, memory = plan.layout, memory_after(plan)
    slot_of = {int(mfn): slot for slot, mfn in enumerate(plan.image.p2m)}
    leaves = walk_leaves(
        layout.width,
        layout.segment("pgtables").pfn,
        lambda slot: np.frombuffer(memory[int(plan.image.p2m[slot])], dtype=np.uint64),
        slot_of.__getitem__,
    )
    tables = table_frames(plan)
    wanted = {layout.kernel.virt_base + slot * PAGE: slot for slot in range(layout.mapped_pages)}
    if layout.p2m_base is not None:
        first = layout.segment("p2m").pfn
        wanted |= {layout.p2m_base + page * PAGE: first + page for page in range(layout.p2m_list_pages)}
    assert {va: slot for va, slot, _ in leaves} == wanted
    for _, slot, flags in leaves:
        assert bool(flags & PTE_RW) == (int(plan.image.p2m[slot]) not in tables)


@for_any_plan
def test_07_tables_of_one_level_are_contiguous_and_as_many_as_planned(plan: KexecPlan) -> None:
    layout = plan.layout
    for mapping in layout.mappings:
        position = mapping.first_table_pfn
        for level in reversed(mapping.ranges):
            if level.count:
                assert level.pfn == position
            position += level.count
        assert position == mapping.first_table_pfn + mapping.table_count
    segment = layout.segment("pgtables")
    assert (segment.pfn, segment.pages) == (layout.mappings[0].first_table_pfn, layout.mappings[0].table_count)


@for_any_plan
def test_08_the_loader_has_no_writable_mapping_of_a_new_table_when_it_is_pinned(plan: KexecPlan) -> None:
    space = plan.source.address_space
    assert space is not None
    aliases = {int(ptr): int(mfn) for ptr, mfn in zip(space.alias_slots, plan.source.p2m, strict=True) if ptr}
    for operation in plan.operations:
        if isinstance(operation, PinTable):
            break
        if isinstance(operation, MmuUpdate):
            for ptr, _ in operation.updates.tolist():
                aliases.pop(ptr, None)
    assert set(aliases.values()).isdisjoint(table_frames(plan) | {table.mfn for table in plan.loader_tables})


@for_any_plan
def test_09_the_trampoline_lies_at_one_address_in_both_address_spaces(plan: KexecPlan) -> None:
    layout, trampoline = plan.layout, plan.trampoline
    slot = layout.segment("bootstack").pfn
    assert trampoline.target_va == layout.va_of(slot)
    values = TRAMPOLINE_DATA[layout.width].unpack_from(trampoline.page)
    target, pte = values[6], values[7]
    assert target == trampoline.target_va & (1 << layout.width) - 1
    assert pte >> 12 == plan.trampoline_mfn == int(plan.image.p2m[slot])
    assert TRAMPOLINE_DATA[layout.width].size <= trampoline.code_offset < len(trampoline.page) == PAGE
    space, va = plan.source.address_space, trampoline.target_va & va_mask(layout.width)
    assert space is not None
    added = [table.level for table in plan.loader_tables]
    for level in range(1, levels_of(layout.width)):
        assert (space.find(level, va) is None) == (level in added)
    for above, below in zip(plan.loader_tables, plan.loader_tables[1:], strict=False):
        assert above.entry >> 12 == below.mfn
        assert above.entry_index == va >> level_shift(above.level) & 511


@for_any_plan
def test_10_start_info_matches_the_layout_with_frames_through_the_new_p2m(plan: KexecPlan) -> None:
    layout, p2m = plan.layout, plan.image.p2m
    page = memory_after(plan)[plan.image.mfn_of("start_info")]
    info = START_INFO[layout.width](bytes(page))
    assert info.magic.rstrip(b"\0").decode() == layout.kernel.guest_type
    assert info.nr_pages == layout.nr_pages
    assert info.shared_info == (plan.source.shared_info_mfn << 12) % (1 << layout.width)
    assert info.store_mfn == p2m[layout.segment("xenstore").pfn]
    assert info.console_mfn == p2m[layout.segment("console").pfn]
    assert (info.store_evtchn, info.console_evtchn) == (plan.source.store_port, plan.source.console_port)
    assert info.pt_base == layout.va_of(layout.segment("pgtables").pfn)
    assert info.cmd_line == layout.cmdline.ljust(1024, b"\0")
    assert len(layout.cmdline) <= 1023
    if layout.ramdisk is None:
        assert (info.mod_start, info.mod_len) == (0, 0)
    elif layout.kernel.unmapped_initrd:
        assert info.mod_start == layout.segment("ramdisk").pfn
    else:
        assert info.mod_start == layout.va_of(layout.segment("ramdisk").pfn)
        assert info.mod_len == layout.ramdisk.size


@for_any_plan
def test_11_nothing_that_the_loader_needs_is_written_before_the_point_of_no_return(plan: KexecPlan) -> None:
    busy = set(plan.source.p2m[plan.source.busy].tolist())
    assert busy.isdisjoint(memory_after(plan))
    assert busy.isdisjoint(table.mfn for table in plan.loader_tables)


@for_any_plan
def test_12_segments_are_byte_exact_and_the_rest_of_the_window_is_zero(plan: KexecPlan) -> None:
    memory, layout = memory_after(plan), plan.layout
    fresh = build_domain(layout, plan.image.p2m, plan.source.shared_info_mfn)
    wanted = {slot: bytearray(PAGE) for slot in range(layout.pfn_end)}
    for slot, offset, data in pieces(fresh.writes()):
        wanted[slot][offset : offset + len(data)] = data
    for slot in special_slots(plan):
        del wanted[slot]
        assert int(plan.image.p2m[slot]) not in memory
    assert {slot: bytes(memory[int(plan.image.p2m[slot])]) for slot in wanted} == {
        slot: bytes(page) for slot, page in wanted.items()
    }


@for_any_plan
def test_14_exactly_one_top_table_is_pinned_in_the_end(plan: KexecPlan) -> None:
    pinned = {plan.source.root_mfn}
    for operation in plan.operations:
        if isinstance(operation, PinTable):
            assert operation.level == levels_of(plan.layout.width)
            assert operation.mfn not in pinned
            pinned.add(operation.mfn)
    _, _, _, _, unpinned, *_ = TRAMPOLINE_DATA[plan.layout.width].unpack_from(plan.trampoline.page)
    assert pinned - {unpinned} == {plan.image.root_mfn}
    kinds = [type(operation) for operation in plan.operations]
    assert kinds.index(PinTable) < kinds.index(PointOfNoReturn) < kinds.index(EnterTrampoline) == len(kinds) - 1


@settings(max_examples=10)
@given(relocations())
def test_15_the_same_input_gives_the_same_plan(case: tuple[DomainLayout, SourceDomain]) -> None:
    first, second = plan_relocation(*case), plan_relocation(*case)
    assert plan_report(first) == plan_report(second)
    assert np.array_equal(first.m2p_updates, second.m2p_updates)


@PROPERTY
@given(relocations(), st.data())
def test_16_it_fails_exactly_when_there_are_too_few_free_frames(
    case: tuple[DomainLayout, SourceDomain], data: st.DataObject
) -> None:
    layout, source = case
    busy = source.busy.copy()
    donors = np.flatnonzero(~busy[layout.pfn_end :]) + layout.pfn_end
    kept = data.draw(st.integers(0, len(donors)))
    busy[donors[kept:]] = True
    starved = replace(source, busy=busy, address_space=None)
    free = layout.nr_pages - int(busy.sum())
    if free < layout.pfn_end - len(SPECIAL):
        with pytest.raises(PlanError, match="too little free memory"):
            plan_relocation(layout, starved)
    else:
        assert plan_relocation(layout, starved).displaced is not None


@for_any_plan
def test_the_verifier_agrees(plan: KexecPlan) -> None:
    assert violations(plan) == []


@for_any_plan
def test_no_plan_moves_more_than_each_busy_slot_and_a_donor_and_the_special_pages(plan: KexecPlan) -> None:
    bound = 2 * int(plan.source.busy[: plan.layout.pfn_end].sum()) + 6
    assert len(plan.displaced) <= bound


def with_frames(plan: KexecPlan, slots: list[int], from_slots: list[int]) -> KexecPlan:
    """The plan with the frames of some slots replaced."""
    p2m = plan.image.p2m.copy()
    p2m[slots] = plan.image.p2m[from_slots]
    return replace(plan, image=replace(plan.image, p2m=p2m))


def busy_in_window(plan: KexecPlan) -> KexecPlan:
    where = int(np.flatnonzero(plan.image.p2m == np.uint64(plan.source.root_mfn))[0])
    return with_frames(plan, [0, where], [where, 0])


def writable_table(plan: KexecPlan) -> KexecPlan:
    tables = tuple(array.copy() for array in plan.image.tables)
    mapping = plan.layout.mappings[0]
    entry = tables[0][mapping.ranges[0].pfn - mapping.first_table_pfn :].reshape(-1)
    entry[np.flatnonzero(entry & np.uint64(PTE_RW) == 0)[0]] |= np.uint64(PTE_RW)
    return replace(plan, image=replace(plan.image, tables=tables))


def flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes((data[offset] ^ 1,)) + data[offset + 1 :]


def unpin_another(plan: KexecPlan) -> KexecPlan:
    page = flipped(plan.trampoline.page, 32 if plan.layout.width == 64 else 16)
    return replace(plan, trampoline=replace(plan.trampoline, page=page))


def without(plan: KexecPlan, kind: type) -> KexecPlan:
    return replace(plan, operations=tuple(each for each in plan.operations if not isinstance(each, kind)))


FAULTS: dict[str, Callable[[KexecPlan], KexecPlan]] = {
    "1: frame twice": lambda plan: with_frames(plan, [0], [1]),
    "2: special frames swapped": lambda plan: with_frames(plan, special_slots(plan)[:2], special_slots(plan)[1::-1]),
    "3: busy frame in the window": busy_in_window,
    "5: no updates": lambda plan: without(plan, MmuUpdate),
    "8: writable table": writable_table,
    "9: unpin another": unpin_another,
    "10: start_info": lambda plan: replace(
        plan, image=replace(plan.image, start_info=flipped(plan.image.start_info, 32))
    ),
    "14: no pin": lambda plan: without(plan, PinTable),
}


@pytest.mark.parametrize("width", [64, 32])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_verifier_names_a_planted_fault(width: int, fault: str) -> None:
    source = running_loader(built(make_loader(width), 2048), trampoline_pfn=3)
    plan = plan_relocation(plan_layout(make_kernel(width), 2048), source)
    assert violations(plan) == []
    number = fault.partition(" ")[0]
    assert any(text.startswith(number) for text in violations(FAULTS[fault](plan)))


def test_a_loader_of_the_other_width_is_refused() -> None:
    source = running_loader(built(make_loader(64), 2048), trampoline_pfn=3)
    with pytest.raises(PlanError, match="own width"):
        plan_relocation(plan_layout(make_kernel(32), 2048), source)


def test_a_contradictory_source_is_refused() -> None:
    source = running_loader(built(make_loader(64), 2048), trampoline_pfn=3)
    twice = source.p2m.copy()
    twice[7] = twice[8]
    layout = plan_layout(make_kernel(64), 2048)
    for broken in (
        replace(source, p2m=twice),
        replace(source, console_pfn=5000),
        replace(source, console_pfn=source.xenstore_pfn),
        replace(source, busy=source.busy[:-1]),
    ):
        with pytest.raises(PlanError):
            plan_relocation(layout, broken)


def test_a_page_directory_below_4_gib_comes_from_the_domains_own_frames() -> None:
    mixed = np.concatenate([frames(2000, first=0x100000), frames(96, first=0x500)])
    loader = build_domain(plan_layout(make_loader(32), 2096), mixed, 0x900)
    source = running_loader(loader, trampoline_pfn=3)
    plan = plan_relocation(plan_layout(make_kernel(32, pae="yes"), 2096), source)
    assert plan.image.root_mfn < 0x100000
    assert violations(plan) == []
    high = running_loader(built(make_loader(32), 2096), trampoline_pfn=3)
    with pytest.raises(PlanError, match="below 4 GiB"):
        plan_relocation(plan_layout(make_kernel(32, pae="yes"), 2096), high)
