"""Things on ext volumes that mke2fs does not make by itself: debugfs and hand-written bytes."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from fsdrivers.blocks import MemorySource, open_source
from fsdrivers.errors import Corrupt, IsADirectory, NotADirectory, NotFound, SourceError, Unsupported
from fsdrivers.ext2 import ExtFilesystem, open_ext
from tests.fsdrivers import trees
from tests.fsdrivers.test_ext_trees import make_image

SUPER = 1024
INCOMPAT, RO_COMPAT = SUPER + 0x60, SUPER + 0x64


def image_of(
    tmp_path: Path, options: str, *commands: str, size: str = "16M", tree: Path | None = None, garbage: bool = False
) -> Path:
    """An image, changed by debugfs commands; `garbage` leaves 0xAA in every block that was never written."""
    image = tmp_path / "image"
    if garbage:
        image.write_bytes(b"\xaa" * (16 << 20))
        options += " -E nodiscard"
    if tree is None:
        tree = tmp_path / "tree"
        tree.mkdir()
        (tree / "file").write_bytes(b"content")
    make_image(image, tree, options, size)
    if commands:
        script = tmp_path / "script"
        script.write_text("\n".join(commands) + "\n")
        trees.run("debugfs", "-w", "-f", script, image)
    return image


def inode_offset(filesystem: ExtFilesystem, path: str) -> int:
    """Byte of the volume where the inode of a path lies."""
    sb = filesystem.superblock
    group, index = divmod(filesystem.lookup(path, follow=False).inode - 1, sb.inodes_per_group)
    return filesystem._groups.inode_table(group) * sb.block_size + index * sb.inode_size


def patched(image: Path, *changes: tuple[int, bytes]) -> MemorySource:
    """The image in memory with bytes replaced."""
    data = bytearray(image.read_bytes())
    for offset, new in changes:
        data[offset : offset + len(new)] = new
    return MemorySource(bytes(data), "patched")


def test_uninitialised_extents_read_as_zeros(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(b"x" * 10000)
    image = image_of(
        tmp_path,
        "-t ext4 -b 1024",
        "fallocate /file 20 200",
        "sif /file size 150000",
        tree=tmp_path / "t",
        garbage=True,
    )
    file = open_ext(open_source(image)).open("/file")
    expected = b"x" * 10000 + bytes(140000)
    assert file.read_at(0, 150000) == expected
    assert sum(extent.length for extent in file.extents()) == 150000


def test_extent_of_exactly_32768_blocks_is_initialised(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(1 << 20)
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(content)
    image = image_of(tmp_path, "-t ext4 -b 1024 -O ^metadata_csum,^has_journal", size="64M", tree=tmp_path / "t")
    filesystem = open_ext(open_source(image))
    offset = inode_offset(filesystem, "/file") + 0x28 + 12
    first, _, high, low = struct.unpack_from("<IHHI", image.read_bytes(), offset)
    source = patched(image, (offset, struct.pack("<IHHI", first, 0x8000, high, low)))
    assert open_ext(source).open("/file").read_at(0, 1 << 20) == content
    source = patched(image, (offset, struct.pack("<IHHI", first, 0x8001, high, low)))
    assert open_ext(source).open("/file").read_at(0, 4096) == bytes(4096)


@pytest.mark.slow
def test_extent_tree_of_depth_three(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with open(tmp_path / "t/comb", "wb") as out:
        for block in range(29000):
            out.seek(block * 8192 + 4096)
            out.write(b"%d" % block)
    image = image_of(tmp_path, "-t ext4 -b 1024", size="300M", tree=tmp_path / "t")
    assert " 0/ 3 " in trees.run("debugfs", "-R", "dump_extents /comb", image)
    assert trees.snapshot(open_ext(open_source(image)))["/comb"] == trees.snapshot_host(tmp_path / "t")["/comb"]


def test_sparse_file_beyond_4_gib(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4", "sif /file size 6000000000")
    file = open_ext(open_source(image)).open("/file")
    assert file.size == 6_000_000_000
    assert file.read_at(0, 8) == b"content\0"
    assert file.read_at(5_999_999_990, 100) == bytes(10)
    assert [extent.fd is None for extent in file.extents()] == [False, True]
    assert sum(extent.length for extent in file.extents()) == file.size


def test_fast_link_with_external_attribute_block(tmp_path: Path) -> None:
    image = image_of(
        tmp_path,
        "-t ext2 -I 128 -O ext_attr",
        "symlink /link file",
        "ea_set /link security.selinux system_u:object_r:boot_t",
    )
    assert "Fast link" in trees.run("debugfs", "-R", "stat /link", image)
    filesystem = open_ext(open_source(image))
    assert filesystem.lookup("/link", follow=False).target == "file"
    assert filesystem.open("/link").read_at(0, 100) == b"content"


def test_special_files_are_not_opened(tmp_path: Path) -> None:
    filesystem = open_ext(open_source(image_of(tmp_path, "-t ext4", "mknod pipe p", "mknod disk b 8 0")))
    for path in ("/pipe", "/disk"):
        assert filesystem.lookup(path).kind == "other"
        with pytest.raises(IsADirectory, match="special file"):
            filesystem.open(path)


def test_path_rules(tmp_path: Path) -> None:
    filesystem = open_ext(
        open_source(
            image_of(
                tmp_path,
                "-t ext4",
                "mkdir /d",
                "symlink /abs /d/../file",
                "symlink /loop loop",
                "symlink /dir d",
                "symlink /empty x",
                "sif /empty size 0",
            )
        )
    )
    for path in ("/file", "file", "//file", "/./d/..//file", "/../../file", "/abs", "/dir/../file"):
        assert filesystem.open(path).read_at(0, 7) == b"content", path
    for path, error in (
        ("/nothing", NotFound),
        ("/file/", NotADirectory),
        ("/file/x", NotADirectory),
        ("/empty", NotFound),
        ("/d", IsADirectory),
        ("/", IsADirectory),
        ("/\ud800", NotFound),
    ):
        with pytest.raises(error):
            filesystem.open(path)
    with pytest.raises(Exception, match="too many levels"):
        filesystem.open("/loop")
    assert filesystem.lookup("/loop", follow=False).kind == "symlink"


@pytest.mark.parametrize(
    ("bit", "name"),
    [(0x1, "compression"), (0x8, "journal_dev"), (0x1000, "dirdata"), (0x40000, "0x40000"), (0x80000000, "0x80000000")],
)
def test_unknown_incompat_feature_is_refused_by_name(bit: int, name: str, tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -O ^metadata_csum")
    (old,) = struct.unpack_from("<I", image.read_bytes(), INCOMPAT)
    with pytest.raises(Unsupported, match=name):
        open_ext(patched(image, (INCOMPAT, struct.pack("<I", old | bit))))


def test_unknown_ro_compat_feature_does_not_matter(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -O ^metadata_csum")
    (old,) = struct.unpack_from("<I", image.read_bytes(), RO_COMPAT)
    assert open_ext(patched(image, (RO_COMPAT, struct.pack("<I", old | 0x40000000)))).open("/file").size == 7


def test_features_of_revision_0_are_not_trusted(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext2 -r 0")
    source = patched(image, (INCOMPAT, b"\xff" * 4), (SUPER + 0x58, b"\xff\xff"))
    assert open_ext(source).open("/file").read_at(0, 7) == b"content"


def test_encrypted_file_is_refused_alone(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -O encrypt,^metadata_csum", "write /dev/null other", "sif /file flags 0x80800")
    filesystem = open_ext(open_source(image))
    assert filesystem.open("/other").size == 0
    with pytest.raises(Unsupported, match="encrypted"):
        filesystem.open("/file")


@pytest.mark.parametrize(
    ("offset", "value", "what"),
    [
        (0x18, 7, "block size"),
        (0x18, 31, "block size"),
        (0x18, 0xFFFFFFFF, "block size"),
        (0x20, 0, "blocks per group"),
        (0x20, 0x10000000, "blocks per group"),
        (0x28, 0, "inodes per group"),
        (0x28, 0x7FFFFFFF, "inodes per group"),
        (0x14, 5, "first data block"),
        (0x00, 1, "inode count"),
        (0x04, 0, "block count"),
    ],
)
def test_bad_super_block_field(offset: int, value: int, what: str, tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -O ^metadata_csum,^64bit")
    with pytest.raises(Corrupt, match=what):
        open_ext(patched(image, (SUPER + offset, struct.pack("<I", value))))


@pytest.mark.parametrize("size", [0, 1, 129, 192, 8192])
def test_bad_inode_size(size: int, tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -O ^metadata_csum")
    with pytest.raises(Corrupt, match="inode size"):
        open_ext(patched(image, (SUPER + 0x58, struct.pack("<H", size))))


@pytest.mark.parametrize("size", [0, 1, 32, 48, 2048])
def test_bad_descriptor_size(size: int, tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -O ^metadata_csum,64bit")
    with pytest.raises(Corrupt, match="descriptor size"):
        open_ext(patched(image, (SUPER + 0xFE, struct.pack("<H", size))))


def test_cut_image_gives_an_error_and_not_zeros(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(b"x" * (4 << 20))
    image = image_of(tmp_path, "-t ext4", tree=tmp_path / "t")
    filesystem = open_ext(open_source(image))
    end = (
        max(run.disk_block + run.blocks for run in filesystem.runs(filesystem.inode(filesystem.lookup("/file").inode)))
        * filesystem.superblock.block_size
    )
    cut = MemorySource(image.read_bytes()[: end - 5000], "cut")
    with pytest.raises(SourceError, match="cut"):
        open_ext(cut).open("/file").read_at(0, 4 << 20)


def _extent_bomb(image: Path, block: int, depth: int) -> bytes:
    """An index node whose every entry points to the block it stands in."""
    entries = b"".join(struct.pack("<IIHH", key * 1000, block, 0, 0) for key in range(84))
    return struct.pack("<HHHHI", 0xF30A, 84, 84, depth, 0) + entries


def test_extent_index_that_lists_itself_ends(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -b 1024 -O ^metadata_csum,^has_journal")
    filesystem = open_ext(open_source(image))
    inode, block = inode_offset(filesystem, "/file"), 9000
    root = struct.pack("<HHHHI", 0xF30A, 1, 4, 5, 0) + struct.pack("<IIHH", 0, block, 0, 0)
    source = patched(
        image,
        (inode + 0x28, root),
        (inode + 4, struct.pack("<I", 0xFFFFFFFF)),
        (block * 1024, _extent_bomb(image, block, 4)),
    )
    with pytest.raises(Corrupt, match=r"leads into itself|not in order|depth"):
        open_ext(source).open("/file")


def test_indirect_block_that_lists_itself_ends(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext2 -b 1024")
    filesystem = open_ext(open_source(image))
    inode, block = inode_offset(filesystem, "/file"), 9000
    source = patched(
        image,
        (inode + 0x28, struct.pack("<15I", *[0] * 14, block)),
        (inode + 4, struct.pack("<I", 0xFFFFFFFF)),
        (block * 1024, struct.pack("<256I", *[block] * 256)),
    )
    with pytest.raises(Corrupt, match="leads into itself"):
        open_ext(source).open("/file")


@pytest.mark.parametrize("pointer", [0xFFFFFFFF, 16384])
def test_pointer_outside_the_volume(pointer: int, tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext2 -b 1024")
    inode = inode_offset(open_ext(open_source(image)), "/file")
    with pytest.raises(Corrupt, match="outside the file system"):
        open_ext(patched(image, (inode + 0x28, struct.pack("<I", pointer)))).open("/file")


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (struct.pack("<IHBB", 12, 0, 4, 1), "record length"),
        (struct.pack("<IHBB", 12, 7, 4, 1), "record length"),
        (struct.pack("<IHBB", 12, 2048, 4, 1), "record length"),
        (struct.pack("<IHBB", 12, 8, 4, 1), "name length"),
        (struct.pack("<IHBB", 12, 1000, 0, 1), "name length"),
        (struct.pack("<IHBB", 12, 1000, 3, 1) + b"a/b", "slash"),
        (struct.pack("<IHBB", 0xFFFFFF, 1000, 3, 1) + b"abc", "inode number"),
    ],
)
def test_bad_directory_record(record: bytes, what: str, tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext2 -b 1024")
    filesystem = open_ext(open_source(image))
    (root_run, *_) = filesystem.runs(filesystem.root())
    source = patched(image, (root_run.disk_block * 1024 + 24, record))
    with pytest.raises(Corrupt, match=what):
        list(open_ext(source).listdir("/"))


def test_name_in_free_directory_space_is_not_found(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext2", "ln /file /gone", "unlink /gone")
    assert b"gone" in image.read_bytes()
    with pytest.raises(NotFound):
        open_ext(open_source(image)).lookup("/gone")


def test_directory_of_absurd_size_costs_only_its_blocks(tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4 -O large_dir,^metadata_csum", "sif <2> size 0x7fffffffff000")
    assert [entry.name for entry in open_ext(open_source(image)).listdir("/")] == ["lost+found", "file"]
