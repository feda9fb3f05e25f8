"""Device names without disks, and the volumes behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.blocks import MemorySource
from pvboot.blocklist import open_block_list
from pvboot.device_names import Device, read_device
from pvboot.grub_errors import GrubError, read_number
from pvboot.sources import open_devices

ROOT = Device("hd", 1, 2)


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("(hd0,0)/x", "(hd0,0)", "/x"),
        ("(hd0)", "(hd0)", ""),
        ("(0x81,3)", "(hd1,3)", ""),
        ("(hd0x2,0x10)", "(hd2,16)", ""),
        ("()", "(hd1)", ""),
        ("(,)", "(hd1,2)", ""),
        ("(,0)", "(hd1,0)", ""),
        ("(hd0,)", "(hd0,2)", ""),
        ("(hd0,1,a)", "(hd0,1,a)", ""),
        ("(hd0,b)", "(hd0,b)", ""),
        ("(hd0,msdos1)/x", "(hd0,0)", "/x"),
        ("(hd0,gpt12)/x", "(hd0,11)", "/x"),
        ("(cd)/x", "(cd)", "/x"),
        ("(nd)/x", "(nd)", "/x"),
        ("(fd0)+1", "(fd0)", "+1"),
    ],
)
def test_name(text: str, name: str, rest: str) -> None:
    device, behind = read_device(text, ROOT)
    assert (str(device), behind) == (name, rest)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("()", 12),
        ("(,0)", 12),
        ("(", 11),
        ("", 11),
        ("(hd0,msdos0)", 11),
        ("(hd0,gpt)", 23),
        ("(cd,0)", 11),
        ("(nd", 11),
    ],
)
def test_bad_name_without_a_root(text: str, number: int) -> None:
    with pytest.raises(GrubError) as caught:
        read_device(text)
    assert caught.value.number == number


@given(st.text(alphabet="(hdfncxmsogpt0189,abz)=+/ é\0", max_size=12))
def test_any_text_is_a_device_or_a_grub_error(text: str) -> None:
    try:
        device, _rest = read_device(f"({text}", ROOT)
    except GrubError as err:
        assert err.number in (11, 12, 23, 35)
    else:
        assert read_device(str(device), ROOT)[0] == Device(device.kind, device.drive, device.partition, device.slice)


@pytest.mark.parametrize("name", ["(hd0)", "(hd0,0)", "(hd0,msdos1)"])
def test_bare_file_system_answers_to_all_its_names(images: Callable[[str], Path], name: str) -> None:
    with open_devices(str(images("ext2.img"))) as devices:
        assert devices.filesystem(read_device(name)[0]).kind == "ext2"


@pytest.mark.parametrize(
    ("name", "number"), [("(hd0,1)", 22), ("(hd0,0,a)", 22), ("(hd1)", 21), ("(fd0)", 21), ("(cd)", 21), ("(nd)", 12)]
)
def test_missing_device(images: Callable[[str], Path], name: str, number: int) -> None:
    with open_devices(str(images("ext2.img"))) as devices, pytest.raises(GrubError) as caught:
        devices.filesystem(read_device(name)[0])
    assert caught.value.number == number


@pytest.mark.parametrize(("name", "number"), [("(hd0,gpt1)", 22), ("(hd0,2)", 22), ("(hd0,1)", 17), ("(hd0)", 17)])
def test_volume_that_is_not_there_or_not_readable(images: Callable[[str], Path], name: str, number: int) -> None:
    with open_devices(str(images("mbr.img"))) as devices, pytest.raises(GrubError) as caught:
        devices.filesystem(read_device(name)[0])
    assert caught.value.number == number


def test_logical_partition_and_gpt_number(images: Callable[[str], Path]) -> None:
    with open_devices(str(images("mbr.img")), [str(images("gpt.img"))]) as devices:
        assert devices.open("(hd0,4)/tiny64.elf", Device("hd")).size > 0
        assert devices.open("(hd1,gpt3)/boot/grub/menu.lst", Device("hd")).size > 0


def test_cd_is_the_first_disk_with_an_iso(images: Callable[[str], Path]) -> None:
    with open_devices(str(images("ext2.img")), [str(images("rockridge-joliet.iso"))]) as devices:
        assert devices.filesystem(Device("cd")).kind == "iso9660"


def test_directory_has_no_block_lists(tmp_path: Path) -> None:
    with open_devices(str(tmp_path)) as devices, pytest.raises(GrubError, match="no blocks"):
        devices.open("(hd0)+1", Device("hd"))


SECTORS = b"".join(bytes([number]) * 512 for number in range(8))


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("+1", SECTORS[:512]),
        ("2+2", SECTORS[1024:2048]),
        ("0x7+1,+1", SECTORS[3584:] + SECTORS[:512]),
        ("1+1,3+1,600", SECTORS[512:1024] + SECTORS[1536:1624]),
    ],
)
def test_block_list(text: str, content: bytes) -> None:
    file = open_block_list(text, MemorySource(SECTORS))
    assert file.read_at(0, 10_000) == content
    assert sum(extent.length for extent in file.extents()) == file.size == len(content)


@given(st.integers(0, 1400), st.integers(0, 1400))
def test_any_range_of_a_block_list(offset: int, size: int) -> None:
    file = open_block_list("5+1,1+1,1000", MemorySource(SECTORS))
    whole = (SECTORS[2560:3072] + SECTORS[512:1024])[:1000]
    assert file.read_at(offset, size) == whole[offset : offset + size]


@given(st.text(alphabet="0123456789xX+,af ", max_size=12))
def test_any_text_is_a_block_list_or_a_grub_error(text: str) -> None:
    try:
        file = open_block_list(text, MemorySource(SECTORS))
    except GrubError as err:
        assert err.number in (1, 24)
    else:
        assert len(file.read_at(0, 1 << 20)) == file.size


@given(st.integers(0, 0x7FFFFFFF), st.sampled_from(["{}", "{:#x}", "{:#X}", "{}st", "00{}"]))
def test_numbers(value: int, form: str) -> None:
    assert read_number(form.format(value))[0] == value
