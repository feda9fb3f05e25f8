"""metadata_csum: damage that would read as plausible data is found; the checksum itself is the published one."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest

from fsdrivers.blocks import open_source
from fsdrivers.errors import Corrupt
from fsdrivers.ext2 import open_ext
from fsdrivers.ext2.crc32c import FRESH, crc32c, crc32c_blocks
from tests.fsdrivers.test_ext_odd import image_of, inode_offset, patched


def test_published_check_value() -> None:
    assert crc32c(FRESH, b"123456789") ^ FRESH == 0xE3069283


@pytest.mark.parametrize("count", [0, 1, 23, 24, 300])
def test_many_blocks_at_once(count: int) -> None:
    chance = random.Random(count)
    blocks = [chance.randbytes(500) for _ in range(count)]
    seeds = [chance.randrange(1 << 32) for _ in range(count)]
    assert crc32c_blocks(seeds, blocks) == [crc32c(seed, block) for seed, block in zip(seeds, blocks, strict=True)]


@pytest.mark.parametrize("what", ["group descriptor", "inode", "extent block", "directory block"])
def test_damage_is_found(what: str, tmp_path: Path) -> None:
    tree = tmp_path / "t"
    tree.mkdir()
    with open(tree / "file", "wb") as out:
        for block in range(20):
            out.seek(block * 8192)
            out.write(b"%d" % block)
    image = image_of(tmp_path, "-t ext4 -b 1024", tree=tree)
    filesystem = open_ext(open_source(image))
    inode = inode_offset(filesystem, "/file")
    raw = image.read_bytes()
    extent_block = int.from_bytes(raw[inode + 0x28 + 16 : inode + 0x28 + 20], "little")
    place = {
        "group descriptor": filesystem._groups.descriptor_offset(0) + 0x0C,
        "inode": inode + 0x08,
        "extent block": extent_block * 1024 + 12 + 8,
        "directory block": filesystem.runs(filesystem.root())[0].disk_block * 1024 + 8,
    }[what]
    with pytest.raises(Corrupt, match=f"checksum of the {what}"):
        open_ext(patched(image, (place, bytes([raw[place] ^ 1])))).open("/file")


NAMES = 4000  # an index of two levels


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose index root has the bytes of an old tail at its end, as where Linux turned entries into it."""
    folder = tmp_path_factory.mktemp("indexed")
    (folder / "t/d").mkdir(parents=True)
    for number in range(NAMES):
        (folder / f"t/d/{number:040}").touch()
    image = image_of(folder, "-t ext4 -b 1024", tree=folder / "t")
    subprocess.run(["e2fsck", "-fyD", image], capture_output=True)
    root, inode = blocks_of(image)[0], open_ext(open_source(image)).lookup("/d").inode
    raw = image.read_bytes()
    block = raw[root : root + 1024]
    assert struct.unpack_from("<IHH", block, 12)[1] == 1024 - 12  # ".." fills the block: an index
    limit, count = struct.unpack_from("<HH", block, 32)
    assert limit > count and 32 + 8 * limit + 8 == 1024
    # The checksum covers the entries, and the reserved word in front of it, where the record length and type stood.
    tail = bytes(4) + b"\x0c\0\0\xde"
    filesystem = open_ext(open_source(image))
    seed = filesystem._checksums._inode_seed(filesystem.inode(inode))  # type: ignore[union-attr]
    crc = crc32c(seed, block[: 32 + 8 * count] + tail[4:] + bytes(4))
    image.write_bytes(raw[: root + 1012] + tail + struct.pack("<I", crc) + raw[root + 1024 :])
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    return image


def blocks_of(image: Path) -> list[int]:
    """The bytes where the blocks of /d begin."""
    filesystem = open_ext(open_source(image))
    runs = filesystem.runs(filesystem.inode(filesystem.lookup("/d").inode))
    return [(run.disk_block + block) * 1024 for run in runs for block in range(run.blocks)]


def test_index_block_with_an_old_tail_is_good(indexed: Path) -> None:
    filesystem = open_ext(open_source(indexed))
    assert len(list(filesystem.names("/d"))) == NAMES
    assert filesystem.lookup(f"/d/{7:040}").kind == "file"


@pytest.mark.parametrize("at", [32 + 8 + 4, 1024 - 8, 1024 - 1])
@pytest.mark.parametrize("level", ["root", "node"])
def test_damaged_index_block_is_found(level: str, at: int, indexed: Path) -> None:
    raw = indexed.read_bytes()
    node = next((block for block in blocks_of(indexed)[1:] if raw[block + 4 : block + 6] == b"\0\x04"), None)
    assert node is not None
    place = (blocks_of(indexed)[0] if level == "root" else node) + at
    with pytest.raises(Corrupt, match="checksum of the directory index block"):
        list(open_ext(patched(indexed, (place, bytes([raw[place] ^ 1])))).names("/d"))


def test_index_block_without_room_for_its_checksum(indexed: Path) -> None:
    place = blocks_of(indexed)[0] + 32
    with pytest.raises(Corrupt, match="no room for its checksum"):
        list(open_ext(patched(indexed, (place, b"\xff\xff"))).names("/d"))
