"""`xl create` with `bootloader=` pvboot-netboot: kernel and ramdisk come from a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures import make_images
from tests.xen.guests import run_guest
from tests.xen.machine import Machine

pytestmark = pytest.mark.slow

NETBOOT = "/host/pvboot-netboot"
PORT = 8000
PLACE = "current/images/netboot/xen"


@pytest.fixture
def server(xen: Machine) -> Iterator[str]:
    """The URL of a web server in dom0 that publishes an installation tree."""
    folder = xen.share / "web" / PLACE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vmlinuz").write_bytes(make_images.kernel("tiny64.elf"))
    (folder / "initrd.gz").write_bytes(make_images.MODULE)
    command = f"python3 -m http.server --bind 127.0.0.1 --directory /host/web {PORT} >/dev/null 2>&1 & echo $!"
    started = xen.run("sh", "-c", command)
    process = started.output.strip()
    wait = f"while ! python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {PORT}))'; do sleep 0.2; done"
    assert xen.run("sh", "-c", wait + " 2>/dev/null").status == 0
    yield f"http://127.0.0.1:{PORT}/"
    xen.run("kill", process)


def test_a_guest_starts_from_an_installation_tree(xen: Machine, images: Callable[[str], Path], server: str) -> None:
    words = f"console=hvc0 {make_images.MODULE_WORDS}"
    outcome = run_guest(
        xen, disk=images("ext2.img"), bootloader=NETBOOT, bootloader_args=[f"--location={server}", f"--args={words}"]
    )
    assert outcome.status == 0, outcome
    assert f"command line: {words}" in outcome.console, outcome
    assert "pvboot-tiny64: all checks passed" in outcome.console, outcome


def test_a_server_without_the_file_is_a_reason(xen: Machine, images: Callable[[str], Path], server: str) -> None:
    outcome = run_guest(
        xen, disk=images("ext2.img"), bootloader=NETBOOT, bootloader_args=[f"--location={server}", "--kernel=not-there"]
    )
    assert outcome.status not in (0, None), outcome
    assert outcome.bootloader.startswith("pvboot-netboot: "), outcome
    assert "not-there" in outcome.bootloader, outcome
    assert len(outcome.bootloader.splitlines()) == 1, outcome
