"""Every decompressor: what it gives, where it stops, and what it leaves."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import lz4.block
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from pvboot.unpack import ByteStream, CutError, StreamTooLongError, TooLargeError, UnpackError, codec_of, unpack
from pvboot.unpack.codecs import MAGICS, STEP_BYTES
from pvboot.unpack.lz4_legacy import MAGIC as LZ4_MAGIC
from pvboot.unpack.lzop import ADLER32_D, HEADER_CRC32
from pvboot.unpack.lzop import MAGIC as LZOP_MAGIC
from pvboot.unpack.structs import LZOP_FIELDS, LZOP_FIELDS_OLD, LZOP_VERSIONS

TEXT = random.Random(5).randbytes(1000) * 3000


def lz4_file(data: bytes) -> bytes:
    parts = [lz4.block.compress(data[at : at + 8_000_000], store_size=False) for at in range(0, len(data), 8_000_000)]
    return LZ4_MAGIC + b"".join(struct.pack("<I", len(part)) + part for part in parts)


def lzop_file(data: bytes, version: int = 0x1030, flags: int = ADLER32_D, name: bytes = b"ab") -> bytes:
    """A file of stored blocks, its header made by the declarations."""
    fields = {"level": 5, "flags": flags, "mode": 1, "mtime_low": 2, "mtime_high": 3, "name_bytes": len(name)}
    versions = {"version": version, "lib_version": 0x20A0, "version_needed_to_extract": 0x940, "method": 1}
    header = LZOP_VERSIONS.build(versions)
    header += (LZOP_FIELDS if version >= 0x940 else LZOP_FIELDS_OLD).build(fields) + name
    checksum = zlib.crc32(header) if flags & HEADER_CRC32 else zlib.adler32(header)
    file = LZOP_MAGIC + header + struct.pack(">I", checksum)
    for at in range(0, len(data), 256 << 10):
        block = data[at : at + (256 << 10)]
        sums = struct.pack(">I", zlib.adler32(block)) if flags & ADLER32_D else b""
        file += struct.pack(">II", len(block), len(block)) + sums + block
    return file + bytes(4)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=0),
    "zstd": zstd.compress,
    "lz4": lz4_file,
    "lzo": lzop_file,
}
PACKED = {codec: pack(TEXT) for codec, pack in PACKERS.items()}


def stream(data: bytes, piece: int = 70_001) -> ByteStream:
    return ByteStream(data[at : at + piece] for at in range(0, len(data), piece))


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("piece", [997, 70_001, 1 << 30])
def test_all_of_a_stream_and_nothing_behind_it(codec: str, piece: int) -> None:
    assert codec_of(PACKED[codec][:16]) == codec
    packed = stream(PACKED[codec] + bytes(5) + b"next", piece)
    pieces = list(unpack(codec, packed, len(TEXT)))
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= STEP_BYTES
    assert packed.position == len(PACKED[codec])
    assert packed.read(100) == bytes(5) + b"next"


@pytest.mark.parametrize("codec", PACKERS)
def test_a_stream_that_is_cut(codec: str) -> None:
    with pytest.raises(CutError) as caught:
        list(unpack(codec, stream(PACKED[codec][:-20]), len(TEXT)))
    assert 0 <= caught.value.at <= len(PACKED[codec])


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("limit", [0, 1000, len(TEXT) - 1])
def test_nothing_beyond_the_limit(codec: str, limit: int) -> None:
    got = 0
    with pytest.raises(UnpackError, match=f"at most {limit} bytes") as caught:
        for piece in unpack(codec, stream(PACKED[codec]), limit):
            got += len(piece)
    assert got <= limit
    assert codec == "lz4" or isinstance(caught.value, TooLargeError)  # an lz4 block does not say how long it will be


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "lzma", "zstd"])
def test_stopping_at_the_limit(codec: str) -> None:
    assert b"".join(unpack(codec, stream(PACKED[codec]), 2_000_001, stop=True)) == TEXT[:2_000_001]


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "zstd", "lzo"])
def test_damage_is_noticed(codec: str) -> None:
    data = bytearray(PACKED[codec])
    data[len(data) // 2] ^= 0x10
    with pytest.raises(UnpackError):
        list(unpack(codec, stream(bytes(data)), len(TEXT)))


@pytest.mark.parametrize("version", [0x0930, 0x1030])
@pytest.mark.parametrize("flags", [0, ADLER32_D, HEADER_CRC32])
def test_every_header_of_lzop(version: int, flags: int) -> None:
    assert b"".join(unpack("lzo", stream(lzop_file(b"text", version, flags)), 4)) == b"text"


@given(st.sampled_from([magic for magic, _ in MAGICS]), st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_end_in_bytes_or_one_error(magic: bytes, data: bytes, piece: int) -> None:
    codec = codec_of(magic)
    assert codec is not None
    try:
        assert sum(map(len, unpack(codec, stream(magic + data, piece), 5000))) <= 5000
    except UnpackError as err:
        assert "\n" not in str(err)


@given(st.lists(st.binary(max_size=20), max_size=8), st.data())
def test_a_byte_stream_is_its_bytes(pieces: list[bytes], data: st.DataObject) -> None:
    whole, packed, at = b"".join(pieces), ByteStream(pieces), 0
    for _ in range(data.draw(st.integers(0, 12))):
        size = data.draw(st.integers(0, 40))
        assert packed.peek(size) == whole[at : at + size]
        match data.draw(st.sampled_from(["read", "skip", "back", "piece"])):
            case "read":
                at += len(packed.read(size))
            case "skip":
                assert packed.skip(size) == (at + size <= len(whole))
                at = min(at + size, len(whole))
            case "piece":
                if b"" not in pieces:
                    at += len(packed.piece())
            case _:
                size = min(size, at)
                packed.give_back(whole[at - size : at])
                at -= size
        assert packed.position == at


def test_a_byte_stream_ends_at_its_limit() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(100)

    packed = ByteStream(endless(), 250)
    assert packed.read(250) == bytes(250)
    with pytest.raises(StreamTooLongError):
        packed.skip(1)
