"""`pvboot plan` as a user runs it: sources of the kernel, the running loader, output files."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import REPOSITORY
from tests.conftest import RunCli

TINY = REPOSITORY / "fixtures" / "kernels" / "tiny64.elf"
MIB = 64
PAGES = MIB * 256


def loader_of_the_reference_page() -> dict[str, Any]:
    """The example that docs/reference/kexec-plan.md gives for --loader."""
    page = (REPOSITORY / "docs" / "reference" / "kexec-plan.md").read_text()
    example = re.search(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert example is not None
    document: dict[str, Any] = json.loads(example[1])
    return document


@pytest.fixture
def loader(tmp_path: Path) -> Path:
    path = tmp_path / "loader.json"
    path.write_text(json.dumps(loader_of_the_reference_page()))
    return path


def test_all_output_files_describe_one_plan(run_cli: RunCli, loader: Path, tmp_path: Path) -> None:
    old = [0x200000 + 3 * page for page in range(PAGES)]
    (tmp_path / "old").write_bytes(struct.pack(f"<{PAGES}Q", *old))
    files = {"--json": "plan.json", "--p2m-out": "new", "--m2p-out": "updates", "--svg": "plan.svg", "--dump": "memory"}
    options = [part for option, name in files.items() for part in (option, tmp_path / name)]
    sources = ("--kernel", TINY, "--memory", MIB, "--p2m-in", tmp_path / "old", "--loader", loader)
    done = run_cli("plan", *sources, *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    new = list(struct.unpack(f"<{PAGES}Q", (tmp_path / "new").read_bytes()))
    assert sorted(new) == old
    displaced = [page for page in range(PAGES) if new[page] != old[page]]
    updates = struct.iter_unpack("<QQ", (tmp_path / "updates").read_bytes())
    assert list(updates) == [(new[page] << 12 | 1, page) for page in displaced]
    document = json.loads((tmp_path / "plan.json").read_text())
    assert document["plan"]["displaced"] == len(displaced) > 0
    assert sum(move["pages"] for move in document["plan"]["moves"]) == len(displaced)
    p2m_list = next(row for row in document["segments"] if row["name"] == "p2m")
    with (tmp_path / "memory").open("rb") as memory:
        assert memory.seek(0, 2) == PAGES * 4096
        memory.seek(int(p2m_list["pfn"], 16) * 4096)
        assert memory.read(PAGES * 8) == (tmp_path / "new").read_bytes()
    assert (tmp_path / "plan.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize("key", ["console_pfn", "xenstore_pfn", "trampoline_pfn", "root_pfn"])
@pytest.mark.parametrize("value", [None, -1, PAGES, "x", True, 1.5])
def test_a_bad_page_of_the_loader_is_named(run_cli: RunCli, loader: Path, key: str, value: object) -> None:
    document = loader_of_the_reference_page()
    del document[key]
    loader.write_text(json.dumps(document if value is None else {**document, key: value}))
    done = run_cli("plan", "--kernel", TINY, "--memory", MIB, "--loader", loader)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"'{key}'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"busy": [[PAGES - 1, 2]]},
        {"busy": [[0]]},
        {"busy": 5},
        {"tables": [{"level": 4, "va": 0, "pfn": 1}]},
        {"tables": [{"level": 1, "va": 0}]},
        {"tables": [{"level": 1, "va": 0, "pfn": PAGES}]},
        {"aliases": [[0, 12]]},
        {"store_port": None},
        {"store_port": 0},
        {"console_port": 1 << 40},
    ],
)
def test_a_bad_list_of_the_loader_is_one_line(run_cli: RunCli, loader: Path, change: dict[str, Any]) -> None:
    loader.write_text(json.dumps({**loader_of_the_reference_page(), **change}))
    done = run_cli("plan", "--kernel", TINY, "--memory", MIB, "--loader", loader)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("pvboot: ") and done.stderr.count("\n") == 1


def test_ports_of_the_loader_reach_start_info(run_cli: RunCli, loader: Path) -> None:
    loader.write_text(json.dumps({**loader_of_the_reference_page(), "console_port": "0x7", "store_port": 9}))
    done = run_cli("plan", "--kernel", TINY, "--memory", MIB, "--loader", loader, "--json")
    assert done.returncode == 0, done.stderr
    start_info = json.loads(done.stdout)["start_info"]
    assert (start_info["console_evtchn"], start_info["store_evtchn"]) == ("0x7", "0x9")


def command_line(run_cli: RunCli, *arguments: str | Path) -> str:
    done = run_cli("plan", "--kernel", TINY, "--memory", MIB, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    text: str = json.loads(done.stdout)["start_info"]["cmd_line"]
    return text


def test_arguments_are_appended_to_whatever_command_line(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "line").write_bytes(b"from a file\0rubbish")
    assert command_line(run_cli) == ""
    assert command_line(run_cli, "--append", "more") == "more"
    assert command_line(run_cli, "--cmdline", " a ", "--append", "more") == " a  more"
    assert command_line(run_cli, "--cmdline-file", tmp_path / "line", "--append", "more") == "from a file more"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("disk.img", "--kernel", TINY),
        ("disk.img", "--cmdline", "x"),
        ("disk.img", "--cmdline-file", "x"),
        ("disk.img", "--ramdisk", "x"),
        ("--kernel", TINY, "--cmdline", "x", "--cmdline-file", "x"),
        ("--kernel", TINY, "--memory", "-1"),
    ],
)
def test_what_contradicts_itself_is_wrong_usage(run_cli: RunCli, arguments: tuple[str | Path, ...]) -> None:
    done = run_cli("plan", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_json_without_a_file_leaves_the_source_alone(run_cli: RunCli, images: Callable[[str], Path]) -> None:
    done = run_cli("plan", "--json", images("ext2.img"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["domain"]["width"] == 64
