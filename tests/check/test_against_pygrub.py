"""What the rules say of pygrub, pygrub's own parser does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.check.rows import BOOTS, ENTRY, HEAD, found

PARSER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from grub.GrubConf import GrubConfigFile
menu = GrubConfigFile(sys.argv[2])
print(json.dumps({"default": menu.default, "images": [
    [image.title, image.kernel and image.kernel[1], image.args] for image in menu.images]}))
"""


@pytest.fixture(scope="module")
def library(parts: Callable[[str], Path]) -> Path:
    return next((parts("pygrub") / "root").glob("usr/lib/xen-*/lib/python"))


def parsed(library: Path, menu: Path) -> Any:
    """What pygrub makes of a menu; None if it stops."""
    done = subprocess.run(
        [sys.executable, "-c", PARSER, library, menu],
        capture_output=True,
        text=True,
        timeout=60,
        env={"LC_ALL": "C.UTF-8"},
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.mark.parametrize(
    ("line", "kernel"),
    [
        ("kernel\t/vmlinuz\troot=/dev/xvda1", "/vmlinuz\troot=/dev/xvda1"),
        ("kernel\t/vmlinuz\troot=/dev/xvda1 ro", "/vmlinuz"),
        ("kernel\t\t/vmlinuz root=/dev/xvda1", "/vmlinuz"),
    ],
)
def test_only_tabs_behind_a_kernel(library: Path, tmp_path: Path, line: str, kernel: str) -> None:
    places = found(tmp_path, f"{HEAD}title A\nroot (hd0,0)\n{line}\n", "tab-separator")
    assert parsed(library, tmp_path / "menu.lst")["images"][0][1] == kernel
    assert bool(places) == ("\t" in kernel)


@pytest.mark.parametrize("title", [b"caf\xe9", "caf\u00e9".encode()])
def test_bytes_that_are_not_utf_8(library: Path, tmp_path: Path, title: bytes) -> None:
    places = found(tmp_path, HEAD.encode() + b"title " + title + b"\n" + BOOTS.encode(), "encoding")
    assert (parsed(library, tmp_path / "menu.lst") is None) == bool(places)


def test_a_title_without_a_command_is_counted(library: Path, tmp_path: Path) -> None:
    assert found(tmp_path, f"{HEAD}title ----\n{ENTRY}", "empty-entry")
    assert [image[0] for image in parsed(library, tmp_path / "menu.lst")["images"]] == ["----", "Linux"]


def test_commands_of_the_head_are_ignored_in_entries(library: Path, tmp_path: Path) -> None:
    assert found(tmp_path, f"timeout 5\n{ENTRY}default 1\n{ENTRY}", "command-not-allowed-here")
    assert parsed(library, tmp_path / "menu.lst")["default"] == 0
