"""ELF32/ELF64 files: header, program headers, section headers, bounds-checked reading.

Rules are those of Xen's libelf, which asks for less than the ELF specification does: only the magic and 52
bytes are required, e_type and the versions are not looked at, and any EI_CLASS but 2 means ELF32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from pvboot.errors import KernelError
from pvboot.kernel._formats import (
    ELF_HEADER,
    ELF_IDENT,
    PROGRAM_HEADER,
    SECTION_HEADER,
    ElfHeader,
    ProgramHeader,
    SectionHeader,
)

ELF_MAGIC = b"\x7fELF"
MINIMUM_BYTES = 52  # an Elf32_Ehdr, whatever the class (elf_is_elfbinary)
BYTE_ORDERS = {1: "little", 2: "big"}  # by EI_DATA
EM_386, EM_X86_64 = 3, 62
PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB, SHT_STRTAB, SHT_NOTE = 2, 3, 7
MAX_STRING_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ElfFile:
    """A parsed ELF file; `bits` follows EI_CLASS, `order` EI_DATA."""

    name: str
    data: memoryview
    bits: int
    order: Literal["little", "big"]
    header: ElfHeader

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return len(self.data)

    @property
    def section_count(self) -> int:
        """e_shnum, cut to what the file could hold (elf_shdr_count of libelf)."""
        return min(self.header.e_shnum, self.size // 40)

    def at(self, offset: int) -> str:
        """A place in the file, for messages."""
        return f"{self.name}, ELF{self.bits} byte {offset:#x}"

    def number(self, offset: int, size: int, what: str) -> int:
        """The unsigned number of `size` bytes at `offset`.  Raises KernelError as `contents`."""
        return int.from_bytes(self.contents(offset, size, what), self.order)

    def contents(self, offset: int, size: int, what: str) -> memoryview:
        """`size` bytes at `offset`.

        Raises KernelError if they are not all in the file.  (libelf leaves zeros in their place.)
        """
        if offset > self.size or size > self.size - offset:
            raise KernelError(
                f"{what} lies outside the file",
                where=self.at(offset),
                expected=f"at most {max(self.size - offset, 0)} bytes there (file of {self.size})",
                found=f"{size} bytes",
            )
        return self.data[offset : offset + size]

    def string(self, offset: int, what: str) -> bytes:
        """The NUL-terminated string at `offset`, without its NUL; at most 4096 bytes long."""
        window = bytes(self.data[offset : offset + MAX_STRING_BYTES + 1])
        end = window.find(b"\0")
        if end < 0:
            raise KernelError(
                f"{what} has no terminating NUL",
                where=self.at(offset),
                expected=f"a NUL within {MAX_STRING_BYTES} bytes and within the file of {self.size}",
                found=f"{len(window)} bytes without one",
            )
        return window[:end]


def is_elf(data: memoryview) -> bool:
    """Whether the ELF magic is there; the header may still be cut."""
    return data[:4] == ELF_MAGIC


def is_loadable(header: ProgramHeader) -> bool:
    """PT_LOAD with any of R, W, X; libelf skips the others."""
    return header.p_type == PT_LOAD and header.p_flags & 7 != 0


def parse_elf(data: memoryview, name: str) -> ElfFile:
    """Read and check the ELF header; both header tables must end inside the file, used or not.

    Raises KernelError.  Source: elf_init in xen/common/libelf/libelf-loader.c.
    """
    if not is_elf(data):
        found = f"{bytes(data[:8]).hex(' ') or 'nothing'} ({len(data)} bytes)"
        raise KernelError("not an ELF image", where=name, expected="7f 45 4c 46", found=found)
    if len(data) < MINIMUM_BYTES:
        expected = f"{MINIMUM_BYTES} bytes or more"
        raise KernelError("ELF header is cut", where=name, expected=expected, found=str(len(data)))
    _, elf_class, order_code = ELF_IDENT.unpack_from(data)
    bits = 64 if elf_class == 2 else 32
    if order_code not in BYTE_ORDERS:
        where = f"{name}, EI_DATA at byte 0x5"
        raise KernelError("unknown ELF byte order", where=where, expected="1 or 2", found=str(order_code))
    order = cast(Literal["little", "big"], BYTE_ORDERS[order_code])
    layout = ELF_HEADER[bits, order]
    if len(data) < layout.SIZE:
        expected, found = f"{layout.SIZE} bytes", f"{len(data)} bytes"
        raise KernelError(f"ELF{bits} header is cut", where=name, expected=expected, found=found)
    header = layout(data)
    elf = ElfFile(name, data, bits, order, header)
    _check_table(elf, "program header", header.e_phoff, header.e_phentsize, header.e_phnum)
    _check_table(elf, "section header", header.e_shoff, header.e_shentsize, elf.section_count)
    return elf


def _check_table(elf: ElfFile, what: str, offset: int, entry_bytes: int, count: int) -> None:
    if offset + entry_bytes * count > elf.size:
        _, elf_class, order_code = ELF_IDENT.unpack_from(elf.data)
        big = ", big-endian" if elf.order == "big" else ""
        raise KernelError(
            f"{what} table ends outside the file",
            where=f"{elf.name}, ELF{elf.bits}{big} (EI_CLASS {elf_class}, EI_DATA {order_code})",
            expected=f"its end at or below {elf.size:#x}",
            found=f"{count} entries of {entry_bytes} bytes at {offset:#x}",
        )


def segments(elf: ElfFile) -> Iterator[ProgramHeader]:
    """All program headers in file order.  Raises KernelError if e_phentsize is too small."""
    header, layout = elf.header, PROGRAM_HEADER[elf.bits, elf.order]
    _check_entry_size(elf, "e_phentsize", header.e_phentsize, layout.SIZE, header.e_phnum)
    for index in range(header.e_phnum):
        yield layout(elf.data, header.e_phoff + index * header.e_phentsize)


def sections(elf: ElfFile) -> Iterator[SectionHeader]:
    """Section headers in file order, without the null section 0.  Raises KernelError as `segments`."""
    header, layout = elf.header, SECTION_HEADER[elf.bits, elf.order]
    _check_entry_size(elf, "e_shentsize", header.e_shentsize, layout.SIZE, header.e_shnum)
    for index in range(1, elf.section_count):
        yield section(elf, index)


def section(elf: ElfFile, index: int) -> SectionHeader:
    """Section header `index`, which must be below the count."""
    return SECTION_HEADER[elf.bits, elf.order](elf.data, elf.header.e_shoff + index * elf.header.e_shentsize)


def section_named(elf: ElfFile, name: bytes) -> SectionHeader | None:
    """The first section with this name, or None (also if there is no table of names)."""
    if not 0 < elf.header.e_shstrndx < elf.section_count:
        return None
    names = section(elf, elf.header.e_shstrndx).sh_offset
    wanted = name + b"\0"
    for each in sections(elf):
        start = names + each.sh_name
        if elf.data[start : start + len(wanted)] == wanted:
            return each
    return None


def _check_entry_size(elf: ElfFile, field: str, found: int, wanted: int, count: int) -> None:
    if count and found < wanted:
        what = f"{field} is smaller than an ELF{elf.bits} entry"
        raise KernelError(what, where=elf.at(0), expected=f"{wanted} or more", found=str(found))
