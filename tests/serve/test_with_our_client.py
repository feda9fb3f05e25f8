"""What `pvboot serve` publishes, booted by `pvboot boot`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.serve.server import Server

Serve = Callable[..., Server]


@pytest.mark.parametrize("scheme", ["http", "tftp"])
def test_a_guest_boots_out_of_a_served_image(serve: Serve, world: Path, run_cli: RunCli, scheme: str) -> None:
    tree = serve().url("/images/ext2.img/", scheme)
    done = run_cli("boot", tree, "--no-menu")
    assert done.returncode == 0, done.stderr
    assert "all checks passed" in done.stdout and "guest ended: poweroff" in done.stderr


@pytest.mark.parametrize("scheme", ["http", "tftp"])
def test_a_menu_for_pv_grub_counts_from_the_top(serve: Serve, world: Path, run_cli: RunCli, scheme: str) -> None:
    menu = "title x\nroot (nd)\nkernel (nd)/images/ext2.img/boot/tiny64.elf console=hvc0\n"
    (world / "files" / "menu.lst").write_text(menu)
    done = run_cli("boot", serve().url("/files/menu.lst", scheme), "--no-menu")
    assert done.returncode == 0, done.stderr
    assert "guest ended: poweroff" in done.stderr


def test_a_served_image_is_a_remote_disk(serve: Serve, world: Path, run_cli: RunCli) -> None:
    url = serve().url("/images/mbr.img/@raw")
    done = run_cli("ls", url, "(hd0,0)/boot", "-v")
    assert done.stdout == run_cli("ls", world / "images" / "mbr.img", "(hd0,0)/boot").stdout
    assert f"bytes of {url}" in done.stderr


def test_directories_are_listed(serve: Serve, world: Path, run_cli: RunCli) -> None:
    listed = run_cli("ls", "-R", serve().url("/files/")).stdout.split()
    assert sorted(listed) == ["/deep", "/deep/data.bin", "/menu.lst"]
