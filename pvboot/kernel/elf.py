"""ELF32/ELF64 files: header, program headers, section headers, bounds-checked reading.

Rules are those of Xen's libelf, which asks for less than the ELF specification does: only the magic and 52
bytes are required, e_type and the versions are not looked at, and any EI_CLASS but 2 means ELF32.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pvboot.errors import KernelError

ELF_MAGIC = b"\x7fELF"
MINIMUM_BYTES = 52  # an Elf32_Ehdr, whatever the class (elf_is_elfbinary)
EM_386, EM_X86_64 = 3, 62
PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB, SHT_STRTAB, SHT_NOTE = 2, 3, 7
MAX_STRING_BYTES = 4096

# Field order of each record is that of structs.py (tests hold the two together).
EHDR_FORMAT = {64: "16sHHIQQQIHHHHHH", 32: "16sHHIIIIIHHHHHH"}
PHDR_FORMAT = {64: "IIQQQQQQ", 32: "IIIIIIII"}
SHDR_FORMAT = {64: "IIQQQQIIQQ", 32: "IIIIIIIIII"}


@dataclass(frozen=True, slots=True)
class ElfHeader:
    """Elf32_Ehdr / Elf64_Ehdr."""

    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header.  `index` is its place in the table."""

    index: int
    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int

    @property
    def is_loadable(self) -> bool:
        """PT_LOAD with any of R, W, X; libelf skips the others."""
        return self.type == PT_LOAD and self.flags & 7 != 0


@dataclass(frozen=True, slots=True)
class Section:
    """A section header.  `index` is its place in the table, `header_offset` where it lies in the file."""

    index: int
    header_offset: int
    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int


@dataclass(frozen=True, slots=True)
class ElfFile:
    """A parsed ELF file; `bits` follows EI_CLASS, `order` is the struct prefix that EI_DATA asks for."""

    name: str
    data: memoryview
    bits: int
    order: str
    header: ElfHeader

    @property
    def size(self) -> int:
        return len(self.data)

    def at(self, offset: int) -> str:
        """A place in the file, for messages."""
        return f"{self.name}, ELF{self.bits} byte {offset:#x}"

    def unpack(self, fmt: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + fmt, self.data, offset)

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


def parse_elf(data: memoryview, name: str) -> ElfFile:
    """Read and check the ELF header; both header tables must end inside the file, used or not.

    Raises KernelError.  Source: elf_init in xen/common/libelf/libelf-loader.c.
    """
    if not is_elf(data):
        found = f"{bytes(data[:8]).hex(' ') or 'nothing'} ({len(data)} bytes)"
        raise KernelError("not an ELF image", where=name, expected="7f 45 4c 46", found=found)
    if len(data) < MINIMUM_BYTES:
        raise KernelError(
            "ELF header is cut", where=name, expected=f"{MINIMUM_BYTES} bytes or more", found=str(len(data))
        )
    bits = 64 if data[4] == 2 else 32
    if data[5] not in (1, 2):
        raise KernelError(
            "unknown ELF byte order", where=f"{name}, EI_DATA at byte 0x5", expected="1 or 2", found=str(data[5])
        )
    order = "<" if data[5] == 1 else ">"
    layout = struct.Struct(order + EHDR_FORMAT[bits])
    if len(data) < layout.size:
        raise KernelError(
            f"ELF{bits} header is cut", where=name, expected=f"{layout.size} bytes", found=f"{len(data)} bytes"
        )
    elf = ElfFile(name, data, bits, order, ElfHeader(*layout.unpack_from(data)))
    header = elf.header
    _check_table(elf, "program header", header.phoff, header.phentsize, header.phnum)
    # libelf first cuts the count to what the file could hold; only then a wrong count still reaches the check.
    _check_table(elf, "section header", header.shoff, header.shentsize, min(header.shnum, len(data) // 40))
    return elf


def _check_table(elf: ElfFile, what: str, offset: int, entry_bytes: int, count: int) -> None:
    if offset + entry_bytes * count > elf.size:
        big = ", big-endian" if elf.order == ">" else ""
        raise KernelError(
            f"{what} table ends outside the file",
            where=f"{elf.name}, ELF{elf.bits}{big} (EI_CLASS {elf.data[4]}, EI_DATA {elf.data[5]})",
            expected=f"its end at or below {elf.size:#x}",
            found=f"{count} entries of {entry_bytes} bytes at {offset:#x}",
        )


def segments(elf: ElfFile) -> Iterator[Segment]:
    """All program headers in file order.  Raises KernelError if e_phentsize is too small."""
    header = elf.header
    layout = struct.Struct(elf.order + PHDR_FORMAT[elf.bits])
    _check_entry_size(elf, "e_phentsize", header.phentsize, layout.size, header.phnum)
    for index in range(header.phnum):
        fields = layout.unpack_from(elf.data, header.phoff + index * header.phentsize)
        if elf.bits == 64:
            kind, flags, offset, vaddr, paddr, filesz, memsz, align = fields
        else:
            kind, offset, vaddr, paddr, filesz, memsz, flags, align = fields
        yield Segment(index, kind, flags, offset, vaddr, paddr, filesz, memsz, align)


def sections(elf: ElfFile) -> Iterator[Section]:
    """Section headers in file order, without the null section 0.  Raises KernelError as `segments`."""
    header = elf.header
    layout = struct.Struct(elf.order + SHDR_FORMAT[elf.bits])
    _check_entry_size(elf, "e_shentsize", header.shentsize, layout.size, header.shnum)
    for index in range(1, header.shnum):
        yield section(elf, index)


def section(elf: ElfFile, index: int) -> Section:
    """Section header `index`, which must be below e_shnum."""
    offset = elf.header.shoff + index * elf.header.shentsize
    return Section(index, offset, *elf.unpack(SHDR_FORMAT[elf.bits], offset))


def section_named(elf: ElfFile, name: bytes) -> Section | None:
    """The first section with this name, or None (also if there is no table of names)."""
    if not 0 < elf.header.shstrndx < elf.header.shnum:
        return None
    names = section(elf, elf.header.shstrndx).offset
    wanted = name + b"\0"
    for each in sections(elf):
        start = names + each.name
        if elf.data[start : start + len(wanted)] == wanted:
            return each
    return None


def _check_entry_size(elf: ElfFile, field: str, found: int, wanted: int, count: int) -> None:
    if count and found < wanted:
        raise KernelError(
            f"{field} is smaller than an ELF{elf.bits} entry",
            where=elf.at(0),
            expected=f"{wanted} or more",
            found=str(found),
        )
