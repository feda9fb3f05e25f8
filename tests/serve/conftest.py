"""Images to serve, and servers that end with their test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvboot.confine.fork_server import ForkServer
from pvboot.serve.content import ImageDirectory, TreeContent
from pvboot.serve.images import ImageLimits, ImageStore, start_fork_server
from tests.serve.server import Server

IMAGES = ("ext2.img", "mbr.img", "gpt.img", "rockridge-joliet.iso", "hybrid.iso")

CONFIG = """\
[listen]
tftp = ["127.0.0.1:0", "[::1]:0"]
http = ["127.0.0.1:0"]
admin = ["127.0.0.1:0"]

[[content]]
path = "/images"
images = "images"
raw = true

[[content]]
path = "/files"
directory = "files"
"""


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory, images: Callable[[str], Path]) -> Path:
    """All images in one directory; do not write to it."""
    folder = tmp_path_factory.mktemp("served")
    for name in IMAGES:
        shutil.copyfile(images(name), folder / name)
    return folder


@pytest.fixture
def world(image_folder: Path) -> Iterator[Path]:
    """A folder with `images` and `files` in it.

    pytest's own folders are for one user only, and the server gives up root.
    """
    with tempfile.TemporaryDirectory(prefix="pvboot-serve-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(image_folder, folder / "images")
        (folder / "images").chmod(0o755)
        files = folder / "files"
        (files / "deep").mkdir(parents=True)
        (files / "menu.lst").write_text("title x\nkernel /x\n")
        (files / "deep" / "data.bin").write_bytes(bytes(range(256)) * 700)
        (folder / "secret").write_text("not for you")
        yield folder


@pytest.fixture
def serve(world: Path) -> Iterator[Callable[..., Server]]:
    """`serve(config, ...)`: a `Server`; all of them are ended."""
    running: list[Server] = []

    def start(config: str = CONFIG, *options: str, **more: Any) -> Server:
        running.append(Server(world, config, *options, **more))
        return running[-1]

    yield start
    for server in running:
        server.kill()


@pytest.fixture
def fork_server() -> Iterator[ForkServer]:
    """Starts readers; ended with them."""
    made = start_fork_server()
    yield made
    made.close()


@pytest.fixture
def tree(fork_server: ForkServer) -> Callable[..., tuple[TreeContent, ImageStore]]:
    """`tree(directory, **limits)`: the images of a directory at /images, and the store behind them."""

    def build(directory: Path, **limits: Any) -> tuple[TreeContent, ImageStore]:
        store = ImageStore(fork_server, ImageLimits(**limits))
        return TreeContent({"/images": ImageDirectory(str(directory), store, raw=True)}), store

    return build
