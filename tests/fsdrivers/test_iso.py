"""ISO 9660: whole trees by xorriso and genisoimage, odd structures by hand."""

from __future__ import annotations

import json
import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from fsdrivers.blocks import MemorySource, open_source
from fsdrivers.errors import Corrupt, IsADirectory, NotFound, UnknownFilesystem, Unsupported
from fsdrivers.iso9660 import open_iso
from fsdrivers.iso9660.filesystem import IsoFilesystem
from fsdrivers.partitions import volumes
from fsdrivers.probe import probe
from tests.conftest import RunCli
from tests.fsdrivers import trees
from tests.fsdrivers.isos import SECTOR, TERMINATOR, both32, ce, descriptor, directory, entry, image, nm, px, record, sp


def mount(data: bytes) -> IsoFilesystem:
    return open_iso(MemorySource(data, "iso"))


def rock_ridge(*records: bytes, skip: int = 0, blocks: dict[int, bytes] | None = None) -> IsoFilesystem:
    """A disc whose root (block 20) has Rock Ridge and the given records."""
    return mount(image({20: directory(20, *records, dot=sp(skip) + px(0o40755)), **(blocks or {})}))


@pytest.fixture(scope="session")
def disc_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of a tree that a disc can hold."""
    root = trees.fill_tree(tmp_path_factory.mktemp("disc"))
    (root / "links/length1000").unlink()
    return root


@pytest.mark.parametrize("writer", ["xorriso", "genisoimage"])
def test_rock_ridge_tree_reads_as_written(writer: str, disc_tree: Path, tmp_path: Path) -> None:
    iso = tmp_path / "iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-R"] if writer == "xorriso" else ["genisoimage", "-quiet", "-R"]
    trees.run(*command, "-o", iso, disc_tree)
    found = trees.snapshot(open_iso(open_source(iso)), ignore=("/rr_moved",))
    assert found == trees.snapshot_host(disc_tree)


def test_rock_ridge_beats_joliet(disc_tree: Path, tmp_path: Path) -> None:
    iso = tmp_path / "iso"
    trees.run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", iso, disc_tree)
    assert trees.snapshot(open_iso(open_source(iso))) == trees.snapshot_host(disc_tree)


def test_joliet_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "Boot/Grub").mkdir(parents=True)
    (tree / "Boot/Grub/menu.lst").write_bytes(b"title x")
    (tree / "Ünïcödé and spaces.longer").write_bytes(b"u")
    iso = tmp_path / "iso"
    trees.run("genisoimage", "-quiet", "-J", "-input-charset", "utf-8", "-o", iso, tree)
    filesystem = open_iso(open_source(iso))
    assert trees.snapshot(filesystem) == trees.snapshot_host(tree)
    with pytest.raises(NotFound):
        filesystem.lookup("/boot/grub/menu.lst")


def test_plain_names_in_any_case(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/menu.lst").write_bytes(b"title x")
    (tree / "kernel").write_bytes(b"k")
    iso = tmp_path / "iso"
    trees.run("genisoimage", "-quiet", "-o", iso, tree)
    filesystem = open_iso(open_source(iso))
    assert trees.snapshot(filesystem) == trees.snapshot_host(tree)
    for path in ("/boot/grub/menu.lst", "/BOOT/GRUB/MENU.LST;1", "/Boot/grub/Menu.Lst"):
        assert filesystem.open(path).read_at(0, 99) == b"title x"
    for path in ("/kernel", "/KERNEL.", "/KERNEL.;1"):
        assert filesystem.open(path).read_at(0, 99) == b"k"
    with pytest.raises(NotFound):
        filesystem.open("/kernel;2")


def test_file_of_several_extents() -> None:
    parts = [record(b"BIG.;1", 30, 2 * SECTOR, flags=0x80), record(b"BIG.;1", 40, 100)]
    filesystem = mount(image({20: directory(20, *parts), 30: b"a" * 4096, 40: b"b" * 100}))
    assert filesystem.open("/big").read_at(0, 9999) == b"a" * 4096 + b"b" * 100
    assert trees.hash_by_extents(filesystem.open("/big")) == trees.hash_by_reading(filesystem.open("/big"))


def test_descriptors_label_and_uuid() -> None:
    filesystem = mount(image({20: directory(20)}))
    assert (filesystem.label, filesystem.uuid) == ("LABEL", "2021-02-03-04-05-06-07")


def test_primary_descriptor_may_come_late() -> None:
    boot = b"\0CD001\x01EL TORITO SPECIFICATION".ljust(SECTOR, b"\0")
    data = image({40: directory(40, record(b"A.;1", 50, 1)), 50: b"x"}, *[boot] * 20, descriptor(1, 40))
    assert mount(data).open("/a").read_at(0, 1) == b"x"


def test_set_without_a_terminator() -> None:
    data = bytearray(image({20: directory(20, record(b"A.;1", 50, 1)), 50: b"x"}))
    data[17 * SECTOR : 18 * SECTOR] = bytes(SECTOR)
    assert list(mount(bytes(data)).names("/")) == ["a"]


def test_no_primary_descriptor() -> None:
    with pytest.raises(Corrupt, match="no primary"):
        mount(image({}, TERMINATOR))


def test_other_block_sizes_are_refused() -> None:
    with pytest.raises(Unsupported, match="block size"):
        mount(image({}, descriptor(1, 20, block_size=512)))


def test_extended_attribute_record_is_skipped() -> None:
    filesystem = mount(image({20: directory(20, record(b"A.;1", 30, 4, xar=2)), 30: b"XAR!", 32: b"data"}))
    assert filesystem.open("/a").read_at(0, 4) == b"data"


def test_parts_of_a_file_across_sector_padding() -> None:
    parts = [record(b"P%02d.;1" % i, 30, 1) for i in range(48)]
    big = [record(b"BIG.;1", 30 + i, SECTOR, flags=0x80 if i < 9 else 0) for i in range(10)]
    blocks = {30 + i: bytes([i]) * SECTOR for i in range(10)}
    blocks[20] = directory(20, *parts, *big, sectors=2)
    filesystem = mount(image(blocks, descriptor(1, 20, sectors=2)))
    assert filesystem.open("/big").read_at(0, 99999) == b"".join(bytes([i]) * SECTOR for i in range(10))


def test_last_part_missing() -> None:
    filesystem = mount(image({20: directory(20, record(b"BIG.;1", 30, SECTOR, flags=0x80))}))
    with pytest.raises(Corrupt, match="multi-extent"):
        filesystem.open("/big")


def test_interleaved_file_is_refused() -> None:
    filesystem = mount(image({20: directory(20, record(b"A.;1", 30, 10, unit=1, gap=1))}))
    with pytest.raises(Unsupported, match="interleaved"):
        filesystem.open("/a")


def test_associated_files_are_skipped() -> None:
    filesystem = mount(
        image({20: directory(20, record(b"A.;1", 30, 4, flags=4), record(b"A.;1", 31, 4)), 30: b"fork", 31: b"data"})
    )
    assert list(filesystem.names("/")) == ["a"]
    assert filesystem.open("/a").read_at(0, 4) == b"data"


def test_highest_version_is_the_file() -> None:
    filesystem = mount(image({20: directory(20, record(b"A.B;3", 30, 1), record(b"A.B;1", 31, 1)), 30: b"3", 31: b"1"}))
    assert list(filesystem.names("/")) == ["a.b"]
    assert [filesystem.open(path).read_at(0, 1) for path in ("/a.b", "/A.B;1", "/a.b;3")] == [b"3", b"1", b"3"]


def test_empty_file_may_lie_anywhere() -> None:
    filesystem = mount(image({20: directory(20, record(b"A.;1", 0xFFFFFFFF, 0))}))
    assert (filesystem.open("/a").read_at(0, 10), list(filesystem.open("/a").extents())) == (b"", [])


def test_system_use_skip() -> None:
    filesystem = rock_ridge(record(b"A.;1", 30, 1, system_use=b"x" * 14 + px(0o100644) + nm(b"real-name")), skip=14)
    assert list(filesystem.names("/")) == ["real-name"]


def test_name_over_several_entries_and_continuations() -> None:
    rest = nm(b"c" * 100, 1) + ce(41, 8, 50)
    first = nm(b"a" * 50, 1) + nm(b"b" * 20, 1) + ce(40, 0, len(rest))
    filesystem = rock_ridge(
        record(b"A.;1", 30, 1, system_use=first), blocks={40: rest, 41: bytes(8) + nm(b"end").ljust(50, b"\0")}
    )
    assert list(filesystem.names("/")) == ["a" * 50 + "b" * 20 + "c" * 100 + "end"]


@pytest.mark.parametrize("second", [(40, 0), (41, 0)])
def test_continuations_that_loop(second: tuple[int, int]) -> None:
    filesystem = rock_ridge(
        record(b"A.;1", 30, 1, system_use=ce(40, 0, 64)), blocks={40: nm(b"x") + ce(*second, 64), 41: ce(40, 0, 64)}
    )
    with pytest.raises(Corrupt, match="do not end"):
        list(filesystem.names("/"))


def component(flags: int, text: bytes = b"") -> bytes:
    return bytes([flags, len(text)]) + text


@pytest.mark.parametrize(
    ("entries", "target"),
    [
        ([component(8) + component(0, b"usr") + component(0, b"lib")], "/usr/lib"),
        ([component(8)], "/"),
        ([component(4) + component(4) + component(2) + component(0, b"x")], "../.././x"),
        ([component(0, b"a") + component(1, b"long"), component(0, b"er") + component(0, b"z")], "a/longer/z"),
        ([component(0, b"a"), component(0, b"b")], "a/b"),
    ],
)
def test_link_targets(entries: list[bytes], target: str) -> None:
    system_use = px(0o120777) + nm(b"link")
    for i, payload in enumerate(entries):
        system_use += entry(b"SL", bytes([int(i + 1 < len(entries))]) + payload)
    assert rock_ridge(record(b"L.;1", 0, 0, system_use=system_use)).lookup("/link", follow=False).target == target


def test_deep_directory_is_found_at_its_relocated_place() -> None:
    filesystem = mount(
        image(
            {
                20: directory(
                    20,
                    record(b"MOVED", 21, SECTOR, flags=2, system_use=px(0o40755) + nm(b"rr_moved")),
                    record(b"D.;1", 0, 0, system_use=px(0o40755) + nm(b"deep") + entry(b"CL", both32(22))),
                    dot=sp() + px(0o40755),
                ),
                21: directory(
                    21, record(b"DEEP", 22, SECTOR, flags=2, system_use=px(0o40755) + nm(b"deep") + entry(b"RE", b""))
                ),
                22: directory(22, record(b"F.;1", 30, 4, system_use=px(0o100644) + nm(b"file"))),
                30: b"here",
            }
        )
    )
    assert filesystem.open("/deep/file").read_at(0, 4) == b"here"
    assert list(filesystem.names("/rr_moved")) == []


def test_relocation_to_something_else() -> None:
    filesystem = rock_ridge(
        record(b"D.;1", 0, 0, system_use=nm(b"deep") + entry(b"CL", both32(30))), blocks={30: record(b"X", 30, SECTOR)}
    )
    with pytest.raises(Corrupt, match="relocated"):
        list(filesystem.names("/"))


def test_sparse_rock_ridge_file_is_refused() -> None:
    filesystem = rock_ridge(record(b"A.;1", 30, 10, system_use=nm(b"a") + entry(b"SF", both32(0) + both32(9))))
    with pytest.raises(Unsupported, match="sparse"):
        filesystem.open("/a")


def zisofs(content: bytes, log_block: int = 15) -> bytes:
    """A zisofs version 1 file; blocks of zeros are stored as nothing."""
    step = 1 << log_block
    chunks = [content[i : i + step] for i in range(0, len(content), step)]
    packed = [zlib.compress(chunk) if any(chunk) else b"" for chunk in chunks]
    position = 16 + 4 * (len(chunks) + 1)
    pointers = [position + sum(map(len, packed[:i])) for i in range(len(packed) + 1)]
    header = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07" + struct.pack("<IBBH", len(content), 4, log_block, 0)
    return header + struct.pack(f"<{len(pointers)}I", *pointers) + b"".join(packed)


def zf(size: int, log_block: int = 15, algorithm: bytes = b"pz") -> bytes:
    return entry(b"ZF", algorithm + bytes([4, log_block]) + both32(size))


def test_zisofs_file() -> None:
    content = random.Random(3).randbytes(40000) + bytes(70000) + b"end" * 5000
    packed = zisofs(content)
    filesystem = rock_ridge(
        record(b"A.;1", 30, len(packed), system_use=px(0o100644) + nm(b"a") + zf(len(content))), blocks={30: packed}
    )
    file = filesystem.open("/a")
    assert file.read_at(0, 1 << 20) == content
    assert file.read_at(32760, 20) == content[32760:32780]
    assert trees.hash_by_extents(file) == trees.hash_by_reading(file)
    assert filesystem.lookup("/a").size == len(content)


@pytest.mark.parametrize(("damage", "what"), [(0, "header"), (8, "size"), (16, "pointer"), (40, "compressed data")])
def test_damaged_zisofs(damage: int, what: str) -> None:
    packed = bytearray(zisofs(b"content" * 10000))
    packed[damage] ^= 0xFF
    if damage == 16:
        packed[19] = 0xFF
    filesystem = rock_ridge(
        record(b"A.;1", 30, len(packed), system_use=px(0o100644) + nm(b"a") + zf(70000)), blocks={30: bytes(packed)}
    )
    with pytest.raises(Corrupt, match=what):
        filesystem.open("/a").read_at(0, 70000)


def test_other_compression_is_refused() -> None:
    filesystem = rock_ridge(record(b"A.;1", 30, 100, system_use=nm(b"a") + zf(100, algorithm=b"PZ")))
    with pytest.raises(Unsupported, match="zisofs"):
        filesystem.open("/a")


def test_directory_cycle_is_one_object() -> None:
    filesystem = mount(image({20: directory(20, record(b"LOOP", 20, SECTOR, flags=2))}))
    assert filesystem.lookup("/loop/loop/loop").inode == filesystem.lookup("/").inode
    with pytest.raises(IsADirectory):
        filesystem.open("/loop")


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (b"\x10" + bytes(40), "length of a directory record"),
        (b"\xff" + record(b"A", 1, 1)[1:], None),
        (record(b"A.;1", 30, 1)[:32] + b"\x60" + b"x" * 60, "name length"),
        (record(b"A/B", 30, 1), "bad name"),
    ],
)
def test_bad_directory_record(bad: bytes, what: str | None) -> None:
    filesystem = mount(image({20: directory(20, bad)}))
    if what is None:
        assert list(filesystem.names("/")) == ["a"]
        return
    with pytest.raises(Corrupt, match=what):
        list(filesystem.names("/"))


def test_hybrid_disc_is_a_whole_disc_first(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(b"x" * 100_000)
    iso = tmp_path / "iso"
    trees.run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-partition_offset", "16", "-o", iso, tmp_path / "t")
    first, *others = volumes(open_source(iso))
    assert (first.number, probe(first.source).kind) == (0, "iso9660")
    assert [volume.number for volume in others] == [1]
    assert probe(others[0].source).open("/file").size == 100_000


def test_pure_udf_is_named() -> None:
    data = bytearray(64 * SECTOR)
    for i, mark in enumerate((b"BEA01", b"NSR02", b"TEA01"), 16):
        data[i * SECTOR + 1 : i * SECTOR + 6] = mark
    with pytest.raises(UnknownFilesystem, match="UDF"):
        probe(MemorySource(bytes(data)))


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / os.fsdecode(b"latin\xe9")).write_bytes(b"x")
    iso = tmp_path / "iso"
    trees.run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", iso, tmp_path / "t")
    assert open_iso(open_source(iso)).open("/latin\udce9").read_at(0, 1) == b"x"


def test_one_damaged_member_hides_no_other(run_cli: RunCli, tmp_path: Path) -> None:
    """Whatever can be read is listed; what cannot is named, and the exit code says so."""
    bad = entry(b"SL", b"\0\0\xff")  # a component that leaves its entry
    uses = {b"A.;1": nm(b"a"), b"B.;1": nm(b"b") + bad, b"C.;1": nm(b"c")}
    records = [record(name, 30, 4, system_use=use) for name, use in uses.items()]
    assert rock_ridge(*records).open("/c").size == 4
    path = tmp_path / "disc.iso"
    path.write_bytes(image({20: directory(20, *records, dot=sp(0) + px(0o40755))}))
    done = run_cli("ls", "-R", path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "/a\n/c\n", 1)
    document = json.loads(run_cli("ls", "-R", "--json", path).stdout)
    assert [found["name"] for found in document["entries"]] == ["a", "c"]
    assert len(document["damaged"]) == 1
