"""From a disk image to a guest that has found everything in order: the whole way, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.make_images import IMAGES
from tests import REPOSITORY

Images = Callable[[str], Path]
RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]

TITLES = [
    "Tiny 64-bit kernel",
    "Tiny 64-bit kernel with a module",
    "Tiny 64-bit kernel, own p2m address, unmapped module",
    "Tiny 32-bit kernel with a module",
]


@pytest.mark.parametrize("name", IMAGES)
def test_the_menu_of_every_image_is_found(images: Images, run_cli: RunCli, name: str) -> None:
    done = run_cli("menu", "--json", images(name))
    assert done.returncode == 0, done.stderr
    menu = json.loads(done.stdout)
    assert [entry["title"] for entry in menu["entries"]][:4] == TITLES
    assert (menu["default"], menu["fallback"], menu["timeout"], menu["hidden"]) == (0, [1], 2, False)
    assert menu["entries"][1]["kernel"] == "/boot/tiny64.elf"
    assert menu["entries"][1]["initrds"] == ["/boot/module.txt"]


@pytest.mark.parametrize("name", IMAGES)
def test_the_default_entry_of_every_image_boots(images: Images, run_cli: RunCli, name: str) -> None:
    done = run_cli("boot", "--no-menu", images(name))
    assert done.returncode == 0, done.stderr
    assert "pvboot-tiny64: all checks passed" in done.stdout


@pytest.mark.parametrize(
    ("entry", "guest"), [(0, "tiny64"), (1, "tiny64"), (2, "tiny64-p2m"), (3, "tiny32"), (4, "tiny64")]
)
def test_every_entry_boots_by_its_number(images: Images, run_cli: RunCli, entry: int, guest: str) -> None:
    """The last one is on a logical partition."""
    done = run_cli("boot", "--no-menu", "--entry", str(entry), images("mbr.img"))
    assert done.returncode == 0, done.stderr
    assert f"pvboot-{guest}: all checks passed" in done.stdout


def test_a_guest_that_crashes_is_a_failure(images: Images, run_cli: RunCli) -> None:
    done = run_cli("boot", "--no-menu", "--append", "pages=17", images("ext2.img"))
    assert done.returncode == 1
    assert "FAILED: nr_pages" in done.stdout + done.stderr


def test_memory_and_appended_arguments_reach_the_guest(images: Images, run_cli: RunCli) -> None:
    done = run_cli("boot", "--no-menu", "--memory", "48M", "--append", "pages=0x3000", images("ext2.img"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_demo_boots_debian_to_user_space(parts: Callable[[str], Path]) -> None:
    parts("vmlinuz-6.1")
    command = [sys.executable, "fixtures/demo.py"]
    done = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Linux version 6.1." in done.stdout
    assert "pvboot-initrd: hello from user space" in done.stdout
    assert "demo: the guest powered off cleanly" in done.stderr


def test_without_debian_packages_the_demo_boots_a_tiny_kernel(tmp_path: Path) -> None:
    """A PATH without apt stands for a machine that cannot fetch packages."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("mke2fs", "debugfs"):
        (tools / tool).symlink_to(f"/usr/sbin/{tool}")
    environment = {**os.environ, "PATH": str(tools), "PVBOOT_PARTS": str(tmp_path / "parts")}
    command = [sys.executable, "fixtures/demo.py"]
    done = subprocess.run(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "tiny PV kernel instead" in done.stderr
    assert "pvboot-tiny64: all checks passed" in done.stdout
