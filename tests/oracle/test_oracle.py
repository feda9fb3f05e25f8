"""The oracle repeats itself, its frame models agree, and `compare` names planted faults."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.diff import compare, main
from tests.oracle.good import good_layouts
from tests.oracle.images import TinyKernel
from tests.oracle.layout import Layout
from tests.oracle.run import run_many, run_oracle

PAGES = 0x4000  # 64 MiB
Build = Callable[..., Layout]


@pytest.fixture(scope="module")
def oracle(parts: Callable[[str], Path]) -> Path:
    return parts("oracle")


@pytest.fixture(scope="module")
def build(oracle: Path, parts: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`build(name, *args)`: GRUB in 64 MiB, with memory and p2m; the files are NAME.mem and NAME.p2m."""
    folder = tmp_path_factory.mktemp("oracle")

    def made(name: str, *args: str | Path, memory: int = 64) -> Layout:
        dump, p2m = folder / f"{name}.mem", folder / f"{name}.p2m"
        files = ("--dump", dump, "--p2m-out", p2m, "--m2p-out", folder / f"{name}.m2p")
        facts = run_oracle(oracle, parts("grub-x86_64-xen.bin"), "--mem", str(memory), *files, *args)
        assert facts["status"] == "ok"
        (folder / f"{name}.json").write_text(json.dumps(facts))
        return Layout(name, facts, dump, p2m)

    return made


@pytest.fixture(scope="module")
def direct(build: Build) -> Layout:
    return build("direct")


def test_same_input_gives_the_same_layout(build: Build, direct: Layout) -> None:
    assert compare(direct, build("again")) == []


def test_shuffled_frames_differ_but_not_by_pfn(build: Build, direct: Layout) -> None:
    shuffled = build("shuffled", "--shuffle", "7")
    assert any(line.startswith("pagetable") for line in compare(direct, shuffled))
    assert compare(direct, shuffled, by_pfn=True, only_common=True) == []


def test_frames_given_by_file_give_the_same_layout(build: Build, direct: Layout, tmp_path: Path) -> None:
    shuffled = build("shuffled", "--shuffle", "7")
    p2m = tmp_path / "p2m"
    assert shuffled.p2m is not None
    p2m.write_bytes(shuffled.p2m)
    shared_info = shuffled.facts["shared_info"]["mfn"]
    assert compare(shuffled, build("given", "--p2m-in", p2m, "--shinfo-mfn", shared_info)) == []


def test_more_memory_and_poison_show(build: Build, direct: Layout) -> None:
    assert compare(direct, build("bigger", memory=65))
    lines = compare(direct, build("poisoned", "--poison"))
    assert {line.partition(":")[0] for line in lines} == {"memory"}


@pytest.mark.parametrize(
    ("segment", "page", "offset", "flip", "line"),
    [
        ("pgtables", 3, 8, 0x4, "pagetable: PTE flags differ at VA 0x1000: A 0x23(P|RW|A), B 0x27(P|RW|US|A)"),
        ("pgtables", 3, 16, 0x1000, "pagetable: PTE target differs at VA 0x2000"),
        ("start_info", 0, 96, 0x1, "memory: start_info page, field nr_pt_frames (offset 96): A 0x7, B 0x6"),
        ("start_info", 0, 128, 0x41, "memory: start_info page, field cmd_line"),
        ("kernel", 1, 0x230, 0xFF, "(kernel+0x1000) offset 0x230"),
    ],
)
def test_planted_fault_is_named(
    segment: str, page: int, offset: int, flip: int, line: str, direct: Layout, tmp_path: Path
) -> None:
    assert direct.memory is not None
    memory = bytearray(direct.memory)
    place = (direct.segments[segment]["pfn"] + page) * 4096 + offset
    (word,) = struct.unpack_from("<Q", memory, place)
    struct.pack_into("<Q", memory, place, word ^ flip)
    dump = tmp_path / "faulty.mem"
    dump.write_bytes(memory)
    lines = compare(direct, Layout("faulty", direct.facts, dump))
    assert any(line in each for each in lines), lines


def test_planted_p2m_fault_is_named(direct: Layout, tmp_path: Path) -> None:
    assert direct.p2m is not None
    p2m = bytearray(direct.p2m)
    struct.pack_into("<Q", p2m, 80, 5)
    path = tmp_path / "faulty.p2m"
    path.write_bytes(p2m)
    assert "p2m: pfn 0xa: A mfn 0x10000a, B mfn 0x5" in compare(direct, Layout("faulty", direct.facts, p2m=path))


def test_exit_code_says_whether_layouts_are_equal(
    build: Build, direct: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(json.dumps(direct.facts))
    b.write_text(json.dumps({**direct.facts, "parms": {**direct.facts["parms"], "virt_base": "0x1000"}}))
    assert main([str(a), str(a)]) == 0
    assert main([str(a), str(b)]) == 1
    assert "parms: virt_base: A 0x0, B 0x1000" in capsys.readouterr().out


@pytest.mark.parametrize("allocator", ["up", "down", "random"])
def test_kexec_leads_to_the_direct_layout(allocator: str, build: Build, direct: Layout, tmp_path: Path) -> None:
    order = list(range(PAGES))
    random.Random(3).shuffle(order)
    pfns = tmp_path / "pfns"
    pfns.write_bytes(struct.pack(f"<{PAGES}Q", *order))
    args: dict[str, tuple[str | Path, ...]] = {"up": (), "down": ("--alloc-down",), "random": ("--alloc-file", pfns)}
    moved = build(f"kexec-{allocator}", "--kexec", *args[allocator])
    assert moved.p2m is not None
    assert sorted(moved.p2m) == list(range(0x100000, 0x100000 + PAGES))
    lines = compare(direct, moved, by_pfn=True, only_common=True)
    # The loader pins later, in its trampoline; and it gives GRUB a module of size 0 and other flags.
    lines = [line for line in lines if "pin_cmd" not in line]
    assert [line for line in lines if line.startswith(("memory", "segment", "pagetable"))] == []


def test_hypercall_page_is_written_as_the_hypervisor_would(oracle: Path, tmp_path: Path) -> None:
    kernel, dump = tmp_path / "tiny", tmp_path / "mem"
    kernel.write_bytes(TinyKernel().build())
    run_oracle(oracle, kernel, "--mem", "16", "--hypercall-page", "--dump", dump)
    page = dump.read_bytes()[0x101000:0x102000]
    assert page[:14].hex() == "514153b8000000000f05415b59c3"
    assert page[23 * 32 : 23 * 32 + 11].hex() == "51415350b8170000000f05"


@pytest.mark.slow
def test_good_layouts_are_built_without_foreign_entries_or_writable_tables(
    oracle: Path, parts: Callable[[str], Path], tmp_path: Path
) -> None:
    layouts = good_layouts(tmp_path, parts)
    assert len(layouts) == 50
    runs: list[tuple[Path | str, ...]] = [(layout.kernel, "--no-hash", *layout.oracle_args) for layout in layouts]
    results: list[dict[str, Any]] = run_many(oracle, runs, timeout=120)
    for layout, result in zip(layouts, results, strict=True):
        assert result["status"] == "ok", layout.name
        tables = result["page_tables"]
        assert (tables["foreign_ptes"], tables["writable_maps_of_page_tables"]) == (0, 0), layout.name
