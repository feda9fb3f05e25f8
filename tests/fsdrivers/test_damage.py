"""Damaged and hostile volumes: only driver errors come out, after bounded work.

Work is counted in reads of the source, not in time: a source that was asked too often fails the test.
"""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fsdrivers.api import BlockSource, Extent, Filesystem
from fsdrivers.blocks import MemorySource
from fsdrivers.errors import FsError
from fsdrivers.ext2 import open_ext
from fsdrivers.ext2.groups import TABLE_CACHE_BYTES
from fsdrivers.iso9660 import open_iso
from fsdrivers.partitions import volumes
from fsdrivers.probe import probe
from tests.fsdrivers import isos, trees
from tests.fsdrivers.journals import CSUM_V3, Change, JournalWriter
from tests.fsdrivers.test_ext_trees import make_image
from tests.fsdrivers.test_iso import component, zf, zisofs

MUTANTS = 120
MAX_READS = 40_000
MAX_READ_BYTES = 512 << 20
MAX_EXTENTS = 20_000
PROBE_BYTES = 64 << 10


class TooMuchWork(Exception):  # noqa: N818
    """The driver asked for more than a volume of this size can justify."""


class CountingSource:
    """A source that gives up after a budget of reads."""

    def __init__(self, data: bytes) -> None:
        self._source = MemorySource(data, "mutant")
        self.name, self.size = "mutant", len(data)
        self.reads = self.bytes = 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.reads += 1
        self.bytes += size
        if self.reads > MAX_READS or self.bytes > MAX_READ_BYTES:
            raise TooMuchWork(f"{self.reads} reads, {self.bytes} bytes")
        return self._source.read_at(offset, size)

    def extents(self, offset: int, size: int) -> Iterator[Extent]:
        return self._source.extents(offset, size)

    def close(self) -> None:
        """Nothing to close."""


def exercise(filesystem: Filesystem) -> None:
    """Walk everything (each directory once) and read a little of every file; driver errors are fine anywhere."""
    pending, seen = ["/"], set()
    while pending and len(seen) < 200:
        path = pending.pop()
        try:
            inode = filesystem.lookup(path).inode
            if inode in seen:
                continue
            seen.add(inode)
            for entry in filesystem.listdir(path):
                child = f"{path.rstrip('/')}/{entry.name}"
                if entry.stat.kind == "dir":
                    pending.append(child)
                else:
                    read_some(filesystem, child)
        except FsError:
            continue


def read_some(filesystem: Filesystem, path: str) -> None:
    try:
        file = filesystem.open(path)
        file.read_at(0, PROBE_BYTES)
        file.read_at(max(0, file.size - 100), 200)
        total = 0
        for count, extent in enumerate(file.extents()):
            total += extent.length
            if count > MAX_EXTENTS:
                return
        assert total == file.size
    except FsError:
        pass


def small_tree(folder: Path) -> Path:
    trees.fill_tree(folder, names=30)
    with open(folder / "comb", "wb") as out:
        for block in range(400):
            out.seek(block * 8192)
            out.write(b"%d" % block)
    return folder


def ext_image(options: str, *, journal: bool = False) -> bytes:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tree").mkdir()
        # mke2fs -d gives files that end in a hole wrong sizes with inline data: judged elsewhere.
        image = make_image(folder / "image", small_tree(folder / "tree"), options, "16M")
        if journal:
            content = image.read_bytes()
            writer = JournalWriter(image, incompat=CSUM_V3)
            writer.add(Change({block: content[block * 1024 : (block + 1) * 1024] for block in range(40, 60)}))
            writer.add(Change({45: content[45 * 1024 : 46 * 1024]}, revoked=(50, 51)))
            writer.finish()
        return image.read_bytes()


def iso_image() -> bytes:
    """Every structure the driver knows, in a few sectors."""
    packed = zisofs(b"content" * 9000)
    link = isos.px(0o120777) + isos.nm(b"link") + isos.entry(b"SL", b"\0" + component(8) + component(0, b"boot"))
    rest = isos.nm(b"c" * 100)
    records = [
        isos.record(b"BOOT", 21, isos.SECTOR, flags=2, system_use=isos.px(0o40755) + isos.nm(b"boot")),
        isos.record(b"BIG.;1", 30, isos.SECTOR, flags=0x80),
        isos.record(b"BIG.;1", 34, 100),
        isos.record(b"L.;1", 0, 0, system_use=link),
        isos.record(b"LONG.;1", 30, 9, system_use=isos.nm(b"a", 1) + isos.ce(26, 0, len(rest))),
        isos.record(b"Z.;1", 40, len(packed), system_use=isos.px(0o100644) + isos.nm(b"z") + zf(63000)),
        isos.record(b"D.;1", 0, 0, system_use=isos.nm(b"deep") + isos.entry(b"CL", isos.both32(22))),
    ]
    joliet = isos.directory(24, isos.record("menu.lst".encode("utf-16-be"), 30, 10))
    return isos.image(
        {
            20: isos.directory(20, *records, dot=isos.sp() + isos.px(0o40755)),
            21: isos.directory(21, parent=20),
            22: isos.directory(22, isos.record(b"F.;1", 30, 4)),
            24: joliet,
            26: rest,
            30: b"data" * 512,
            40: packed,
        },
        isos.descriptor(1, 20),
        isos.descriptor(2, 24, escapes=b"%/E"),
    )


BASES: dict[str, tuple[Callable[[], bytes], Callable[[BlockSource], Filesystem]]] = {
    "ext2": (lambda: ext_image("-t ext2 -b 1024"), open_ext),
    "ext4": (lambda: ext_image("-t ext4 -b 1024 -O ^metadata_csum,^has_journal"), open_ext),
    "ext4-checksums": (lambda: ext_image("-t ext4 -b 1024 -O ^has_journal"), open_ext),
    "ext4-meta-bg": (lambda: ext_image("-t ext4 -b 1024 -O meta_bg,^resize_inode,^metadata_csum"), open_ext),
    "ext4-inline": (lambda: ext_image("-t ext4 -b 1024 -I 256 -O inline_data,^metadata_csum,^has_journal"), open_ext),
    "ext4-journal": (lambda: ext_image("-t ext4 -b 1024 -J size=1 -O ^metadata_csum", journal=True), open_ext),
    "iso": (iso_image, open_iso),
}


@cache
def base_image(name: str) -> bytes:
    return BASES[name][0]()


@cache
def hot_places(name: str) -> tuple[int, ...]:
    """Bytes that a walk reads: where damage is noticed.  Data of files is left out by its size."""
    places: set[int] = set()

    class Recorder(CountingSource):
        def read_at(self, offset: int, size: int) -> bytes:
            if size <= TABLE_CACHE_BYTES:
                places.update(range(offset, offset + size))
            return super().read_at(offset, size)

    exercise(BASES[name][1](Recorder(base_image(name))))
    data = base_image(name)
    # Unused inodes and slack are zeros; a byte near something is worth more than one in the desert.
    return tuple(place for place in sorted(places) if any(data[max(0, place - 4) : place + 5]))


def mutant(name: str, seed: int) -> bytes:
    """One to six bytes, words or repeated blocks changed where it matters."""
    chance = random.Random(f"{name} {seed}")
    data, places = bytearray(base_image(name)), hot_places(name)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        place = chance.choice(places)
        kind = chance.randrange(4)
        if kind == 0:
            data[place] = chance.randrange(256)
        elif kind == 1:
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            value = chance.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(1 << 14)))
            struct.pack_into("<I", data, place & ~3, value)
        else:
            source = chance.choice(places) & ~3
            data[place & ~3 : (place & ~3) + 16] = data[source : source + 16]
    return bytes(data)


@pytest.mark.parametrize("name", BASES)
def test_undamaged_base_is_read_whole(name: str) -> None:
    source = CountingSource(base_image(name))
    assert sum(1 for _ in trees.walk(BASES[name][1](source))) > 5


@pytest.mark.parametrize("name", BASES)
def test_damage_gives_driver_errors_after_bounded_work(name: str) -> None:
    for seed in range(MUTANTS):
        try:
            filesystem = BASES[name][1](CountingSource(mutant(name, seed)))
        except FsError:
            continue
        except Exception as err:
            raise AssertionError(f"seed {seed}: {err!r}") from err
        try:
            exercise(filesystem)
        except Exception as err:
            raise AssertionError(f"seed {seed}: {err!r}") from err


@pytest.mark.parametrize("seed", range(60))
def test_random_bytes(seed: int) -> None:
    data = random.Random(seed).randbytes(64 << 10)
    if seed % 3 == 0:
        data = data[:0x438] + b"\x53\xef" + data[0x43A:]
    elif seed % 3 == 1:
        data = data[:0x8001] + b"CD001" + data[0x8006:]
    else:
        data = data[:510] + b"\x55\xaa" + data[512:]
    try:
        for volume in volumes(CountingSource(data)):
            exercise(probe(volume.source))
    except FsError:
        pass


def test_error_about_an_extent_does_not_crash_the_collector() -> None:
    """An iterator over a memoryview that a traceback's cycle holds crashes CPython when it is collected."""
    code = """
import gc, struct
from fsdrivers.errors import Corrupt
from fsdrivers.ext2.mapping import BlockMap, MapLimits
node = struct.pack("<HHHHI", 0xF30A, 2, 4, 0, 0) + struct.pack("<IHHIIHHI", 5, 1, 0, 9, 1, 1, 0, 9) + bytes(24)
for _ in range(10):
    try:
        BlockMap(lambda block: bytes(1024), 1024, 100, 100, "node", MapLimits()).extent_runs(node)
    except Corrupt as err:
        err.held = err
    gc.collect()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
