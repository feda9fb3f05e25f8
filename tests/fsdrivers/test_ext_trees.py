"""Whole trees on ext2/3/4 made by mke2fs, over the features that change the layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdrivers.blocks import open_source
from fsdrivers.ext2 import open_ext
from tests.fsdrivers import trees

LAYOUTS = {
    "ext2-1k": "-t ext2 -b 1024",
    "ext2-2k": "-t ext2 -b 2048",
    "ext2-4k": "-t ext2 -b 4096",
    "ext2-64k": "-t ext2 -b 65536",
    "ext2-rev0": "-t ext2 -r 0 -b 1024",
    "ext2-no-filetype": "-t ext2 -O ^filetype",
    "ext2-group-of-256": "-t ext2 -b 1024 -g 256",
    "ext3-1k": "-t ext3 -b 1024",
    "ext3-4k": "-t ext3 -b 4096 -I 128",
    "ext4-1k": "-t ext4 -b 1024",
    "ext4-2k": "-t ext4 -b 2048",
    "ext4-4k": "-t ext4 -b 4096",
    "ext4-16k": "-t ext4 -b 16384",
    "ext4-64k": "-t ext4 -b 65536",
    "ext4-32bit": "-t ext4 -O ^64bit",
    "ext4-no-csum": "-t ext4 -O ^metadata_csum,uninit_bg",
    "ext4-csum-seed": "-t ext4 -O metadata_csum_seed",
    "ext4-no-extents": "-t ext4 -O ^extents,^64bit",
    "ext4-meta-bg": "-t ext4 -b 1024 -O meta_bg,^resize_inode",
    "ext4-meta-bg-32bit": "-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode,^64bit,^sparse_super",
    "ext4-no-flex-bg": "-t ext4 -b 1024 -O ^flex_bg",
    "ext4-sparse-super2": "-t ext4 -b 1024 -O sparse_super2,meta_bg,^resize_inode",
    "ext4-desc-128": "-t ext4 -E desc_size=128",
    "ext4-inline": "-t ext4 -O inline_data -I 256",
    "ext4-inline-1k": "-t ext4 -b 1024 -O inline_data -I 1024",
    "ext4-bigalloc": "-t ext4 -O bigalloc",
    "ext4-bigalloc-1k": "-t ext4 -b 1024 -O bigalloc -C 16384",
    "ext4-inode-128": "-t ext4 -I 128",
    "ext4-inode-1024": "-t ext4 -I 1024",
    "ext4-no-journal": "-t ext4 -O ^has_journal",
    "ext4-large-dir": "-t ext4 -O large_dir,ea_inode,project,quota",
    "ext4-casefold": "-t ext4 -O casefold",
    "ext4-mmp-orphan": "-t ext4 -O mmp",
}


def make_image(path: Path, tree: Path, options: str, size: str = "96M") -> Path:
    """An image with the tree on it."""
    trees.run("mke2fs", "-q", "-F", *options.split(), "-d", tree, path, size)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tree_reads_as_written(layout: str, sparse_tree: Path, plain_tree: Path, tmp_path: Path) -> None:
    # mke2fs -d gives a file that ends in a hole a wrong size if it may write inline data.
    tree = plain_tree if "inline" in layout else sparse_tree
    image = make_image(tmp_path / "image", tree, LAYOUTS[layout])
    filesystem = open_ext(open_source(image))
    assert trees.snapshot(filesystem) == trees.snapshot_host(tree)
    assert filesystem.kind == layout[:4]


@pytest.mark.parametrize("block_size", [1024, 4096, 65536])
def test_htree_directory(block_size: int, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(3500):
        (tree / f"{number:06}-{'long' * 8}").touch()
    image = make_image(tmp_path / "image", tree, f"-t ext4 -b {block_size} -N 8192")
    # mke2fs makes linear directories; e2fsck -D gives them their index.
    trees.subprocess.run(["e2fsck", "-fyD", str(image)], capture_output=True, check=False)
    assert "Root node dump" in trees.run("debugfs", "-R", "htree_dump /", image)
    filesystem = open_ext(open_source(image))
    assert sorted(name for name in filesystem.names("/") if name != "lost+found") == sorted(
        path.name for path in tree.iterdir()
    )
    assert filesystem.lookup(f"/003000-{'long' * 8}").kind == "file"


def test_label_and_uuid(tmp_path: Path, plain_tree: Path) -> None:
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    image = make_image(tmp_path / "image", plain_tree, f"-t ext4 -L bootvol -U {uuid}")
    filesystem = open_ext(open_source(image))
    assert (filesystem.label, filesystem.uuid) == ("bootvol", uuid)
