"""The run-time formats say what structs.py declares."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from pvboot.kernel import containers, lz4_legacy, lzop, structs
from pvboot.kernel.codecs import Packed
from tests.oracle.images import TinyKernel


def test_bzimage_offsets_are_the_declared_ones() -> None:
    values = {
        "header": b"HdrS",
        "kernel_version": 0,
        "setup_sects": 0xA1,
        "version": 0xB1B2,
        "payload_offset": 0xC1C2C3C4,
        "payload_length": 0xD1D2D3D4,
    }
    raw = structs.BZIMAGE_HEADER.build(values)
    assert len(raw) == containers.HEADER_BYTES
    assert raw[containers.SETUP_SECTS] == 0xA1
    assert raw[containers.BOOT_MAGIC : containers.BOOT_MAGIC + 4] == b"HdrS"
    assert struct.unpack_from("<H", raw, containers.VERSION) == (0xB1B2,)
    assert struct.unpack_from("<I", raw, containers.PAYLOAD_OFFSET) == (0xC1C2C3C4,)
    assert struct.unpack_from("<I", raw, containers.PAYLOAD_LENGTH) == (0xD1D2D3D4,)


@pytest.mark.parametrize("version", [0x0930, 0x1030])
def test_lzop_header_is_read_as_declared(version: int) -> None:
    fields = {
        "version": version,
        "lib_version": 0x20A0,
        "version_needed_to_extract": 0x940,
        "method": 1,
        "level": 5,
        "flags": lzop.ADLER32_D,
        "mode": 1,
        "mtime_low": 2,
        "mtime_high": 3,
        "name_length": 2,
        "name": b"ab",
    }
    raw = structs.LZOP_HEADER.build({**fields, "header_checksum": 0})
    checksum = zlib.adler32(raw[len(lzop.LZOP_MAGIC) : -4])
    raw = structs.LZOP_HEADER.build({**fields, "header_checksum": checksum})
    packed = Packed("k", "lzo", memoryview(raw + bytes(8)), 0, 1 << 20)
    reader = lzop._Reader(packed, packed.data[:-4])
    assert lzop._read_header(reader) == lzop.ADLER32_D
    assert reader.position == len(raw)


def test_lzop_block_is_read_as_declared() -> None:
    text = b"stored as it is"
    fields = {
        "version": 0x1030,
        "lib_version": 0x20A0,
        "version_needed_to_extract": 0x940,
        "method": 1,
        "level": 5,
        "flags": lzop.ADLER32_D,
        "mode": 0,
        "mtime_low": 0,
        "mtime_high": 0,
        "name_length": 0,
        "name": b"",
    }
    header = structs.LZOP_HEADER.build({**fields, "header_checksum": 0})[len(lzop.LZOP_MAGIC) : -4]
    sums = {"unpacked_length": len(text), "packed_length": len(text), "unpacked_adler32": zlib.adler32(text)}
    block = structs.LZOP_BLOCK_HEADER.build(sums) + text
    file = lzop.LZOP_MAGIC + header + struct.pack(">I", zlib.adler32(header)) + block + bytes(4)
    payload = memoryview(file + struct.pack("<I", len(text)))
    assert lzop.unlzop(Packed("k", "lzo", payload, 0, 1 << 20)) == text


def test_lz4_block_is_read_as_declared() -> None:
    text = b"stored as is"
    raw = bytes([len(text) << 4]) + text  # one sequence: a token, up to 14 literals, no match
    block = structs.LZ4_LEGACY_BLOCK.build({"packed_length": len(raw), "data": raw})
    payload = memoryview(structs.LZ4_LEGACY_HEADER.build({}) + block + struct.pack("<I", len(text)))
    assert lz4_legacy.unlz4_legacy(Packed("k", "lz4", payload, 0, 1 << 20)) == text


def test_parsing_a_kernel_imports_neither_construct_nor_a_codec_it_does_not_need(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(TinyKernel().build())
    code = (
        "import sys\n"
        "from pvboot.kernel.loader import parse_kernel\n"
        "from pvboot.kernel.report import parms_json\n"
        "parms_json(parse_kernel(open(sys.argv[1], 'rb').read()))\n"
        "heavy = {'construct', 'lzma', 'bz2', 'lz4', 'lzallright', 'backports.zstd', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.check_output([sys.executable, "-c", code, str(kernel)], text=True)
    assert output == "[]\n"
