"""Layouts that must be refused, and the rules at their edges."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.errors import PlanError
from pvboot.kernel.features import AUTO_TRANSLATED_PHYSMAP
from pvboot.kernel.image import Piece
from pvboot.kexec.build import build_domain
from pvboot.kexec.contents import kernel_pages
from pvboot.kexec.layout import BytesBlob, plan_layout
from pvboot.kexec.report import page_table_report
from tests.kexec.kernels import PAGE, built, frames, make_kernel

HIGH = 0xFFFFFFFF80000000


@pytest.mark.parametrize(
    ("changes", "pages", "reason"),
    [
        ({}, 0, "impossible domain size"),
        ({}, 0x100, "too small for the kernel"),
        ({}, 0x3FF, "not enough memory for the initial mapping"),
        ({"virt_kstart": HIGH + 0x100123}, 4096, "not page aligned"),
        ({"virt_base": 0xFFFFFFFFFFE00000}, 16384, "reaches the end of the address space"),
        ({"virt_base": 0xFFFF820000000000}, 16384, "hypervisor's address range"),
        ({"virt_base": 0x0000900000000000}, 16384, "not canonical"),
        ({"p2m_base": 0xFFFF800000000000}, 16384, "hypervisor's address range"),
        ({"p2m_base": 0x0000900000000000}, 16384, "not canonical"),
        ({"p2m_base": HIGH - 4096}, 16384, "runs into the kernel's mapping"),
        ({"hypercall_page": HIGH + (1 << 30)}, 16384, "hypercall page"),
        ({"hypercall_page": HIGH - 4096}, 16384, "hypercall page"),
        ({"features_required": AUTO_TRANSLATED_PHYSMAP}, 16384, "auto_translated_physmap"),
    ],
)
def test_what_cannot_be_a_domain_is_refused(changes: dict[str, Any], pages: int, reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        plan_layout(make_kernel(64, **changes), pages)


def test_a_32_bit_kernel_in_the_hypervisors_range_is_refused() -> None:
    with pytest.raises(PlanError, match="hypervisor's address range"):
        plan_layout(make_kernel(32, virt_base=0xF8000000), 16384)


def test_1024_pages_hold_a_kernel_at_1_mib_whose_mapping_ends_at_4_mib() -> None:
    layout = plan_layout(make_kernel(64), 1024)
    assert layout.mapped_pages == layout.pfn_end == 1024


def test_an_unusable_init_p2m_is_dropped() -> None:
    for base in (0x8000000123, HIGH + 0x40000000):
        assert plan_layout(make_kernel(64, p2m_base=base), 16384).p2m_base is None
    assert plan_layout(make_kernel(64, p2m_base=0x8000000000), 16384).p2m_base == 0x8000000000


def test_an_unmapped_ramdisk_is_named_by_page_and_counted_in_pages() -> None:
    layout = plan_layout(make_kernel(64, unmapped_initrd=True), 4096, ramdisk=BytesBlob(b"x" * 5000))
    segment = layout.segment("ramdisk")
    assert (layout.mod_start, layout.mod_len, layout.flags) == (segment.pfn, 8192, 8)
    assert segment.pfn == layout.mapped_pages


def test_the_command_line_is_cut_at_1023_bytes() -> None:
    image = built(make_kernel(64), 4096, cmdline=b"x" * 5000)
    assert image.start_info[128:1152] == b"x" * 1023 + b"\0"


def test_a_frame_number_too_large_for_32_bits_is_refused() -> None:
    layout = plan_layout(make_kernel(32), 4096)
    with pytest.raises(PlanError, match="32-bit guest"):
        build_domain(layout, frames(4096, first=(1 << 32) - 100), 1)


def test_a_later_piece_overwrites_an_earlier_one_zeros_included() -> None:
    pieces = (Piece(0, memoryview(b"a" * 300), 300), Piece(100, memoryview(b"b" * 50), 100))
    pages = kernel_pages(built(make_kernel(64, pieces=pieces), 4096)).tobytes()
    assert pages[:300] == b"a" * 100 + b"b" * 50 + b"\0" * 50 + b"a" * 100


@settings(max_examples=60)
@given(
    width=st.sampled_from([64, 32]),
    pages=st.integers(1024, 20000),
    kernel_pages_=st.integers(1, 900),
    start=st.integers(0, 600),
    ramdisk=st.integers(0, 3_000_000),
    p2m_base=st.one_of(st.none(), st.integers(0, 0x1FFFF).map(lambda x: x << 21)),
    unmapped=st.booleans(),
)
def test_every_layout_maps_what_it_allocates_and_nothing_foreign(
    width: int, pages: int, kernel_pages_: int, start: int, ramdisk: int, p2m_base: int | None, unmapped: bool
) -> None:
    base = HIGH if width == 64 else 0xC0000000
    kernel = make_kernel(
        width,
        virt_kstart=base + start * PAGE,
        virt_entry=base + start * PAGE,
        virt_kend=base + (start + kernel_pages_) * PAGE,
        pieces=(),
        p2m_base=p2m_base,
        unmapped_initrd=unmapped,
    )
    try:
        layout = plan_layout(kernel, pages, ramdisk=BytesBlob(bytes(ramdisk)) if ramdisk else None)
    except PlanError:
        return
    image = build_domain(layout, frames(pages, seed=1), 1)
    report = page_table_report(image)
    assert report["foreign_ptes"] == report["writable_maps_of_page_tables"] == 0
    assert report["frames"] == sum(mapping.table_count for mapping in layout.mappings)
    mapped = sum(run["pages"] for run in report["mappings"])
    assert mapped == layout.mapped_pages + (layout.p2m_list_pages if layout.p2m_base is not None else 0)
    ordered = sorted(layout.segments, key=lambda segment: segment.pfn)
    assert all(a.end_pfn <= b.pfn for a, b in pairwise(ordered))
    assert ordered[-1].end_pfn <= layout.pfn_end <= pages
    assert np.array_equal(np.sort(image.p2m), np.sort(frames(pages)))
