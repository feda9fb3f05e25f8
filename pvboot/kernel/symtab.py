"""The symbol table that BSD kernels ask to find behind themselves (note BSD_SYMTAB).

The guest finds a size and a pseudo ELF file: an ELF header, the section headers {null, SYMTAB, STRTAB}, the two
tables.  Xen lays the tables out behind the 64-bit form of the headers, whatever the width.
Source: elf_load_bsdsyms in xen/common/libelf/libelf-loader.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.kernel._formats import SYMTAB_OFFSETS, SectionHeader
from pvboot.kernel.elf import SHT_STRTAB, SHT_SYMTAB, ElfFile, section, sections
from pvboot.kernel.image import Piece

PAGE_BYTES = 4096


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
    align = elf.bits // 8
    start = _round_up(pend, align) - pstart
    symbols_at = _round_up(start + SYMTAB_OFFSETS[64].SIZE, align)
    strings_at = _round_up(symbols_at + symbols.sh_size, align)
    pieces = (
        _piece(start, _header(elf, symbols, strings, symbols_at - start, strings_at - start)),
        _piece(symbols_at, elf.contents(symbols.sh_offset, symbols.sh_size, "the symbol table")),
        _piece(strings_at, elf.contents(strings.sh_offset, strings.sh_size, "the symbols' string table")),
    )
    # Xen reserves the size field twice, and the headers of the guest's width.
    end = _round_up(SYMTAB_OFFSETS[elf.bits].ehdr + SYMTAB_OFFSETS[elf.bits].SIZE, align)
    for table in tables:
        end = _round_up(end + table.sh_size, align)
    end += start
    # In ELF32 Xen reserves less than it uses, and leaves a table out that does not fit into the last page.
    used = strings_at + strings.sh_size
    if used > _round_up(end, PAGE_BYTES):
        end = used
    return Symtab(pieces, end)


def _find_tables(elf: ElfFile) -> tuple[SectionHeader, SectionHeader] | None:
    for each in sections(elf):
        if each.sh_type == SHT_SYMTAB:
            if not 0 < each.sh_link < elf.section_count:
                return None
            strings = section(elf, each.sh_link)
            return (each, strings) if strings.sh_type == SHT_STRTAB else None
    return None


def _header(elf: ElfFile, symbols: SectionHeader, strings: SectionHeader, symbols_at: int, strings_at: int) -> bytes:
    """The size word, the ELF header and the section headers; offsets inside count from the ELF header."""
    size_bytes, sections_at = SYMTAB_OFFSETS[elf.bits].ehdr, SYMTAB_OFFSETS[elf.bits].sections
    header = elf.header.pack(
        e_version=1,
        e_phoff=0,
        e_shoff=sections_at - size_bytes,
        e_ehsize=elf.header.SIZE,
        e_phentsize=0,
        e_phnum=0,
        e_shentsize=symbols.SIZE,
        e_shnum=3,
        e_shstrndx=0,
    )
    size = (strings_at + strings.sh_size - size_bytes) & 0xFFFFFFFF
    return b"".join(
        (
            (size.to_bytes(size_bytes, elf.order) + header).ljust(sections_at, b"\0"),
            bytes(symbols.SIZE),
            symbols.pack(sh_offset=symbols_at - size_bytes, sh_link=2),
            strings.pack(sh_offset=strings_at - size_bytes),
        )
    )


def _piece(offset: int, data: bytes | memoryview) -> Piece:
    return Piece(offset, memoryview(data), len(data))


def _round_up(value: int, align: int) -> int:
    return (value + align - 1) & -align
