"""`pvboot-netboot` against servers."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fetch.servers import http_server, tftpd_hpa
from tests.libxl.netboot.test_netboot import KERNEL, RAMDISK, items, left, netboot, tree

__all__ = ["netboot", "tree"]  # fixtures

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
DIGEST = hashlib.sha256(KERNEL).hexdigest()


def test_an_installation_tree_on_a_web_server(netboot: Run, tree: Path) -> None:
    with http_server(tree) as server:
        done = netboot(f"--location={server.url}", "-v")
    assert done.returncode == 0, done.stderr
    found = items(done.stdout)
    assert Path(found["kernel"]).read_bytes() == KERNEL
    assert Path(found["ramdisk"]).read_bytes() == RAMDISK
    fetched = [path for method, path, _range in server.asked if method == "GET" and path != "/.treeinfo"]
    assert fetched.count("/current/images/netboot/xen/vmlinuz") == 1
    if os.geteuid() == 0:
        assert b"user" in done.stderr.partition(b"sandbox: ")[2]


def test_an_installation_tree_on_a_tftp_server(netboot: Run, tree: Path) -> None:
    with tftpd_hpa(tree) as url:
        done = netboot(f"--location={url}")
    assert done.returncode == 0, done.stderr
    assert Path(items(done.stdout)["ramdisk"]).read_bytes() == RAMDISK


def test_files_of_two_servers(netboot: Run, tree: Path) -> None:
    with http_server(tree) as web, tftpd_hpa(tree) as tftp:
        done = netboot(
            f"--kernel={web.url}/mine#sha256={hashlib.sha256(b'mine').hexdigest()}",
            f"--ramdisk={tftp.rstrip('/')}/current/images/netboot/xen/initrd.gz",
        )
    assert done.returncode == 0, done.stderr
    found = items(done.stdout)
    assert (Path(found["kernel"]).read_bytes(), Path(found["ramdisk"]).read_bytes()) == (b"mine", RAMDISK)


@pytest.mark.parametrize(
    "options, reason",
    [
        (["--kernel=nothing"], "nothing"),
        (["--kernel=mine#sha256=" + DIGEST], "sha256"),
        (["--kernel=mine#sha256=beef"], "not a checksum"),
        (["--kernel=a/../../mine"], "'..'"),
        ([], "no installation tree is known here"),
    ],
)
def test_failures_leave_nothing(netboot: Run, tree: Path, tmp_path: Path, options: list[str], reason: str) -> None:
    root = tree if options else tmp_path / "empty"
    root.mkdir(exist_ok=True)
    with http_server(root) as server:
        done = netboot(f"--location={server.url}", *options)
    assert done.returncode == 1
    assert reason in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == b""
    assert left(tmp_path) == []


def test_a_server_that_is_not_there(netboot: Run, tmp_path: Path) -> None:
    done = netboot("--location=http://127.0.0.1:1/")
    assert done.returncode == 1
    assert b"127.0.0.1:1" in done.stderr
    assert left(tmp_path) == []
