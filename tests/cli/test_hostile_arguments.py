"""Option values and host files that no sensible caller gives: one line, a documented exit code, bounded memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.make_images import run_tool
from pvboot.cli.common import LINE_LIMIT
from pvboot.cli.main import main
from pvboot.handoff.machine import idle_limit
from tests import REPOSITORY
from tests.oracle.images import TinyKernel

LOADER = {"busy": [[0, 10]], "console_pfn": 1, "xenstore_pfn": 2, "trampoline_pfn": 3, "root_pfn": 4}


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "kernel"
    path.write_bytes(TinyKernel().build())
    return path


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and the one line of a refused command line."""
    code = main(arguments)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("pvboot") and output.err.count("\n") == 1, output.err
    assert "internal error" not in output.err
    return code, output.err


@pytest.mark.parametrize("option", ["--kernel", "--ramdisk", "--p2m-in", "--loader", "--cmdline-file"])
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/mem", "/", "/nowhere", ""])
def test_unreadable_files_are_refused(kernel: Path, option: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [] if option == "--kernel" else ["--kernel", str(kernel)]
    assert refusal(["plan", *given, option, path], capsys)[0] == 3


def test_a_fifo_that_nobody_writes_does_not_hang(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "is empty" in refusal(["plan", "--kernel", str(fifo)], capsys)[1]


def test_a_pipe_is_read_to_its_end(kernel: Path) -> None:
    command = [sys.executable, "-m", "pvboot", "plan", "--kernel", "/dev/stdin", "--json"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate(kernel.read_bytes())
    assert (process.returncode, json.loads(output)["domain"]["width"]) == (0, 64)


def test_files_are_read_without_reserving_their_limit(kernel: Path) -> None:
    command = [sys.executable, "-m", "pvboot", "plan", "--kernel", str(kernel), "--ramdisk", str(kernel)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("value", [-1, 1 << 32, 1 << 70, "x", None, True, 1.5, [1], "1" * 6000, "0x" + "f" * 9000])
@pytest.mark.parametrize("key", ["console_port", "store_port", "console_pfn", "root_pfn"])
def test_a_number_of_the_loader_description_is_checked(
    kernel: Path, tmp_path: Path, key: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "loader.json"
    path.write_text(json.dumps({**LOADER, key: value}))
    code, line = refusal(["plan", "--kernel", str(kernel), "--memory", "8", "--loader", str(path)], capsys)
    assert code == 3
    assert key in line
    assert len(line) < LINE_LIMIT + 100


@pytest.mark.parametrize("memory", ["-1", "1048577", "99999999999999999999", "x", "", "64M"])
def test_impossible_memory_is_wrong_usage(kernel: Path, memory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(["plan", "--kernel", str(kernel), "--memory", memory], capsys)[0] == 2


def test_running_out_of_memory_is_one_line(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def out_of_memory(_args: object) -> int:
        raise MemoryError

    monkeypatch.setattr("pvboot.cli.plan.run", out_of_memory)
    assert refusal(["plan", "--kernel", str(kernel)], capsys) == (3, "pvboot: not enough memory for this input\n")


# --- cp


@pytest.mark.parametrize("arguments", [["/kernel", "{0}"], ["/kernel", "{0}/kernel"], ["-r", "/", "{0}"]])
def test_a_copy_onto_its_source_is_refused_and_harmless(
    kernel: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = kernel.read_bytes()
    folder = str(kernel.parent)
    code, line = refusal(["cp", folder, *(argument.format(folder) for argument in arguments)], capsys)
    assert (code, "overwrite" in line, kernel.read_bytes()) == (1, True, before)


def test_a_copy_onto_the_image_is_refused_and_harmless(
    images: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(images("ext2.img").read_bytes())
    assert refusal(["cp", str(image), "/boot/grub/menu.lst", str(image)], capsys)[0] == 1
    assert image.read_bytes() == images("ext2.img").read_bytes()


def test_a_fifo_at_the_destination_does_not_hang(
    kernel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert refusal(["cp", str(kernel.parent), "/kernel", str(fifo)], capsys)[0] == 1


def test_a_full_destination_is_a_no(kernel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(["cp", str(kernel.parent), "/kernel", "/dev/full"], capsys)[0] == 1


# --- boot


@pytest.mark.parametrize(
    "option", [["--shuffle", "-1"], ["--limit", "0"], ["--limit", "-1"], ["--limit", "nan"], ["--timeout", "-2"]]
)
def test_impossible_numbers_of_boot_are_wrong_usage(
    kernel: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(["boot", str(kernel.parent), "--no-menu", *option], capsys)[0] == 2


@pytest.mark.parametrize("value", ["x", "-1", "256", ""])
def test_poison_is_a_byte(kernel: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refusal(["plan", "--kernel", str(kernel), "--poison", value], capsys)
    assert (code, "expected a byte" in line) == (2, True)


def test_a_link_of_an_earlier_copy_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "guest/etc").mkdir(parents=True)
    (tmp_path / "guest/etc/passwd").write_text("guest's")
    (tmp_path / "host").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/etc").symlink_to(tmp_path / "host")
    code, line = refusal(["cp", "-r", str(tmp_path / "guest"), "/etc", str(tmp_path / "out")], capsys)
    assert (code, "symbolic link" in line, list((tmp_path / "host").iterdir())) == (1, True, [])


@pytest.mark.parametrize("target", ["a\0b", ""])
def test_a_link_that_no_host_can_hold_is_left_out(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = tmp_path / "guest"
    guest.mkdir()
    (guest / "link").symlink_to("somewhere")
    # A damaged disk says so; a directory of this machine cannot.
    monkeypatch.setattr("fsdrivers.directory.os.readlink", lambda *_args, **_more: os.fsencode(target))
    code, line = refusal(["cp", "-r", str(guest), "/", str(tmp_path / "out")], capsys)
    assert (code, "/link is left out" in line) == (1, True)


@pytest.mark.parametrize(("limit", "seconds"), [(None, 120.0), (3.0, 10.0), (60.0, 60.0), (1e9, 120.0)])
def test_a_sleeping_guest_is_bounded_by_the_limit(limit: float | None, seconds: float) -> None:
    assert idle_limit(limit) == seconds


def test_a_directory_that_is_named_in_many_places_is_entered_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, commands = tmp_path / "tree", []
    top = "/top"
    for _ in range(12):
        commands.append(f"ln {top}/a {top}/b")  # a second name for the next level: 2^12 ways to the last one
        top += "/a"
    (folder / top[1:]).mkdir(parents=True)
    image = tmp_path / "image"
    run_tool("mke2fs", "-q", "-F", "-t", "ext2", "-d", str(folder), str(image), "4M")
    run_tool("debugfs", "-w", "-R", "ln /top /top/self", str(image))
    for command in commands:
        run_tool("debugfs", "-w", "-R", command, str(image))
    assert main(["ls", "-R", str(image), "/top"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 * 12 + 1
