"""metadata_csum: damage that would read as plausible data is found; the checksum itself is the published one."""

from __future__ import annotations

import random
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
