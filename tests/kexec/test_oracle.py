"""Layouts, contents, page tables and registers against Xen's real domain builder, bit for bit."""

from __future__ import annotations

import gzip
import json
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvboot.blobs import ramdisk_of_old_builders
from pvboot.kernel.loader import parse_kernel
from pvboot.kexec.build import DomainImage, build_domain
from pvboot.kexec.contents import dump_domain
from pvboot.kexec.layout import BytesBlob, plan_layout
from pvboot.kexec.relocate import plan_relocation
from pvboot.kexec.report import domain_report, plan_report
from pvboot.kexec.source import SourceDomain
from pvboot.kexec.verify import violations
from tests.oracle.good import Layout, good_layouts
from tests.oracle.run import run_oracle

Parts = Callable[[str], Path]

COMPARED = (
    "status",
    "parms",
    "domain",
    "segments",
    "start_info",
    "vcpu",
    "page_tables",
    "p2m",
    "touched",
    "shared_info",
    "grant_table",
    "m2p_updates",
)
NUMBER_OF_LAYOUTS = 50


@pytest.fixture(scope="module")
def layouts(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> list[Layout]:
    return good_layouts(tmp_path_factory.mktemp("layouts"), parts)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


def option(args: tuple[str, ...], name: str) -> str | None:
    return args[args.index(name) + 1] if name in args else None


def first_differing_page(ours: Path, theirs: Path) -> int | None:
    """Index of the first page that differs between two sparse files of one size."""
    with ours.open("rb") as a, theirs.open("rb") as b:
        size = os.fstat(a.fileno()).st_size
        assert size == os.fstat(b.fileno()).st_size
        ranges = sorted({*data_ranges(a.fileno(), size), *data_ranges(b.fileno(), size)})
        with mmap.mmap(a.fileno(), 0, prot=mmap.PROT_READ) as x, mmap.mmap(b.fileno(), 0, prot=mmap.PROT_READ) as y:
            for start, stop in ranges:
                if x[start:stop] != y[start:stop]:
                    pages = range(start // 4096, stop // 4096)
                    return next(p for p in pages if x[p * 4096 : (p + 1) * 4096] != y[p * 4096 : (p + 1) * 4096])
    return None


def data_ranges(fd: int, size: int) -> Iterator[tuple[int, int]]:
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:
            return
        position = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, position


def build_like(oracle_json: dict[str, Any], layout: Layout, p2m_file: Path) -> DomainImage:
    """Our domain for the oracle's input: same kernel, ramdisk, command line and frames."""
    kernel = parse_kernel(layout.kernel.read_bytes(), name=layout.name)
    ramdisk = option(layout.args, "--ramdisk")
    planned = plan_layout(
        kernel,
        layout.memory_mib * 256,
        ramdisk=BytesBlob(Path(ramdisk).read_bytes()) if ramdisk else None,
        cmdline=(option(layout.args, "--cmdline") or "").encode(),
    )
    if oracle_json["input"]["mfn_mode"] == "offset":
        offset = int(oracle_json["input"]["mfn_offset"], 16)
        p2m = np.arange(planned.nr_pages, dtype=np.uint64) + np.uint64(offset)
    else:
        p2m = np.fromfile(p2m_file, dtype="<u8")
    return build_domain(planned, p2m, int(p2m.max()) + 1, low_mfn=1)


def assert_same_report(ours: dict[str, Any], theirs: dict[str, Any], keys: tuple[str, ...] = COMPARED) -> None:
    ours = json.loads(json.dumps(ours))
    for key in keys:
        mine, reference = ours[key], theirs[key]
        if key == "segments":
            for row in (*mine, *reference):
                if row["name"] == "p2m":
                    row.pop("vend")
            mine, reference = ({row["name"]: row for row in rows} for rows in (mine, reference))
        if key == "p2m" and theirs["m2p_updates"]:
            del mine["sha256_u64le"], reference["sha256_u64le"]
        if isinstance(mine, dict):
            assert {name: mine.get(name) for name in reference} == reference, key
        else:
            assert mine == reference, key


@pytest.mark.slow
@pytest.mark.parametrize("number", range(NUMBER_OF_LAYOUTS))
def test_good_layouts_are_identical_to_xens(number: int, layouts: list[Layout], parts: Parts, work: Path) -> None:
    assert len(layouts) == NUMBER_OF_LAYOUTS
    layout = layouts[number]
    p2m, dump = work / "xen.p2m", work / "xen.mem"
    theirs = run_oracle(
        parts("oracle"), layout.kernel, *layout.oracle_args, "--p2m-out", p2m, "--dump", dump, timeout=120
    )
    assert theirs["status"] == "ok"
    image = build_like(theirs, layout, p2m)
    poison = 0xA5 if "--poison" in layout.args else 0
    assert_same_report(domain_report(image, poison=poison), theirs)
    dump_domain(image, str(work / "our.mem"), poison)
    assert first_differing_page(work / "our.mem", dump) is None
    assert np.array_equal(image.p2m, np.fromfile(p2m, dtype="<u8"))


RUNNING = {
    "low loader": ([[0, 0x200]], 0x10, 0x11, 0x12, 0x13),
    "scattered": ([[0x40, 0x80], [0x3000, 0x400]], 5, 0x635, 0x3FFF, 0x100),
    "specials in the window": ([[0, 4]], 0x637, 0x638, 0x636, 0x63E),
}


@pytest.mark.parametrize("kernel", ["grub-x86_64-xen.bin", "grub-i386-xen.bin"])
@pytest.mark.parametrize("running", RUNNING.values(), ids=RUNNING)
@pytest.mark.parametrize("order", [(), ("--shuffle", "9")], ids=["in order", "shuffled"])
def test_a_relocated_domain_is_what_pv_grubs_kexec_makes_up_to_the_choice_of_frames(
    kernel: str, running: tuple[list[list[int]], int, int, int, int], order: tuple[str, ...], parts: Parts, work: Path
) -> None:
    busy_ranges, console, store, boot, root = running
    special = ["--cur-console-pfn", hex(console), "--cur-store-pfn", hex(store), "--cur-boot-pfn", hex(boot)]
    image_file = parts(kernel)
    theirs = run_oracle(
        parts("oracle"), image_file, "--mem", "64", "--kexec", *special, *order, "--dump", work / "xen.mem"
    )
    assert theirs["status"] == "ok"
    run_oracle(parts("oracle"), image_file, "--mem", "64", *order, "--p2m-out", work / "old.p2m")
    old = np.fromfile(work / "old.p2m", dtype="<u8")
    busy = np.zeros(len(old), dtype=np.bool_)
    for pfn, pages in busy_ranges:
        busy[pfn : pfn + pages] = True
    busy[[console, store, boot, root]] = True
    source = SourceDomain(
        width=64 if "x86_64" in kernel else 32,
        p2m=old,
        busy=busy,
        shared_info_mfn=int(old.max()) + 1,
        console_pfn=console,
        xenstore_pfn=store,
        trampoline_pfn=boot,
        root_mfn=int(old[root]),
    )
    layout = plan_layout(parse_kernel(image_file.read_bytes(), name=kernel), len(old))
    plan = plan_relocation(layout, source)
    assert violations(plan) == []
    ours = plan_report(plan)
    assert [{k: row[k] for k in ("name", "pfn", "pages", "vstart")} for row in ours["segments"]] == [
        {k: row[k] for k in ("name", "pfn", "pages", "vstart")} for row in theirs["segments"]
    ]
    for key in ("boot_target", "boot_stack", "start_info_va", "entry"):
        assert ours["kexec"][key] == theirs["kexec"][key]
    assert ours["page_tables"]["mappings"] == theirs["page_tables"]["mappings"]
    assert ours["page_tables"]["frames_by_level"] == theirs["page_tables"]["frames_by_level"]
    by_frame = {"store_mfn", "console_mfn"}
    assert {k: v for k, v in ours["start_info"].items() if k not in by_frame} == {
        k: v for k, v in theirs["start_info"].items() if k not in by_frame
    }
    dump_domain(plan.image, str(work / "our.mem"))
    mine, reference = (np.fromfile(work / name, dtype=np.uint8).reshape(-1, 4096) for name in ("our.mem", "xen.mem"))
    by_content = np.ones(layout.pfn_end, dtype=np.bool_)
    for name in ("p2m", "pgtables", "start_info", "bootstack", "console", "xenstore"):
        segment = layout.segment(name)
        by_content[segment.pfn : segment.end_pfn] = False
    differing = (mine[: layout.pfn_end] != reference[: layout.pfn_end]).any(axis=1) & by_content
    assert not np.flatnonzero(differing).tolist()


@pytest.mark.parametrize("mib", [3, 64])
def test_a_gzip_ramdisk_is_unpacked_as_xen_4_17_does(mib: int, parts: Parts, layouts: list[Layout], work: Path) -> None:
    tiny = next(layout for layout in layouts if layout.name == "tiny64-32").kernel
    packed = gzip.compress(b"initrd text " * (mib << 16), 1)
    (work / "rd.gz").write_bytes(packed)
    theirs = run_oracle(parts("oracle"), tiny, "--mem", "128", "--ramdisk", work / "rd.gz")
    kernel = parse_kernel(tiny.read_bytes(), name="tiny64")
    layout = plan_layout(kernel, 128 * 256, ramdisk=ramdisk_of_old_builders(BytesBlob(packed)))
    p2m = np.arange(layout.nr_pages, dtype=np.uint64) + np.uint64(0x100000)
    assert_same_report(domain_report(build_domain(layout, p2m, int(p2m.max()) + 1)), theirs)
