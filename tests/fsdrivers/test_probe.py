"""The driver that takes a volume, and the names of formats without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fsdrivers.blocks import MemorySource, open_source
from fsdrivers.errors import Corrupt, UnknownFilesystem
from fsdrivers.probe import KNOWN_MAGICS, ZFS_UBERBLOCKS, probe
from tests.fsdrivers import trees
from tests.fsdrivers.isos import directory, image
from tests.fsdrivers.test_ext_odd import image_of


@pytest.mark.parametrize(
    ("offset", "magic", "name"),
    [*KNOWN_MAGICS, (ZFS_UBERBLOCKS.start + 5 * 1024, b"\x0c\xb1\xba\x00\x00\x00\x00\x00", "ZFS")],
)
def test_foreign_formats_are_named(offset: int, magic: bytes, name: str) -> None:
    data = bytearray(1 << 20)
    data[offset : offset + len(magic)] = magic
    with pytest.raises(UnknownFilesystem) as caught:
        probe(MemorySource(bytes(data)))
    assert caught.value.found == name


@pytest.mark.parametrize(
    ("data", "found"), [(bytes(1 << 16), "only zeros"), (b"hello wo" + bytes(9000), "68 65 6c 6c"), (b"\1", "01")]
)
def test_nothing_recognised(data: bytes, found: str) -> None:
    with pytest.raises(UnknownFilesystem, match=found):
        probe(MemorySource(data))


def test_swap_of_mkswap(tmp_path: Path) -> None:
    swap = tmp_path / "swap"
    swap.write_bytes(bytes(1 << 20))
    trees.run("mkswap", "-q", swap)
    with pytest.raises(UnknownFilesystem, match="swap"):
        probe(open_source(swap))


def test_known_but_broken_is_not_unknown(tmp_path: Path) -> None:
    data = bytearray(image_of(tmp_path, "-t ext4").read_bytes())
    data[1024 + 0x28 : 1024 + 0x2C] = bytes(4)
    with pytest.raises(Corrupt, match="inodes per group"):
        probe(MemorySource(bytes(data)))


def test_iso_comes_before_ext() -> None:
    assert probe(MemorySource(image({20: directory(20)}))).kind == "iso9660"


def test_reading_a_menu_imports_little(tmp_path: Path) -> None:
    disk = image_of(tmp_path, "-t ext4")
    program = (
        "import sys\n"
        "from fsdrivers.blocks import open_source\n"
        "from fsdrivers.partitions import volumes\n"
        "from fsdrivers.probe import probe\n"
        f"volume = volumes(open_source({str(disk)!r}))[0]\n"
        "print(probe(volume.source).open('/file').read_at(0, 99))\n"
        "print(*[name for name in ('numpy', 'construct', 'pyparsing', 'datetime', 'uuid', 'fcntl') "
        "if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["b'content'", ""]
