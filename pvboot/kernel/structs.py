"""The structures of kernel files, declared once; `make generate` derives the formats that read them.

Offsets and widths are facts of the sources named.
"""

from __future__ import annotations

from construct import Array, Bytes, FormatField, Int8ul, Int16ul, Int32ul, Padding, Struct

# --- ELF: System V ABI, chapter 4 (elf.h).  EI_CLASS says the width, EI_DATA the byte order.
ELF_IDENT = Struct("magic" / Bytes(4), "ei_class" / Int8ul, "ei_data" / Int8ul, "rest" / Bytes(10))


def _integers(bits: int, order: str) -> tuple[FormatField, FormatField, FormatField]:
    """Half, Word, and what is as wide as an address."""
    prefix = "<" if order == "little" else ">"
    half, word, wide = (FormatField(prefix, code) for code in "HLQ")
    return half, word, wide if bits == 64 else word


def elf_header(bits: int, order: str) -> Struct:
    """Elf32_Ehdr, Elf64_Ehdr."""
    half, word, address = _integers(bits, order)
    return Struct(
        "e_ident" / Bytes(ELF_IDENT.sizeof()),
        "e_type" / half,
        "e_machine" / half,
        "e_version" / word,
        "e_entry" / address,
        "e_phoff" / address,
        "e_shoff" / address,
        "e_flags" / word,
        "e_ehsize" / half,
        "e_phentsize" / half,
        "e_phnum" / half,
        "e_shentsize" / half,
        "e_shnum" / half,
        "e_shstrndx" / half,
    )


def program_header(bits: int, order: str) -> Struct:
    """Elf32_Phdr, Elf64_Phdr.  p_vaddr is never used: Xen places kernels by p_paddr."""
    _, word, address = _integers(bits, order)
    flags = "p_flags" / word
    return Struct(
        "p_type" / word,
        *([flags] if bits == 64 else []),
        *(name / address for name in ("p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz")),
        *([] if bits == 64 else [flags]),
        "p_align" / address,
    )


def section_header(bits: int, order: str) -> Struct:
    """Elf32_Shdr, Elf64_Shdr."""
    _, word, address = _integers(bits, order)
    return Struct(
        "sh_name" / word,
        "sh_type" / word,
        *(name / address for name in ("sh_flags", "sh_addr", "sh_offset", "sh_size")),
        "sh_link" / word,
        "sh_info" / word,
        "sh_addralign" / address,
        "sh_entsize" / address,
    )


def elf_note(order: str) -> Struct:
    """Elf32_Nhdr, Elf64_Nhdr.  Name and description follow, each padded to 4 bytes, in ELF64 too."""
    _, word, _ = _integers(64, order)
    return Struct("n_namesz" / word, "n_descsz" / word, "n_type" / word)


# --- Linux: Documentation/arch/x86/boot.rst.
BZIMAGE_HEADER = Struct(
    Padding(0x1F1),
    "setup_sects" / Int8ul,
    Padding(0x10),
    "header" / Bytes(4),  # "HdrS"
    "version" / Int16ul,
    Padding(6),
    "kernel_version" / Int16ul,  # where its text is, from byte 0x200; 0: nowhere
    Padding(0x38),
    "payload_offset" / Int32ul,  # from the start of the protected-mode code
    "payload_length" / Int32ul,
)

# --- Xen: tools/libs/guest/xg_dom_binloader.c, struct xen_bin_image_table.
XEN_BIN_IMAGE_TABLE = Struct(
    "magic" / Int32ul,  # 0x336EC578
    "flags" / Int32ul,
    "checksum" / Int32ul,  # magic + flags + checksum == 0 (mod 2^32)
    "header_addr" / Int32ul,
    "load_addr" / Int32ul,
    "load_end_addr" / Int32ul,
    "bss_end_addr" / Int32ul,
    "entry_addr" / Int32ul,
)


# --- Xen: elf_load_bsdsyms in xen/common/libelf/libelf-loader.c.
def bsd_symtab(bits: int, order: str = "little") -> Struct:
    """The head of the table behind a BSD kernel: a size, then a pseudo ELF file; the tables follow."""
    _, word, _ = _integers(bits, order)
    ehdr = elf_header(bits, order)
    return Struct(
        "size" / word,  # from the ELF header to the end of the string table
        "ehdr" / ehdr,
        Padding(64 - ehdr.sizeof()),  # the header's field is as wide as ELF64's, in ELF32 too
        "sections" / Array(3, section_header(bits, order)),  # null, SYMTAB, STRTAB; sh_offset: from ehdr
    )


ELF_VARIANTS = [(bits, order) for bits in (64, 32) for order in ("little", "big")]

FORMATS = {
    "ELF_IDENT": (ELF_IDENT, "magic ei_class ei_data"),
    "ELF_NOTE": {order: elf_note(order) for order in ("little", "big")},
}
RECORDS = {
    "BzimageHeader": (BZIMAGE_HEADER, "setup_sects version kernel_version payload_offset payload_length"),
    "ElfHeader": {variant: elf_header(*variant) for variant in ELF_VARIANTS},
    "ProgramHeader": {variant: program_header(*variant) for variant in ELF_VARIANTS},
    "SectionHeader": {variant: section_header(*variant) for variant in ELF_VARIANTS},
    "BinImageTable": XEN_BIN_IMAGE_TABLE,
}
OFFSETS = {
    "BzimageOffsets": (BZIMAGE_HEADER, "header version payload_offset"),
    "SymtabOffsets": {bits: (bsd_symtab(bits), "ehdr sections") for bits in (64, 32)},
}
