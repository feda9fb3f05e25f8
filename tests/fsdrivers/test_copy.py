"""Copying out, to files, pipes and descriptors that the kernel cannot copy to."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fsdrivers.blocks import open_source
from fsdrivers.copy import CopyError, copy_to_fd
from fsdrivers.directory import DirectoryFilesystem
from fsdrivers.ext2 import ExtFilesystem, open_ext
from tests.fsdrivers.test_ext_trees import make_image

FILES = ["/holes", "/comb", "/sizes/1048576", "/sizes/0", "/sizes/1"]


@pytest.fixture(scope="module")
def volume(sparse_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> ExtFilesystem:
    return open_ext(open_source(make_image(tmp_path_factory.mktemp("copy") / "image", sparse_tree, "-t ext4 -b 1024")))


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_copy_to_a_file(path: str, flags: int, volume: ExtFilesystem, sparse_tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fd = os.open(out, os.O_RDWR | os.O_CREAT | flags)
    expected = (sparse_tree / path[1:]).read_bytes()
    assert copy_to_fd(volume.open(path), fd) == len(expected)
    os.close(fd)
    assert out.read_bytes() == expected


def test_holes_stay_holes(volume: ExtFilesystem, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with open(out, "wb") as file:
        copy_to_fd(volume.open("/far"), file.fileno())
    assert os.stat(out).st_size > 70 << 20
    assert os.stat(out).st_blocks < 2048


@pytest.mark.parametrize("path", FILES)
def test_copy_to_a_pipe(path: str, volume: ExtFilesystem, sparse_tree: Path) -> None:
    read_end, write_end = os.pipe()
    pieces: list[bytes] = []

    def drain() -> None:
        while piece := os.read(read_end, 1 << 16):
            pieces.append(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    copy_to_fd(volume.open(path), write_end)
    os.close(write_end)
    reader.join()
    os.close(read_end)
    assert b"".join(pieces) == (sparse_tree / path[1:]).read_bytes()


def test_copy_between_host_files(sparse_tree: Path, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        copy_to_fd(DirectoryFilesystem(sparse_tree).open("/holes"), out.fileno())
    assert (tmp_path / "out").read_bytes() == (sparse_tree / "holes").read_bytes()


def test_full_destination_is_an_error(volume: ExtFilesystem) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(CopyError, match="No space"):
        copy_to_fd(volume.open("/sizes/1048576"), full)
    os.close(full)
