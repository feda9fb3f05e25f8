"""Files on their way into a domain."""

from __future__ import annotations

import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.blobs import FileBlob, gunzip, join_ramdisks, ramdisk_of_old_builders, read_whole
from pvboot.errors import BootError
from pvboot.kexec.layout import Blob, BytesBlob

TEXT = bytes(range(256)) * 300


def content(blob: Blob) -> bytes:
    data = bytearray()
    for offset, chunk in blob.chunks():
        assert offset == len(data)
        data += chunk
    assert len(data) == blob.size
    return bytes(data)


def test_gzip_members_are_joined_and_trailing_rubbish_is_dropped() -> None:
    packed = gzip.compress(TEXT) + gzip.compress(b"more")
    assert content(gunzip(BytesBlob(packed))) == TEXT + b"more"
    assert content(gunzip(BytesBlob(packed + bytes(512)))) == TEXT + b"more"
    assert content(gunzip(BytesBlob(TEXT))) == TEXT


@pytest.mark.parametrize("damage", [lambda raw: raw[:100], lambda raw: raw[:50] + b"\xff" * 50 + raw[100:]])
def test_damaged_gzip_is_an_error(damage: object) -> None:
    with pytest.raises(BootError, match="gzip"):
        gunzip(BytesBlob(damage(gzip.compress(TEXT))))  # type: ignore[operator]


def test_a_gzip_bomb_ends_at_the_limit() -> None:
    with pytest.raises(BootError, match="too large"):
        gunzip(BytesBlob(gzip.compress(bytes(10_000_000))), limit=1_000_000)


def test_old_builders_unpack_and_add_16_zeros() -> None:
    assert content(ramdisk_of_old_builders(BytesBlob(gzip.compress(TEXT)))) == TEXT + bytes(16)
    assert content(ramdisk_of_old_builders(BytesBlob(b"070701" + TEXT))) == b"070701" + TEXT


def test_old_builders_fall_back_to_the_raw_file() -> None:
    packed = gzip.compress(TEXT)
    trailing = packed + bytes(512)  # the last four bytes say 0: no room to unpack
    assert content(ramdisk_of_old_builders(BytesBlob(trailing))) == trailing
    huge = packed[:-4] + struct.pack("<I", 3 << 30)
    assert content(ramdisk_of_old_builders(BytesBlob(huge))) == huge
    cut = packed[: len(packed) // 2] + struct.pack("<I", len(TEXT))
    handed = content(ramdisk_of_old_builders(BytesBlob(cut)))
    assert handed == cut.ljust(len(TEXT) + 16, b"\0")  # the space for the unpacked text was reserved before


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_joined_ramdisks_start_on_four_bytes(parts: list[bytes]) -> None:
    joined = content(join_ramdisks([BytesBlob(part) for part in parts]))
    position = 0
    for part in parts:
        assert joined[position : position + len(part)] == part
        position = -(-(position + len(part)) // 4) * 4


def test_a_file_that_ends_early_is_an_error() -> None:
    class Short:
        path = "/boot/initrd"
        size = 1000

        def read_at(self, offset: int, size: int) -> bytes:
            return b"x" * 400

    with pytest.raises(BootError, match="ends early"):
        content(FileBlob(Short()))  # type: ignore[arg-type]


def test_read_whole_has_a_limit() -> None:
    with pytest.raises(BootError, match="too large"):
        read_whole(BytesBlob(bytes(100)), 99, "the ramdisk")
