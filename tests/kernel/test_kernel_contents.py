"""The kernel segment's bytes are those that Xen's builder leaves in memory."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvboot.errors import KernelError
from pvboot.kernel import structs
from pvboot.kernel.binary import MAGIC
from pvboot.kernel.loader import parse_kernel
from tests.kernel.conftest import AskXen, differences, kernel_memory
from tests.oracle.images import TinyKernel, bzimage

ORACLE_SETTINGS = settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def kernel_segment(result: dict[str, Any]) -> dict[str, Any]:
    """The oracle's line about the kernel segment."""
    segment: dict[str, Any] = next(each for each in result["segments"] if each["name"] == "kernel")
    return segment


def xen_memory(result: dict[str, Any], dump: Path) -> bytes:
    """The kernel segment's pages as Xen's builder filled them."""
    assert result["status"] == "ok", result["errors"]
    segment = kernel_segment(result)
    with open(dump, "rb") as file:
        file.seek(int(segment["pfn"], 16) * 4096)
        return file.read(segment["pages"] * 4096)


def check_memory(kernel: bytes, ask_xen: AskXen, dump: Path) -> None:
    result = ask_xen(kernel, "--dump", dump)
    image = parse_kernel(kernel, name="kernel")
    assert differences(image, result) == {}
    assert kernel_memory(image) == xen_memory(result, dump)


overlapping = st.lists(
    st.builds(
        lambda offset, paddr, filesz, more: (1, 7, offset, 0, paddr, filesz, filesz + more, 0x1000),
        st.integers(0, 0x2000),
        st.integers(0xFF000, 0x108000),
        st.integers(0, 0x1000),
        st.sampled_from([0, 1, 0x2000]),
    ),
    max_size=2,  # with more, the sum of sizes may pass what Xen copies
)


@ORACLE_SETTINGS
@given(phdrs=overlapping, bits=st.sampled_from([64, 32]))
def test_overlapping_segments_are_applied_in_file_order(
    phdrs: list[tuple[int, ...]], bits: int, ask_xen: AskXen, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # One segment that pins the start down to a page.
    first = (1, 7, 0, 0, 0xFF000, 0, 0, 0x1000)
    kernel = TinyKernel(bits, extra_phdrs=[first, *phdrs]).build()  # type: ignore[list-item]
    check_memory(kernel, ask_xen, tmp_path_factory.getbasetemp() / "memory")


def test_segments_that_xen_would_stop_copying_are_refused(ask_xen: AskXen, tmp_path: Path) -> None:
    again = (1, 7, 0, 0, 0x100000, 0x1000, 0x6000, 0x1000)
    last = (1, 7, 0x1000, 0, 0x104000, 0x1000, 0x1000, 0x1000)
    kernel = TinyKernel(extra_phdrs=[again, last]).build()
    with pytest.raises(KernelError, match=r"the segments overlap too much.*0xc000 bytes in all, found 0xd000"):
        parse_kernel(kernel, name="kernel")
    memory = xen_memory(ask_xen(kernel, "--dump", tmp_path / "memory"), tmp_path / "memory")
    assert memory[0x4000:0x5000] == bytes(0x1000), "Xen copies the last segment after all"


@ORACLE_SETTINGS
@given(
    bits=st.sampled_from([64, 32]),
    memsz=st.integers(0x3000, 0x3F00),
    symbols=st.binary(max_size=120),
    strings=st.binary(max_size=60),
)
def test_bsd_symbol_table_lies_as_xen_puts_it(
    bits: int, memsz: int, symbols: bytes, strings: bytes, ask_xen: AskXen, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tiny = TinyKernel(bits, memsz=memsz, notes={"BSD_SYMTAB": "yes"}, symbols=symbols, strings=strings)
    kernel = tiny.build()
    image = parse_kernel(kernel, name="bsd")
    used = max(piece.offset + piece.size for piece in image.pieces)
    if bits == 32 and image.virt_kend - image.virt_kstart == used:
        return  # Xen leaves the strings out: see the next test
    check_memory(kernel, ask_xen, tmp_path_factory.getbasetemp() / "memory")


def test_bsd_symbol_table_that_xen_reserves_too_little_for_is_kept_whole(ask_xen: AskXen, tmp_path: Path) -> None:
    symbols, strings = b"S" * 32, b"\0first\0second\0"
    tiny = TinyKernel(32, memsz=0x4000 - 0x108, notes={"BSD_SYMTAB": "yes"}, symbols=symbols, strings=strings)
    kernel = tiny.build()
    result = ask_xen(kernel, "--dump", tmp_path / "memory")
    theirs = xen_memory(result, tmp_path / "memory")
    image = parse_kernel(kernel, name="bsd")
    ours = kernel_memory(image)
    assert strings not in theirs, "Xen reserves enough after all"
    assert len(ours) > len(theirs)
    start = tiny.memsz
    table = structs.bsd_symtab(32).parse(ours[start:])
    place = start + 4 + table.sections[2].sh_offset
    assert ours[place : place + len(strings)] == strings
    assert start + 4 + table.size == place + len(strings) == image.virt_kend - image.virt_kstart


@pytest.mark.parametrize("bits", [64, 32])
def test_bsd_symbol_table_reads_as_an_elf_file(bits: int) -> None:
    symbols, strings = bytes(range(48)), b"\0name\0"
    tiny = TinyKernel(bits, notes={"BSD_SYMTAB": "yes"}, symbols=symbols, strings=strings)
    memory = kernel_memory(parse_kernel(tiny.build(), name="bsd"))[tiny.memsz :]
    table = structs.bsd_symtab(bits).parse(memory)
    assert (table.ehdr.e_shoff, table.ehdr.e_shnum, table.ehdr.e_phnum) == (64, 3, 0)
    pseudo_file = memory[4 : 4 + table.size]
    for section, content in zip(table.sections[1:], (symbols, strings), strict=True):
        assert pseudo_file[section.sh_offset : section.sh_offset + section.sh_size] == content


def test_symbol_table_outside_the_file_is_refused() -> None:
    kernel = bytearray(TinyKernel(notes={"BSD_SYMTAB": "yes"}, symbols=bytes(48)).build())
    (shoff,) = struct.unpack_from("<Q", kernel, 40)
    struct.pack_into("<Q", kernel, shoff + 64 + 32, 1 << 40)  # sh_size of section 1
    with pytest.raises(KernelError, match="the symbol table lies outside the file"):
        parse_kernel(bytes(kernel), name="bsd")


def binary_kernel(
    *,
    at: int = 0x40,
    flags: int = 0x14000,
    load: int = 0xC0100000,
    skip: int = 0,
    load_end: int = 0,
    bss_end: int = 0xC0105000,
    entry: int = 0xC0100000,
    size: int = 0x2000,
    checksum_off_by: int = 0,
) -> bytes:
    """A kernel with a xen_bin_image_table at byte `at`; the file's byte `skip` is loaded first."""
    header = load - skip + at
    checksum = -(MAGIC + flags) + checksum_off_by
    table = struct.pack(
        "<8I", *(v & 0xFFFFFFFF for v in (MAGIC, flags, checksum, header, load, load_end, bss_end, entry))
    )
    filling = b"".join(struct.pack("<I", 0xAB000000 | at) for at in range(0, size, 4))
    return filling[:at] + table + filling[at + len(table) :]


@ORACLE_SETTINGS
@given(
    at=st.integers(0, 0x7E0).map(lambda word: word * 4),
    flags=st.sampled_from([0x10000, 0x14000, 0x14001, 0x18000, 0x1C000, 0x10002]),
    skip=st.sampled_from([0, 0, 0x40, 0x1000]),
    load_end=st.sampled_from([0, 0xC0101000, 0xC0102000, 0xC0102001]),
    bss_end=st.sampled_from([0, 0xC0101000, 0xC0105000]),
    size=st.sampled_from([0x2000, 0x2020, 0x2024, 0x3000]),
)
def test_multiboot_binary(
    at: int,
    flags: int,
    skip: int,
    load_end: int,
    bss_end: int,
    size: int,
    ask_xen: AskXen,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    kernel = binary_kernel(at=at, flags=flags, skip=skip, load_end=load_end, bss_end=bss_end, size=size)
    dump = tmp_path_factory.getbasetemp() / "memory"
    result = ask_xen(kernel, "--dump", dump)
    try:
        image = parse_kernel(kernel, name="binary")
    except KernelError as err:
        if result["status"] == "ok":  # Xen takes it, but puts it where it does not belong
            assert err.what == "VIRT_BASE is not page aligned"
            assert int(kernel_segment(result)["vstart"], 16) != 0xC0100000
        return
    assert result["status"] == "ok", result["errors"]
    assert result["domain"]["guest_type"] == image.guest_type
    segment = kernel_segment(result)
    assert (int(segment["vstart"], 16), int(segment["vend"], 16)) == (image.virt_kstart, image.virt_kend)
    assert differences(image, result) == {}
    assert kernel_memory(image) == xen_memory(result, dump)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"flags": 0x10002}, "flags"),
        ({"skip": 0x80}, "header_addr"),
        ({"load_end": 0xC0103000}, "load_end_addr"),
        ({"load_end": 0xC0102000, "bss_end": 0xC0101000}, "bss_end_addr"),
        ({"entry": 0xC0200000}, "entry_addr"),
    ],
)
def test_damaged_multiboot_binary_names_the_field(change: dict[str, int], field: str) -> None:
    with pytest.raises(KernelError) as caught:
        parse_kernel(binary_kernel(**change), name="binary")
    assert field in caught.value.where


def test_multiboot_binary_with_a_wrong_checksum_is_not_recognised() -> None:
    with pytest.raises(KernelError, match="no kernel format that is known"):
        parse_kernel(binary_kernel(checksum_off_by=1), name="binary")


def test_uncompressed_payload_is_taken(ask_xen: AskXen, tmp_path: Path) -> None:
    check_memory(bzimage(TinyKernel().build()), ask_xen, tmp_path / "memory")


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
