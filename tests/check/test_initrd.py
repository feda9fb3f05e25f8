"""Reading what is inside an initrd: archives, compressions, concatenation, damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable, Iterator

import lz4.block
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from pvboot.check.initrd import Initrd, read_initrd
from pvboot.check.structs import CPIO_NEWC_HEADER
from pvboot.unpack.lz4_legacy import MAGIC as LZ4_MAGIC


def newc(files: dict[str, bytes], *, trailer: bool = True) -> bytes:
    """An archive, made field by field by the construct declaration."""
    made = bytearray()
    for inode, (name, data) in enumerate([*files.items(), *([("TRAILER!!!", b"")] if trailer else [])], 1):
        numbers = {"inode": inode, "mode": 0o100644, "links": 1, "file_size": len(data), "name_size": len(name) + 1}
        fields = {part.name: b"%08x" % numbers.get(part.name, 0) for part in CPIO_NEWC_HEADER.subcons}
        made += CPIO_NEWC_HEADER.build({**fields, "magic": b"070701"}) + name.encode() + b"\0"
        made += bytes(-len(made) % 4) + data
        made += bytes(-len(made) % 4)
    return bytes(made)


def lz4_legacy(data: bytes) -> bytes:
    block = lz4.block.compress(data, store_size=False)
    return bytes(LZ4_MAGIC + struct.pack("<I", len(block)) + block)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstd.compress,
    "lz4": lz4_legacy,
}


def read(data: bytes, piece: int = 777) -> Initrd:
    pieces: Iterator[bytes] = (data[at : at + piece] for at in range(0, len(data), piece))
    return read_initrd(pieces, "initrd", lambda name: name.endswith("modules.builtin"))


TREE = {"lib/modules/6.1/modules.builtin": b"kernel/drivers/a.ko\n", "init": b"#!" * 5000, "bin/sh": b""}


@pytest.mark.parametrize("codec", PACKERS)
def test_every_compression_that_linux_knows_is_read(codec: str) -> None:
    found = read(PACKERS[codec](newc(TREE)))
    assert (found.names, found.complete, found.problem, found.codecs) == (set(TREE), True, None, [codec])
    assert found.kept == {"lib/modules/6.1/modules.builtin": b"kernel/drivers/a.ko\n"}


@pytest.mark.parametrize("codec", PACKERS)
def test_an_early_archive_in_front_and_another_one_behind(codec: str) -> None:
    early = newc({"kernel/x86/microcode/GenuineIntel.bin": b"m" * 1000}) + bytes(512)
    late = newc({"late": b"x"})
    found = read(early + PACKERS[codec](newc(TREE)) + bytes(8) + late)
    assert found.names == {*TREE, "kernel/x86/microcode/GenuineIntel.bin", "late"}
    assert found.complete


@pytest.mark.parametrize("codec", PACKERS)
def test_a_cut_initrd_is_called_so(codec: str) -> None:
    whole = PACKERS[codec](newc({**TREE, "more": bytes(range(256)) * 200}))
    found = read(whole[: len(whole) * 2 // 3])
    assert found.problem is not None and not found.complete


def test_members_of_an_archive_without_a_trailer_count_but_it_is_damaged() -> None:
    found = read(newc(TREE, trailer=False)[:-3])
    assert "init" in found.names and found.problem is not None


def test_anything_but_an_archive_is_not_judged() -> None:
    found = read(b"\x7fELF" + bytes(5000))
    assert (found.names, found.complete, found.problem) == (set(), False, None)


def test_an_endless_archive_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvboot.check.initrd.UNPACKED_LIMIT_BYTES", 1 << 16)
    found = read(gzip.compress(newc({"init": b"", "big": bytes(1 << 20)})))
    assert "init" in found.names and not found.complete and found.problem is None


def test_a_name_of_a_gigabyte_is_refused() -> None:
    fields = CPIO_NEWC_HEADER.parse(newc({"init": b""}))
    data = CPIO_NEWC_HEADER.build({**fields, "name_size": b"40000000"}) + b"init\0"
    assert "length of a name" in str(read(data).problem)


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [b"", b"070701", b"\x1f\x8b\x08\0", b"\xfd7zXZ\0", LZ4_MAGIC, b"\x28\xb5\x2f\xfd", b"BZh9", b"\x5d\0\0"]
    ),
)
def test_any_bytes_end_in_an_answer(data: bytes, head: bytes) -> None:
    read(head + data)


@given(st.data())
def test_flipped_bytes_end_in_an_answer(data: st.DataObject) -> None:
    whole = bytearray(gzip.compress(newc(TREE), mtime=0))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(whole))
