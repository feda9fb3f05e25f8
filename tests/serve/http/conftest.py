"""A tree of files, as a directory and inside an ext4 image, and servers over them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.make_images import make_ext
from tests.serve.http.support import Running, Tree, mounted, running

NOISE = random.Random(4)
FILES = {
    "boot/initrd": NOISE.randbytes(3_333_333),
    "boot/vmlinuz": NOISE.randbytes(300_001),
    "boot/grub/menu.lst": b"default 0\ntitle Linux\nkernel /boot/vmlinuz\n",
    "empty": b"",
    "page.html": b"<script>alert(1)</script>",
    "small.txt": b"0123456789",
    # A hole between two pieces: the file system stores no zeros.
    "sparse": NOISE.randbytes(100_000) + bytes(400_000) + NOISE.randbytes(7),
}


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files inside an ext4 file system, beside a file that is none of them."""
    path = tmp_path_factory.mktemp("http") / "guest.img"
    make_ext(path, FILES, 16 << 20, "ext4")
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, and some with odd names, in a directory whose neighbour must not be seen."""
    outside = tmp_path_factory.mktemp("http")
    (outside / "secret").write_text("secret")
    root = outside / "root"
    odd = {"odd/a b#c?d%41&<e>'\"": b"odd", "odd/ü": b"utf-8", "odd/a:b": b"colon", "odd/\\..\\x": b"backslash"}
    for name, data in {**FILES, **odd}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "odd" / "\udcff").write_bytes(b"no utf-8")
    (root / "odd" / "way-out").symlink_to("../../secret")
    return root


@pytest.fixture
def site(image: Path) -> Iterator[Running]:
    """A server over the image."""
    with running(Tree(mounted(image))) as server:
        yield server


@pytest.fixture
def odd_site(folder: Path) -> Iterator[Running]:
    """A server over the directory."""
    with running(Tree(mounted(folder))) as server:
        yield server
