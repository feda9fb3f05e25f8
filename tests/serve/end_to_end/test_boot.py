"""A server publishes a Debian image; real loaders boot what is inside it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serve.end_to_end import ipxe
from tests.serve.server import Server

pytestmark = pytest.mark.slow

Images = Callable[[str], Path]


CONFIG = """\
state = "sqlite:///{folder}/state/state.db"
host = "{host}"
default = "debian"

[listen]
tftp = ["127.0.0.1:0"]
http = ["127.0.0.1:0"]
admin = ["127.0.0.1:0"]

[[content]]
path = "/images"
images = "images"
raw = true

[profiles.debian]
title = "Debian from the server"
kernel = "/images/debian.img/vmlinuz"
initrd = ["/images/debian.img/initrd.img"]
args = "{args}"
timeout = 1
"""


@pytest.fixture
def publish(images: Images) -> Iterator[Callable[[str, str], Server]]:
    """`publish(args, host)`: a server with Debian's image, whose profile gives the kernel `args`; clients call it
    `host`."""
    with tempfile.TemporaryDirectory(prefix="pvboot-publish-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("images", "state"):
            (folder / part).mkdir()
            (folder / part).chmod(0o777)
        shutil.copyfile(images("debian.img"), folder / "images/debian.img")
        running: list[Server] = []

        def start(args: str, host: str) -> Server:
            running.append(Server(folder, CONFIG.format(folder=folder, args=args, host=host)))
            return running[-1]

        yield start
        for server in running:
            server.kill()


@pytest.mark.parametrize(
    "protocol, path, words",
    [
        ("http", "/boot/menu.lst", "console=hvc0 token=made"),
        ("tftp", "/boot/menu.lst", "console=hvc0 token=made"),
        ("http", "/boot/grub.cfg", "console=hvc0 token=made"),
        ("http", "/images/debian.img/boot/grub/menu.lst", "ro console=hvc0 earlyprintk=xen"),
        ("tftp", "/images/debian.img/boot/grub/menu.lst", "ro console=hvc0 earlyprintk=xen"),
        ("tftp", "/images/debian.img/", "ro console=hvc0 earlyprintk=xen"),
    ],
)
def test_pvboot_boots_from_the_server(
    publish: Callable[[str, str], Server], run_cli: Callable[..., object], protocol: str, path: str, words: str
) -> None:
    server = publish("console=hvc0 token=made", "127.0.0.1")
    done = run_cli("boot", server.url(path, protocol), "--no-menu")
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    assert words in done.stdout  # type: ignore[attr-defined]
    assert "pvboot-initrd: hello from user space" in done.stdout  # type: ignore[attr-defined]
    assert "guest ended: poweroff" in done.stderr  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", ["http", "tftp"])
def test_ipxe_boots_from_the_server(publish: Callable[[str, str], Server], tmp_path: Path, protocol: str) -> None:
    server = publish("console=ttyS0 quiet token=made", ipxe.SERVER)
    url = f"{protocol}://{ipxe.SERVER}:{server.port(protocol)}/boot/boot.ipxe"
    console = ipxe.boot(url, tmp_path / "console")
    assert "pvboot-initrd: hello from user space" in console, server.log
    assert "command line: " in console and "token=made" in console
