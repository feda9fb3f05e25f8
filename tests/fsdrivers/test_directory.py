"""A host directory as a file system, which nothing leads out of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsdrivers.directory import DirectoryFilesystem
from fsdrivers.errors import FsError, IsADirectory, LinkLoop, NotADirectory, NotFound, SourceError
from tests.fsdrivers import trees


def test_tree_reads_as_it_is(plain_tree: Path) -> None:
    assert trees.snapshot(DirectoryFilesystem(plain_tree)) == trees.snapshot_host(plain_tree)


@pytest.fixture
def guarded(tmp_path: Path) -> DirectoryFilesystem:
    """A directory with a secret beside it and every way to point there."""
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "inside").write_bytes(b"inside")
    (root / "up").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "sub/dotdot").symlink_to("../../../../../../inside")
    (root / "updir").symlink_to("..")
    (root / "loop").symlink_to("loop")
    return DirectoryFilesystem(root)


@pytest.mark.parametrize("path", ["/up", "/absolute", "/../secret", "../secret", "/updir/secret", "/sub/../../secret"])
def test_nothing_outside_is_reached(path: str, guarded: DirectoryFilesystem) -> None:
    with pytest.raises(NotFound):
        guarded.open(path)


@pytest.mark.parametrize("path", ["/inside", "inside", "/sub/dotdot", "/updir/inside", "/../../inside"])
def test_links_are_resolved_inside(path: str, guarded: DirectoryFilesystem) -> None:
    assert guarded.open(path).read_at(0, 99) == b"inside"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/loop", LinkLoop),
        ("/inside/x", NotADirectory),
        ("/inside/", NotADirectory),
        ("/sub", IsADirectory),
        ("/nul\0", NotFound),
        ("/" + "n" * 300, NotFound),
        ("/\ud800", NotFound),
    ],
)
def test_errors(path: str, error: type[FsError], guarded: DirectoryFilesystem) -> None:
    with pytest.raises(error):
        guarded.open(path)


def test_special_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    filesystem = DirectoryFilesystem(tmp_path)
    assert filesystem.lookup("/fifo").kind == "other"
    with pytest.raises(IsADirectory, match="special file"):
        filesystem.open("/fifo")


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot open directory"):
        DirectoryFilesystem(tmp_path / "missing")


def test_descriptors_are_given_back(plain_tree: Path) -> None:
    filesystem = DirectoryFilesystem(plain_tree)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        list(filesystem.listdir("/many"))
        filesystem.open("/boot/grub/menu.lst").read_at(0, 10)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    filesystem.close()


def test_the_descriptor_goes_with_the_object(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert list(DirectoryFilesystem(tmp_path).names("/")) == []
    assert len(os.listdir("/proc/self/fd")) == before
