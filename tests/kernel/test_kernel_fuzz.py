"""Random kernels: pvboot and Xen's own parser agree on what is a kernel and what it says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvboot.errors import KernelError
from pvboot.kernel import elf
from pvboot.kernel._formats import ELF_HEADER, PROGRAM_HEADER, SECTION_HEADER
from pvboot.kernel.loader import parse_kernel
from tests.kernel.conftest import AskXen, differences, refused_by_parser
from tests.oracle.images import NOTE_NUMBERS, NoteValue, TinyKernel, bzimage, compress, note

ORACLE_SETTINGS = settings(
    deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
PARSER_SETTINGS = settings(deadline=None, max_examples=600)

Notes = dict[str | int, NoteValue]
U64 = (1 << 64) - 1
TOP = 0xFFFFFFFF80000000
addresses = st.sampled_from(
    [
        0,
        1,
        0x1000,
        0x100000,
        0x101000,
        0x106000,
        0x106001,
        TOP,
        TOP + 0x100000,
        TOP + 0x102000,
        TOP + 0x106000,
        0xC0000000,
        0xC0100000,
        0xC0102345,
        0x8000000000,
        0xFFFF800000000000,
        U64,
    ]
)
numbers = addresses | st.binary(max_size=9)
words = st.text("xen-3.0linuxgenericyesno", max_size=20)
features = st.lists(
    st.sampled_from(
        [
            "writable_page_tables",
            "!writable_page_tables",
            "pae_pgdir_above_4gb",
            "dom0",
            "!dom0",
            "x",
            "",
            "!hvm_callback_vector",
            "auto_translated_physmap",
            "supervisor_mode_kernel",
            "y" * 63,
            "z" * 70,
            "writable_descriptor_tables",
            "w" * 63 + "dom0",
            "!unknown",
        ]
    ),
    max_size=5,
).map("|".join)
pae_modes = st.sampled_from(["yes", "no", "bimodal", "yes,bimodal", "yes[extended-cr3]", "", "YES"]) | words
usual: st.SearchStrategy[Notes] = st.fixed_dictionaries(
    {},
    optional={
        "ENTRY": st.none() | numbers,
        "VIRT_BASE": st.none() | numbers,
        "PADDR_OFFSET": st.none() | numbers,
        "HYPERCALL_PAGE": st.none() | numbers,
        "INIT_P2M": numbers,
        "MOD_START_PFN": numbers,
        "HV_START_LOW": numbers,
        "PHYS32_ENTRY": numbers,
        "SUSPEND_CANCEL": numbers,
        "L1_MFN_VALID": st.binary(max_size=16),
        "SUPPORTED_FEATURES": st.binary(max_size=9),
        "XEN_VERSION": st.sampled_from([None, "xen-3.0", "xen-3.0-x86", "xen-3.1", "xen-3"]) | words,
        "GUEST_OS": st.sampled_from([None, "linux", "linux-2.6", "Linux", "x" * 40]) | words,
        "GUEST_VERSION": words,
        "LOADER": st.sampled_from([None, "generic", "generic2", "gener", "pvgrub"]) | words,
        "PAE_MODE": st.none() | pae_modes,
        "FEATURES": st.none() | features,
        "BSD_SYMTAB": st.sampled_from(["yes", "no", "yes "]),
    },
)
harmless: st.SearchStrategy[Notes] = st.fixed_dictionaries(
    {},
    optional={
        "INIT_P2M": st.integers(0, 1 << 20).map(lambda page: page << 12),
        "MOD_START_PFN": st.sampled_from([0, 1, b"", b"\1"]),
        "GUEST_VERSION": words,
        "FEATURES": features,
        "PAE_MODE": pae_modes,
        "SUPPORTED_FEATURES": st.binary(max_size=8),
        "BSD_SYMTAB": st.sampled_from(["yes", "no"]),
    },
)
other_notes = st.lists(
    st.builds(note, st.sampled_from(["GNU", "Linux", "", "XenX", "Xe"]), st.integers(0, 30), st.binary(max_size=20)),
    max_size=3,
).map(b"".join)
earlier_notes = st.lists(
    st.builds(
        lambda kind, value: note("Xen", NOTE_NUMBERS[kind], struct.pack("<Q", value)),
        st.sampled_from(["ENTRY", "VIRT_BASE", "INIT_P2M", "PHYS32_ENTRY"]),
        addresses,
    ),
    max_size=2,
).map(b"".join)


@st.composite
def tiny_kernels(draw: st.DrawFn) -> TinyKernel:
    bits = draw(st.sampled_from([64, 64, 32]))
    memsz = draw(st.integers(0x3000, 0x40000))
    loads = draw(
        st.lists(
            st.tuples(
                st.sampled_from([1, 1, 0, 2, 6]),
                st.sampled_from([0, 1, 4, 7]),
                st.just(0x1000),
                st.just(0),
                st.integers(0, 0x300).map(lambda page: page << 12),
                st.integers(0, 0x1000),
                st.integers(0x1000, 0x5000),
                st.just(0x1000),
            ),
            max_size=2,
        )
    )
    return TinyKernel(
        bits,
        base=draw(st.sampled_from([None, None, 0, 0xFFFF880000000000, 0x40000000])) if bits == 64 else None,
        memsz=memsz,
        notes=draw(harmless | usual),
        machine=draw(st.sampled_from([None, None, None, 3, 62, 40])),
        note_phdr=draw(st.sampled_from([True, True, False])),
        note_section=draw(st.booleans()),
        extra_phdrs=loads,
        symbols=draw(st.none() | st.binary(max_size=100)),
        strings=draw(st.binary(max_size=50)),
        raw_notes=draw(other_notes) + draw(earlier_notes),
    )


def check_against_xen(kernel: bytes, ask_xen: AskXen) -> None:
    result = ask_xen(kernel)
    try:
        image = parse_kernel(kernel, name="random")
    except KernelError:
        # Unaligned addresses and the like stop Xen's builder a step later.
        assert result["status"] == "error", "Xen builds a domain from this kernel"
    else:
        assert not refused_by_parser(result), result["errors"]
        assert differences(image, result) == {}


@ORACLE_SETTINGS
@given(tiny=tiny_kernels())
def test_random_notes_and_program_headers(tiny: TinyKernel, ask_xen: AskXen) -> None:
    check_against_xen(tiny.build(), ask_xen)


def big_endian(kernel: bytes) -> bytes:
    """A 64-bit TinyKernel's file with headers and notes in the other byte order."""
    swapped = bytearray(kernel)
    header = ELF_HEADER[64, "little"](kernel)
    swapped[16:64] = ELF_HEADER[64, "big"].LAYOUT.pack(*vars(header).values())[16:]
    swapped[5] = 2
    for at in range(header.e_phoff, header.e_phoff + header.e_phnum * 56, 56):
        segment = PROGRAM_HEADER[64, "little"](kernel, at)
        swapped[at : at + 56] = PROGRAM_HEADER[64, "big"].LAYOUT.pack(*vars(segment).values())
        at = segment.p_offset
        end = at + segment.p_filesz if segment.p_type == elf.PT_NOTE else at
        while at < end:
            namesz, descsz, kind = struct.unpack_from("<III", kernel, at)
            struct.pack_into(">III", swapped, at, namesz, descsz, kind)
            desc = at + 12 + (namesz + 3 & ~3)
            if kind not in TEXT_NOTES:
                swapped[desc : desc + descsz] = swapped[desc : desc + descsz][::-1]
            at = desc + (descsz + 3 & ~3)
    return bytes(swapped)


TEXTS = ("XEN_VERSION", "GUEST_OS", "GUEST_VERSION", "LOADER", "PAE_MODE", "FEATURES")
TEXT_NOTES = {NOTE_NUMBERS[name] for name in TEXTS}


def test_big_endian_headers_are_swapped_as_in_xen(ask_xen: AskXen) -> None:
    kernel = big_endian(TinyKernel().build())
    assert ask_xen(kernel)["status"] == "ok"
    check_against_xen(kernel, ask_xen)


@pytest.mark.parametrize("bits", [64, 32])
def test_section_table_is_cut_to_what_the_file_could_hold(bits: int, ask_xen: AskXen) -> None:
    kernel = bytearray(TinyKernel(bits, note_phdr=False, note_section=True).build())
    header = ELF_HEADER[bits, "little"](kernel)
    kernel[: header.SIZE] = header.pack(e_shoff=0, e_shentsize=SECTION_HEADER[bits, "little"].SIZE, e_shnum=0xFFFF)
    check_against_xen(bytes(kernel), ask_xen)


guest_items = st.lists(
    st.sampled_from(
        [
            "LOADER=generic",
            "GUEST_OS=linux",
            "GUEST_OS=" + "n" * 30,
            "XEN_VER=xen-3.0",
            "XEN_VER=xen-3.0-x86_32p",
            "VIRT_BASE=0xffffffff80000000",
            "VIRT_BASE=0",
            "VIRT_BASE=-2147483648",
            "VIRT_BASE=037777777777",
            "VIRT_ENTRY=0xffffffff80100000",
            "VIRT_ENTRY= 18446744071563116544x",
            "ELF_PADDR_OFFSET=0x0",
            "ELF_PADDR_OFFSET=",
            "ELF_PADDR_OFFSET=0xg",
            "HYPERCALL_PAGE=0x101",
            "HYPERCALL_PAGE=0xffffffffffffff",
            "PAE=yes",
            "PAE=yes[extended-cr3]",
            "PAE=yesterday",
            "PAE=no",
            "PAE",
            "BSD_SYMTAB",
            "BSD_SYMTAB=yes",
            "FEATURES=!writable_page_tables|pae_pgdir_above_4gb",
            "FEATURES=!unknown",
            "FEATURES=auto_translated_physmap",
            "GUEST_VER=" + "v" * 130,
            "K" * 31 + "=value",
            "K" * 40,
            "GUEST_VER=a=b",
            "",
            "=",
            "=x",
            "UNKNOWN=1",
            "VIRT_BASE=99999999999999999999999",
            "GUEST_VER=" + "w" * 127,
        ]
    ),
    max_size=12,
)
COMPLETE = ["LOADER=generic", "XEN_VER=xen-3.0", "VIRT_BASE=0xffffffff80000000", "ELF_PADDR_OFFSET=0x0"]


@ORACLE_SETTINGS
@given(before=st.just([]) | st.just(COMPLETE), items=guest_items, bits=st.sampled_from([64, 32]))
def test_random_xen_guest_sections(before: list[str], items: list[str], bits: int, ask_xen: AskXen) -> None:
    check_against_xen(TinyKernel(bits, guest=",".join(before + items)).build(), ask_xen)


@PARSER_SETTINGS
@given(st.data())
def test_flipped_bytes_give_a_kernel_or_a_kernel_error(data: st.DataObject) -> None:
    kernel = bytearray(
        TinyKernel(
            data.draw(st.sampled_from([64, 32])),
            notes={"BSD_SYMTAB": "yes"},
            note_section=True,
            symbols=bytes(48),
            strings=b"\0name\0",
        ).build()
    )
    # Headers, notes, and the section table at the end.
    places = st.integers(0, 0xBFF) | st.integers(len(kernel) - 0x1C0, len(kernel) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=6)):
        kernel[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    try:
        parse_kernel(bytes(kernel), name="flipped")
    except KernelError as err:
        assert err.what


@pytest.fixture(scope="module")
def packed_tiny(oracle: Path) -> Callable[[str], bytes]:
    """A bzImage around a tiny kernel, packed with the named codec; "gzip file" is a gzip'd ELF file."""
    tiny = TinyKernel().build()
    made = {"gzip file": compress(tiny, "gzip", oracle)}

    def get(codec: str) -> bytes:
        if codec not in made:
            made[codec] = bzimage(compress(tiny, codec, oracle))
        return made[codec]

    return get


@pytest.mark.parametrize("codec", ["gzip file", "gzip", "bzip2", "lzma", "xz", "zstd", "lzo", "lz4"])
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_payload_gives_a_kernel_or_a_kernel_error(
    codec: str, data: st.DataObject, packed_tiny: Callable[[str], bytes]
) -> None:
    image = bytearray(packed_tiny(codec))
    start = 0 if codec == "gzip file" else 0x440
    for place in data.draw(st.lists(st.integers(start, len(image) - 1), min_size=1, max_size=4)):
        image[place] = data.draw(st.integers(0, 255))
    del image[data.draw(st.sampled_from([len(image)] * 3) | st.integers(start, len(image))) :]
    if len(image) > 0x440 and codec != "gzip file":
        struct.pack_into("<I", image, 0x24C, len(image) - 0x440)
    try:
        parse_kernel(bytes(image), name="damaged", max_size=1 << 20)
    except KernelError as err:
        assert err.what


@PARSER_SETTINGS
@given(st.binary(max_size=3000), st.sampled_from([b"", b"\x7fELF\2\1", b"\x7fELF\1\1", b"\x1f\x8b\x08\0"]))
def test_any_bytes_give_a_kernel_error(junk: bytes, head: bytes) -> None:
    with pytest.raises(KernelError):
        parse_kernel(head + junk, name="junk")


def test_hostile_tables_of_full_size_are_read_once() -> None:
    kernel = bytearray(TinyKernel().build())
    empty = struct.pack("<IIQQQQQQ", 1, 7, 0x1000, 0, 0x100000, 0, 0, 0x1000)
    phdrs = bytes(kernel[64 : 64 + 2 * 56]) + empty * 65533
    struct.pack_into("<Q", kernel, 32, len(kernel))
    struct.pack_into("<H", kernel, 56, 65535)
    assert len(parse_kernel(bytes(kernel) + phdrs, name="many").pieces) == 1


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [("GNU", 65537, "too many ELF notes.*at most 65536"), ("Xen", 1025, "too many Xen notes.*at most 1024")],
)
def test_number_of_notes_is_bounded(name: str, count: int, message: str) -> None:
    kernel = bytearray(TinyKernel().build())
    notes = note(name, NOTE_NUMBERS["FEATURES"], b"x|" * 100 + b"\0") * count
    struct.pack_into("<Q", kernel, 64 + 56 + 8, len(kernel))
    struct.pack_into("<Q", kernel, 64 + 56 + 32, len(notes))
    with pytest.raises(KernelError, match=message):
        parse_kernel(bytes(kernel) + notes, name="many")
