"""Invariant 13: the operations of a plan are ones that Xen's frame typing allows, replayed without a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.errors import BootError
from pvboot.handoff.machine import start_by_kexec, start_direct
from pvboot.kexec._formats import TRAMPOLINE_DATA
from pvboot.kexec.layout import BytesBlob, plan_layout
from pvboot.kexec.relocate import KexecPlan
from pvboot.machine.machine import Machine
from pvboot.xen.constants import MMUEXT_NEW_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE
from tests.kexec.kernels import make_kernel


def run_trampoline(machine: Machine, plan: KexecPlan) -> list[int]:
    """The trampoline's three hypercalls, with the operands it holds."""
    values = TRAMPOLINE_DATA[plan.layout.width].unpack_from(plan.trampoline.page)
    new_root, old_root, target, pte = values[1], values[4], values[6], values[7]
    return [
        machine.update_va_mapping(target, pte, 2),
        machine.mmuext_op([(MMUEXT_NEW_BASEPTR, new_root, 0), (MMUEXT_UNPIN_TABLE, old_root, 0)]),
    ]


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int | None, dict[str, Any], bytes]:
    width = draw(st.sampled_from([64, 32]))
    changes: dict[str, Any] = {}
    if draw(st.booleans()):
        changes["virt_base"] = 0
    elif width == 64 and draw(st.booleans()):
        changes["p2m_base"] = 0x8000000000
    changes["unmapped_initrd"] = draw(st.booleans())
    return (
        width,
        draw(st.integers(2600, 6000)),
        draw(st.one_of(st.none(), st.integers(0, 1000))),
        changes,
        draw(st.binary(max_size=20_000)),
    )


@settings(max_examples=30)
@given(cases())
def test_13_the_operations_never_break_the_typing_rules(
    case: tuple[int, int, int | None, dict[str, Any], bytes],
) -> None:
    width, nr_pages, seed, changes, ramdisk = case
    machine = Machine(width, nr_pages, frame_seed=seed)
    layout = plan_layout(
        make_kernel(width, **changes), nr_pages, ramdisk=BytesBlob(ramdisk) if ramdisk else None, cmdline=b"x"
    )
    plan = start_by_kexec(machine, layout)
    assert run_trampoline(machine, plan) == [0, 0]
    assert machine.domain.frames.pinned == {plan.image.root_mfn}
    inverse = machine.m2p[plan.image.p2m.astype(np.int64)]
    assert np.array_equal(inverse, np.arange(nr_pages))
    old_tables = {plan.source.root_mfn} | {table.mfn for table in plan.source.address_space.tables}  # type: ignore[union-attr]
    assert not any(machine.domain.frames.kind[mfn] in (1, 2, 3, 4, 7) for mfn in old_tables)


@pytest.mark.parametrize("width", [64, 32])
def test_the_model_refuses_a_writable_mapping_of_a_table(width: int) -> None:
    machine = Machine(width, 3000)
    plan = start_by_kexec(machine, plan_layout(make_kernel(width), 3000))
    leaf = plan.layout.mappings[0].ranges[0].pfn
    free = int(plan.image.p2m[-100])
    for flags, accepted in ((0x67, False), (0x65, True)):
        machine.write(free, 0, (int(plan.image.p2m[leaf]) << 12 | flags).to_bytes(8, "little"))
        assert (machine.mmuext_op([(MMUEXT_PIN_L1_TABLE, free, 0)]) == 0) is accepted


@pytest.mark.parametrize("width", [64, 32])
def test_a_fresh_domain_is_pinned_and_enterable(width: int) -> None:
    machine = Machine(width, 2048, frame_seed=5)
    image = start_direct(machine, plan_layout(make_kernel(width), 2048))
    assert machine.domain.frames.pinned == {image.root_mfn}


def test_a_page_directory_below_4_gib_needs_low_frames() -> None:
    machine = Machine(32, 2048)
    start_direct(machine, plan_layout(make_kernel(32, pae="yes"), 2048))
    machine = Machine(32, (4 << 30) // 4096 + 2048)
    with pytest.raises(BootError, match="below 4 GiB"):
        start_direct(machine, plan_layout(make_kernel(32, pae="yes"), machine.nr_pages))
