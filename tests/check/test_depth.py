"""--plan and --run: entries laid out, planned and started; what does not start is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.make_images import MODULE, MODULE_WORDS
from pvboot.check import run_entry
from tests.check.guests import TINY32, TINY64, Tree, check, menu_lst, of, plant, rules_of
from tests.oracle.images import TinyKernel

ENTRY = menu_lst("/boot/k", "initrd /boot/m", args=f"console=hvc0 root=/dev/xvda1 {MODULE_WORDS}", root="(hd0)")
GUEST: Tree = {"boot/grub/menu.lst": ENTRY, "boot/k": TINY64, "boot/m": MODULE}
DEPTH = {"no-plan", "plan-made", "does-not-start", "started"}


@pytest.mark.parametrize(("memory", "expected"), [(64, {"plan-made"}), (None, {"plan-made"}), (3, {"no-plan"})])
def test_a_plan_is_made_or_the_reason_given(tmp_path: Path, memory: int | None, expected: set[str]) -> None:
    found = check(plant(tmp_path, GUEST), depth="plan", memory_mib=memory)
    assert rules_of(found) & DEPTH == expected
    (finding,) = of(found, *expected)
    assert (finding.line, finding.column, finding.entry) == (5, 8, 0)
    assert f"{memory or 512} MiB" in finding.message


def test_without_being_asked_nothing_is_planned_or_run(tmp_path: Path) -> None:
    assert not rules_of(check(plant(tmp_path, GUEST))) & DEPTH


def test_an_entry_with_a_missing_file_is_the_matter_of_other_rules(tmp_path: Path) -> None:
    tree = {name: content for name, content in GUEST.items() if name != "boot/m"}
    found = check(plant(tmp_path, tree), depth="run", memory_mib=64)
    assert not rules_of(found) & DEPTH
    assert "missing-initrd-file" in rules_of(found)


@pytest.mark.parametrize("kernel", [TINY64, TINY32])
def test_an_entry_is_run_until_its_first_line(tmp_path: Path, kernel: bytes) -> None:
    found = check(plant(tmp_path, {**GUEST, "boot/k": kernel}), depth="run", memory_mib=64)
    assert rules_of(found) & DEPTH == {"plan-made", "started"}
    (started,) = of(found, "started")
    assert "hello" in started.message and "CPU seconds" in started.message
    assert (started.severity, started.line) == ("note", 5)


def test_the_layers_that_cannot_hold_are_named_once(tmp_path: Path) -> None:
    menu = ENTRY + ENTRY.partition("timeout 5\n")[2].replace("title one", "title two")
    found = check(plant(tmp_path, {**GUEST, "boot/grub/menu.lst": menu}), depth="run", memory_mib=64)
    assert [finding.entry for finding in of(found, "started")] == [0, 1]
    (layers,) = of(found, "run-sandbox")
    assert "no executable memory: " in layers.message and "seccomp" not in layers.message


@pytest.mark.parametrize(("until", "rule"), [("hello", "started"), ("login:", "does-not-start")])
def test_an_entry_is_run_until_a_text(tmp_path: Path, until: str, rule: str) -> None:
    found = check(plant(tmp_path, GUEST), depth="run", memory_mib=64, until=until)
    assert rules_of(found) & DEPTH == {"plan-made", rule}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"\x0f\x0b", "crash"),  # ud2
        (b"\xeb\xfe", "cpu-limit"),  # jmp .
    ],
)
def test_a_kernel_that_says_nothing(tmp_path: Path, code: bytes, reason: str) -> None:
    kernel = TinyKernel(code=code).build()
    found = check(plant(tmp_path, {**GUEST, "boot/k": kernel}), depth="run", memory_mib=64, run_seconds=1.0)
    (finding,) = of(found, "does-not-start")
    assert reason in finding.message
    assert finding.severity == "error"


def test_only_files_that_cannot_be_written_go_into_the_child(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x")
    with open(disk, "rb") as read_only, open(tmp_path / "report", "w") as report, open(disk, "r+b") as both:
        kept = run_entry._descriptors()
        assert read_only.fileno() in kept
        assert not {report.fileno(), both.fileno()} & kept


def test_the_command_line_runs_and_reports(run_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plant(tmp_path, GUEST)
    done = run_cli("check", "--run", "--memory", "64M", "--limit", "20", "--until", "hello", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[started]" in done.stdout and "[plan-made]" in done.stdout
    done = run_cli("check", "--plan", "--memory", "3", tmp_path)
    assert done.returncode == 1
    assert "[no-plan]" in done.stdout
