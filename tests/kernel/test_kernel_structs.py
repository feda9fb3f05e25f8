"""The run-time formats say what structs.py declares."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
from construct import Struct

from pvboot.kernel import binary, containers, elf, notes, structs
from pvboot.kernel.elf import parse_elf
from tests.oracle.images import TinyKernel


@pytest.mark.parametrize(
    ("fmt", "declared"),
    [
        ("<" + elf.EHDR_FORMAT[64], structs.ELF64_EHDR),
        ("<" + elf.EHDR_FORMAT[32], structs.ELF32_EHDR),
        ("<" + elf.PHDR_FORMAT[64], structs.ELF64_PHDR),
        ("<" + elf.PHDR_FORMAT[32], structs.ELF32_PHDR),
        ("<" + elf.SHDR_FORMAT[64], structs.ELF64_SHDR),
        ("<" + elf.SHDR_FORMAT[32], structs.ELF32_SHDR),
        ("<" + notes.NOTE_FORMAT, structs.ELF_NOTE),
    ],
)
def test_format_reads_the_declared_fields(fmt: str, declared: Struct) -> None:
    raw = bytes(range(1, declared.sizeof() + 1))
    parsed = declared.parse(raw)
    assert struct.calcsize(fmt) == declared.sizeof()
    assert struct.unpack(fmt, raw) == tuple(parsed[each.name] for each in declared.subcons)


def test_elf_header_fields_have_the_declared_order() -> None:
    raw = TinyKernel().build()
    declared = structs.ELF64_EHDR.parse(raw)
    header = parse_elf(memoryview(raw), "tiny").header
    assert astuple(header) == tuple(declared[f"e_{name}"] for name in header.__dataclass_fields__)


@pytest.mark.parametrize("bits", [64, 32])
def test_program_and_section_headers_have_the_declared_order(bits: int) -> None:
    raw = TinyKernel(bits, guest="X=1").build()
    file = parse_elf(memoryview(raw), "tiny")
    phdr = (structs.ELF64_PHDR if bits == 64 else structs.ELF32_PHDR).parse(raw[file.header.phoff :])
    segment = next(elf.segments(file))
    assert all(getattr(segment, name) == phdr[f"p_{name}"] for name in list(segment.__dataclass_fields__)[1:])
    section = next(elf.sections(file))
    shdr = (structs.ELF64_SHDR if bits == 64 else structs.ELF32_SHDR).parse(raw[section.header_offset :])
    assert all(getattr(section, name) == shdr[f"sh_{name}"] for name in list(section.__dataclass_fields__)[2:])


def test_bzimage_offsets_are_the_declared_ones() -> None:
    values = {"setup_sects": 0xA1, "version": 0xB1B2, "payload_offset": 0xC1C2C3C4, "payload_length": 0xD1D2D3D4}
    raw = structs.BZIMAGE_HEADER.build(values)
    assert len(raw) == containers.HEADER_BYTES
    assert raw[containers.SETUP_SECTS] == 0xA1
    assert raw[containers.BOOT_MAGIC : containers.BOOT_MAGIC + 4] == b"HdrS"
    assert struct.unpack_from("<H", raw, containers.VERSION) == (0xB1B2,)
    assert struct.unpack_from("<I", raw, containers.PAYLOAD_OFFSET) == (0xC1C2C3C4,)
    assert struct.unpack_from("<I", raw, containers.PAYLOAD_LENGTH) == (0xD1D2D3D4,)


def test_bin_image_table_is_read_as_declared() -> None:
    names = ("flags", "checksum", "header_addr", "load_addr", "load_end_addr", "bss_end_addr", "entry_addr")
    values = dict(zip(names, (0x10000, -(binary.MAGIC + 0x10000) & 0xFFFFFFFF, 3, 4, 5, 6, 7), strict=True))
    raw = structs.XEN_BIN_IMAGE_TABLE.build(values)
    assert len(raw) == binary.TABLE_BYTES == struct.calcsize(binary.TABLE_FORMAT)
    table = binary.find_table(memoryview(bytes(16) + raw + bytes(64)))
    assert table is not None
    assert table.offset == 16
    assert {name: getattr(table, name) for name in names} == values


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
