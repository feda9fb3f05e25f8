"""The symbol table that BSD kernels ask to find behind themselves (note BSD_SYMTAB)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pvboot.kernel.elf import EHDR_FORMAT, SHDR_FORMAT, SHT_STRTAB, SHT_SYMTAB, ElfFile, Section, section, sections
from pvboot.kernel.image import Piece
from pvboot.xen.paging import PAGE_SIZE

# What the guest finds: u32 size, then a pseudo ELF file: the ELF header in a field of 64 bytes (in ELF32 too),
# section headers {null, SYMTAB, STRTAB}, the two tables.  Xen lays the tables out behind a structure of
# 4 + 64 + 3 * 64 bytes whatever the width.  Source: elf_load_bsdsyms in xen/common/libelf/libelf-loader.c.
SIZE_FIELD_BYTES = 4
HEADER_FIELD_BYTES = 64
SECTION_COUNT = 3
TABLES_OFFSET = SIZE_FIELD_BYTES + HEADER_FIELD_BYTES + SECTION_COUNT * 64


@dataclass(frozen=True, slots=True)
class Symtab:
    """Pieces for the kernel segment (offsets from its start) and the new end of the kernel, as an offset too."""

    pieces: tuple[Piece, ...]
    end: int


def bsd_symtab(elf: ElfFile, pstart: int, pend: int) -> Symtab | None:
    """The symbol table behind a kernel loaded at [pstart, pend), or None if the file has no usable one.

    Raises KernelError if the tables are not in the file.
    """
    tables = _find_tables(elf)
    if tables is None:
        return None
    symbols, strings = tables
    align = 8 if elf.bits == 64 else 4
    start = _round_up(pend, align) - pstart
    symbols_at = _round_up(start + TABLES_OFFSET, align)
    strings_at = _round_up(symbols_at + symbols.size, align)
    pieces = (
        _piece(start, _header(elf, symbols, strings, symbols_at - start, strings_at - start)),
        _piece(symbols_at, elf.contents(symbols.offset, symbols.size, "the symbol table")),
        _piece(strings_at, elf.contents(strings.offset, strings.size, "the symbols' string table")),
    )
    end = _reserved_end(elf, symbols, strings, start, align)
    # In ELF32 Xen reserves less than it uses, and leaves a table out that does not fit into the last page.
    used = strings_at + strings.size
    if used > _round_up(end, PAGE_SIZE):
        end = used
    return Symtab(pieces, end)


def _find_tables(elf: ElfFile) -> tuple[Section, Section] | None:
    for each in sections(elf):
        if each.type == SHT_SYMTAB:
            if not 0 < each.link < elf.header.shnum:
                return None
            strings = section(elf, each.link)
            return (each, strings) if strings.type == SHT_STRTAB else None
    return None


def _reserved_end(elf: ElfFile, symbols: Section, strings: Section, start: int, align: int) -> int:
    section_bytes = struct.calcsize("<" + SHDR_FORMAT[elf.bits])
    size = SIZE_FIELD_BYTES + SIZE_FIELD_BYTES + HEADER_FIELD_BYTES + SECTION_COUNT * section_bytes
    size = _round_up(size, align)
    size = _round_up(size + symbols.size, align)
    size = _round_up(size + strings.size, align)
    return start + size


def _header(elf: ElfFile, symbols: Section, strings: Section, symbols_at: int, strings_at: int) -> bytes:
    """The size word, the ELF header and the section headers; offsets inside count from the ELF header."""
    ehdr = struct.Struct(elf.order + EHDR_FORMAT[elf.bits])
    shdr = struct.Struct(elf.order + SHDR_FORMAT[elf.bits])
    old = elf.header
    header = ehdr.pack(
        old.ident,
        old.type,
        old.machine,
        1,
        old.entry,
        0,
        HEADER_FIELD_BYTES,
        old.flags,
        ehdr.size,
        0,
        0,
        shdr.size,
        SECTION_COUNT,
        0,
    )
    symbols_header = _section_header(shdr, symbols, symbols_at - SIZE_FIELD_BYTES, 2)
    strings_header = _section_header(shdr, strings, strings_at - SIZE_FIELD_BYTES, strings.link)
    return b"".join(
        (
            struct.pack(elf.order + "I", (strings_at + strings.size - SIZE_FIELD_BYTES) & 0xFFFFFFFF),
            header.ljust(HEADER_FIELD_BYTES, b"\0"),
            bytes(shdr.size),
            symbols_header,
            strings_header,
        )
    )


def _section_header(shdr: struct.Struct, old: Section, offset: int, link: int) -> bytes:
    return shdr.pack(
        old.name, old.type, old.flags, old.addr, offset, old.size, link, old.info, old.addralign, old.entsize
    )


def _piece(offset: int, data: bytes | memoryview) -> Piece:
    return Piece(offset, memoryview(data), len(data))


def _round_up(value: int, align: int) -> int:
    return (value + align - 1) & -align
