"""Partition tables: our own writer for the odd ones, sfdisk for the ordinary ones."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from fsdrivers.blocks import MemorySource, open_source
from fsdrivers.errors import Corrupt, FsError, SourceError
from fsdrivers.gpt import format_guid
from fsdrivers.partitions import read_table, volumes
from tests.fsdrivers import trees
from tests.fsdrivers.test_ext_odd import image_of

LINUX_GUID = bytes.fromhex("af3dc60f838472478e793d69d8477de4")
SECTORS = 4096


def mbr_entry(kind: int, first: int, count: int, flag: int = 0) -> bytes:
    return struct.pack("<B3xB3xII", flag, kind, first, count)


def boot_record(*entries: bytes, signature: int = 0x12345678) -> bytes:
    return struct.pack("<440xIxx64s2s", signature, b"".join(entries).ljust(64, b"\0"), b"\x55\xaa")


def disk(records: dict[int, bytes], sectors: int = SECTORS, sector_size: int = 512) -> bytearray:
    data = bytearray(sectors * sector_size)
    for sector, record in records.items():
        data[sector * sector_size : sector * sector_size + len(record)] = record
    return data


def places(data: bytes | bytearray, **options: int) -> list[tuple[int, int, int]]:
    """(number, offset, size) of the volumes of a disk."""
    return [(volume.number, volume.offset, volume.size) for volume in volumes(MemorySource(bytes(data)), **options)]


def gpt_header(
    lba: int, alternate: int, entries_lba: int, table: bytes, *, entry_bytes: int = 128, count: int | None = None
) -> bytes:
    header = bytearray(
        struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x10000,
            92,
            0,
            0,
            lba,
            alternate,
            34,
            1000,
            bytes(16),
            entries_lba,
            len(table) // entry_bytes if count is None else count,
            entry_bytes,
            zlib.crc32(table),
        )
    )
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    return bytes(header)


def gpt_disk(
    partitions: dict[int, tuple[int, int]],
    *,
    sector_size: int = 512,
    entry_bytes: int = 128,
    sectors: int = SECTORS,
    mbr: bytes | None = None,
) -> bytearray:
    """A disk with primary and backup tables; `partitions` maps the number to (first, last) sector."""
    table = bytearray(128 * entry_bytes)
    for number, (first, last) in partitions.items():
        struct.pack_into(
            "<16s16sQQQ72s",
            table,
            (number - 1) * entry_bytes,
            LINUX_GUID,
            bytes([number] * 16),
            first,
            last,
            4 if number == 2 else 0,
            f"part{number}".encode("utf-16-le"),
        )
    protective = boot_record(mbr_entry(0xEE, 1, 0xFFFFFFFF)) if mbr is None else mbr
    table_sectors = -(-len(table) // sector_size)
    backup = sectors - 1
    return disk(
        {
            0: protective,
            1: gpt_header(1, backup, 2, table, entry_bytes=entry_bytes),
            2: bytes(table),
            backup - table_sectors: bytes(table),
            backup: gpt_header(backup, 1, backup - table_sectors, table, entry_bytes=entry_bytes),
        },
        sectors,
        sector_size,
    )


def test_primaries_are_numbered_by_slot() -> None:
    data = disk(
        {
            0: boot_record(
                mbr_entry(0, 0, 0), mbr_entry(0x83, 100, 50), mbr_entry(0, 5, 5), mbr_entry(0x82, 200, 10, 0x80)
            )
        }
    )
    assert places(data) == [(2, 100 * 512, 50 * 512), (4, 200 * 512, 10 * 512)]
    second = volumes(MemorySource(bytes(data)))[1]
    assert (second.scheme, second.type_id, second.uuid, second.active) == ("msdos", "0x82", "12345678-04", True)


def test_volume_reads_its_own_bytes() -> None:
    data = disk({0: boot_record(mbr_entry(0x83, 100, 50)), 100: b"here"})
    assert volumes(MemorySource(bytes(data)))[0].source.read_at(0, 4) == b"here"


def test_logicals_start_at_five_and_follow_the_chain() -> None:
    data = disk(
        {
            0: boot_record(mbr_entry(0x83, 10, 10), mbr_entry(0x0F, 1000, 2000)),
            1000: boot_record(mbr_entry(0x83, 10, 20), mbr_entry(0x05, 500, 100)),
            1500: boot_record(mbr_entry(0, 0, 0), mbr_entry(0x05, 700, 100)),  # an empty record takes no number
            1700: boot_record(mbr_entry(0x83, 1, 30)),
        }
    )
    assert places(data) == [(1, 5120, 5120), (5, 1010 * 512, 20 * 512), (6, 1701 * 512, 30 * 512)]


@pytest.mark.parametrize("target", [0, 500])
def test_chain_that_loops_ends_with_a_problem(target: int) -> None:
    data = disk(
        {
            0: boot_record(mbr_entry(0x83, 10, 10), mbr_entry(0x05, 1000, 2000)),
            1000: boot_record(mbr_entry(0x83, 10, 20), mbr_entry(0x05, 500, 9)),
            1500: boot_record(mbr_entry(0x83, 10, 20), mbr_entry(0x05, target, 9)),
        }
    )
    table = read_table(MemorySource(bytes(data)))
    assert [volume.number for volume in table.volumes] == [1, 5, 6]
    assert "loops" in str(table.problems[0])


def test_chain_that_leaves_the_disk_ends_with_a_problem() -> None:
    data = disk(
        {
            0: boot_record(mbr_entry(0x83, 10, 10), mbr_entry(0x05, 1000, 2000)),
            1000: boot_record(mbr_entry(0x83, 10, 20), mbr_entry(0x05, 0xFFFFFFF0, 9)),
        }
    )
    table = read_table(MemorySource(bytes(data)))
    assert [volume.number for volume in table.volumes] == [1, 5]
    assert isinstance(table.problems[0], SourceError)


def test_partitions_at_the_end_of_the_disk() -> None:
    data = disk(
        {
            0: boot_record(
                mbr_entry(0x83, SECTORS - 10, 100), mbr_entry(0x83, SECTORS, 5), mbr_entry(0x83, 0xFFFFFFFF, 0xFFFFFFFF)
            )
        }
    )
    assert places(data) == [(1, (SECTORS - 10) * 512, 5120)]


@pytest.mark.parametrize("sector_size", [512, 1024, 2048, 4096])
def test_gpt_of_every_sector_size(sector_size: int) -> None:
    data = gpt_disk({1: (40, 99), 128: (100, 199)}, sector_size=sector_size)
    assert places(data) == [(1, 40 * sector_size, 60 * sector_size), (128, 100 * sector_size, 100 * sector_size)]


def test_gpt_names_and_types() -> None:
    first, second = volumes(MemorySource(bytes(gpt_disk({1: (40, 99), 2: (100, 199)}))))
    assert (first.scheme, first.label, first.active, second.active) == ("gpt", "part1", False, True)
    assert first.type_id == "0fc63daf-8483-4772-8e79-3d69d8477de4"
    assert first.uuid == "01010101-0101-0101-0101-010101010101"


@pytest.mark.parametrize("offset", [512, 512 + 20, 512 + 88, 1024])
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_backup_header_is_used(offset: int, sector_size: int) -> None:
    data = gpt_disk({1: (40, 99)}, sector_size=sector_size)
    data[offset * sector_size // 512] ^= 0xFF
    assert places(data) == [(1, 40 * sector_size, 60 * sector_size)]


def test_both_headers_damaged() -> None:
    data = gpt_disk({1: (40, 99)})
    data[512] ^= 0xFF
    data[-512] ^= 0xFF
    with pytest.raises(Corrupt, match="GPT"):
        places(data)


def test_hybrid_mbr_gives_gpt_numbers() -> None:
    mbr = boot_record(mbr_entry(0x83, 40, 60), mbr_entry(0xEE, 1, 39))
    assert places(gpt_disk({3: (40, 99)}, mbr=mbr)) == [(3, 40 * 512, 60 * 512)]


@pytest.mark.parametrize(("entry_bytes", "count"), [(1 << 31, 1), (128, 1 << 30), (64, 4), (129, 4), (0, 4)])
def test_gpt_table_of_absurd_size(entry_bytes: int, count: int) -> None:
    data = gpt_disk({1: (40, 99)})
    header = gpt_header(1, SECTORS - 1, 2, b"", entry_bytes=max(1, entry_bytes), count=count)
    if entry_bytes == 0:
        header = bytearray(header)
        struct.pack_into("<I", header, 84, 0)
        struct.pack_into("<I", header, 16, 0)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
    data[512 : 512 + 92] = header
    data[-512:-420] = bytes(92)
    with pytest.raises(Corrupt):
        places(data)


def test_wide_gpt_entries() -> None:
    assert places(gpt_disk({1: (99, 120), 128: (200, 201)}, entry_bytes=256)) == [
        (1, 99 * 512, 22 * 512),
        (128, 200 * 512, 1024),
    ]


def test_gpt_partition_that_ends_before_it_starts_is_left_out() -> None:
    assert places(gpt_disk({1: (100, 50), 2: (1 << 60, 1 << 61), 3: (60, 70)})) == [(3, 60 * 512, 11 * 512)]


def test_sector_size_of_an_mbr_disk_can_be_given() -> None:
    data = disk({0: boot_record(mbr_entry(0x83, 10, 20))}, 100, 4096)
    assert places(data, sector_size=4096) == [(1, 40960, 20 * 4096)]


@pytest.mark.parametrize(
    "table",
    [
        boot_record(),
        boot_record(mbr_entry(0x83, 10, 10, flag=0x41)),
        boot_record(mbr_entry(0x83, 1 << 30, 10)),
        b"\xeb\x58\x90mkfs.fat".ljust(446, b"A") + b"junk" * 16 + b"\x55\xaa",
    ],
)
def test_whole_disk_ext_with_a_boot_signature(table: bytes, tmp_path: Path) -> None:
    image = image_of(tmp_path, "-t ext4")
    data = bytearray(image.read_bytes())
    data[: len(table)] = table
    (volume,) = volumes(MemorySource(bytes(data)))
    assert (volume.scheme, volume.number, volume.offset, volume.size) == ("none", 0, 0, len(data))


def test_valid_table_wins_over_a_left_over_super_block(tmp_path: Path) -> None:
    data = bytearray(image_of(tmp_path, "-t ext4").read_bytes())
    data[:512] = boot_record(mbr_entry(0x83, 2048, 100))
    assert places(data) == [(1, 2048 * 512, 51200)]


def test_disk_without_a_table_is_one_volume() -> None:
    assert places(bytes(100_000)) == [(0, 0, 100_000)]
    assert places(b"x" * 100) == [(0, 0, 100)]


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_table_of_sfdisk(label: str, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(64 << 20))
    layout = {"dos": ",4M\n,4M\n,,E\n,4M\n,4M\n,4M\n", "gpt": ",4M\n,8M\n,4M\n"}[label]
    trees.run("sfdisk", "-q", "--label", label, image, input=layout.encode())
    said = json.loads(trees.run("sfdisk", "--json", image))["partitiontable"]["partitions"]
    expected = [
        (int(part["node"].removeprefix(str(image))), part["start"] * 512, part["size"] * 512)
        for part in said
        if part["type"] not in ("5", "f")
    ]
    found = volumes(open_source(image))
    assert [(volume.number, volume.offset, volume.size) for volume in found] == expected
    if label == "gpt":
        assert [volume.uuid for volume in found] == [part["uuid"].lower() for part in said]


def test_guid_text() -> None:
    assert format_guid(bytes(range(16))) == "03020100-0504-0706-0809-0a0b0c0d0e0f"


@pytest.mark.parametrize("seed", range(150))
def test_damaged_tables_end_in_volumes_or_one_error(seed: int) -> None:
    import random

    chance = random.Random(seed)
    data = (
        gpt_disk({1: (40, 99), 5: (200, 300)})
        if seed % 2
        else disk(
            {
                0: boot_record(mbr_entry(0x83, 10, 10), mbr_entry(0x05, 1000, 2000)),
                1000: boot_record(mbr_entry(0x83, 10, 20), mbr_entry(0x05, 500, 9)),
                1500: boot_record(mbr_entry(0x83, 10, 20)),
            }
        )
    )
    for _ in range(chance.randrange(1, 8)):
        place = chance.choice([*range(440, 700), *range(1000 * 512 + 446, 1000 * 512 + 512)])
        data[place] = chance.randrange(256)
    try:
        found = volumes(MemorySource(bytes(data)))
    except FsError:
        return
    for volume in found:
        assert volume.size > 0 and volume.offset + volume.size <= len(data)
        volume.source.read_at(volume.size - 1, 1)
