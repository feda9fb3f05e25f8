"""Images to serve, and servers that end with their test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvboot.net.serve.content import ImageDirectory, TreeContent
from pvboot.net.serve.images import ImageLimits, ImageStore
from pvboot.net.serve.nursery import Nursery
from tests.net.serve.server import Server

IMAGES = ("ext2.img", "mbr.img", "gpt.img", "rockridge-joliet.iso", "hybrid.iso")

CONFIG = """\
[listen]
tftp = ["127.0.0.1:0", "[::1]:0"]
http = ["127.0.0.1:0"]

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
    """All images in one directory that everybody may read; do not write to it."""
    folder = tmp_path_factory.mktemp("served")
    for above in (folder, *folder.parents):  # the server gives up root
        if above.is_dir() and os.access(above, os.W_OK) and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o055)
    for name in IMAGES:
        shutil.copyfile(images(name), folder / name)
    return folder


@pytest.fixture
def world(tmp_path: Path, image_folder: Path) -> Path:
    """A folder with `images` and `files` in it, readable by everybody."""
    tmp_path.chmod(0o755)
    shutil.copytree(image_folder, tmp_path / "images")
    files = tmp_path / "files"
    files.mkdir()
    (files / "menu.lst").write_text("title x\nkernel /x\n")
    (files / "deep").mkdir()
    (files / "deep" / "data.bin").write_bytes(bytes(range(256)) * 700)
    (tmp_path / "secret").write_text("not for you")
    return tmp_path


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`serve(config, ...)`: a `Server`; all of them are ended."""
    running: list[Server] = []

    def start(config: str = CONFIG, *options: str, **more: Any) -> Server:
        running.append(Server(tmp_path, config, *options, **more))
        return running[-1]

    yield start
    for server in running:
        server.kill()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    """Makes readers; ended with them."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def tree(nursery: Nursery) -> Callable[..., tuple[TreeContent, ImageStore]]:
    """`tree(directory, **limits)`: the images of a directory at /images, and the store behind them."""

    def build(directory: Path, **limits: Any) -> tuple[TreeContent, ImageStore]:
        store = ImageStore(nursery, ImageLimits(**limits))
        return TreeContent({"/images": ImageDirectory(str(directory), store, raw=True)}), store

    return build
