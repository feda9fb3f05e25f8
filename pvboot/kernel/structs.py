"""The room's on-disk structures, each declared once, as the readable truth.

Run time reads them with the `struct` formats named beside each (importing construct costs more than parsing a
kernel); a test holds the two together field by field.  Offsets and widths are facts of the sources named.
"""

from __future__ import annotations

from construct import Array, Bytes, Const, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct

# --- ELF: System V ABI, chapter 4 (elf.h).  elf.EHDR_FORMAT, PHDR_FORMAT, SHDR_FORMAT; EI_DATA says the byte order.


def _elf_header(address: Construct) -> Struct:
    return Struct(
        "e_ident" / Bytes(16),  # magic 7f 45 4c 46, EI_CLASS, EI_DATA, EI_VERSION ...
        "e_type" / Int16ul,
        "e_machine" / Int16ul,
        "e_version" / Int32ul,
        "e_entry" / address,
        "e_phoff" / address,
        "e_shoff" / address,
        "e_flags" / Int32ul,
        "e_ehsize" / Int16ul,
        "e_phentsize" / Int16ul,
        "e_phnum" / Int16ul,
        "e_shentsize" / Int16ul,
        "e_shnum" / Int16ul,
        "e_shstrndx" / Int16ul,
    )


def _elf_section(word: Construct) -> Struct:
    return Struct(
        "sh_name" / Int32ul,
        "sh_type" / Int32ul,
        "sh_flags" / word,
        "sh_addr" / word,
        "sh_offset" / word,
        "sh_size" / word,
        "sh_link" / Int32ul,
        "sh_info" / Int32ul,
        "sh_addralign" / word,
        "sh_entsize" / word,
    )


ELF64_EHDR, ELF32_EHDR = _elf_header(Int64ul), _elf_header(Int32ul)
ELF64_SHDR, ELF32_SHDR = _elf_section(Int64ul), _elf_section(Int32ul)
ELF64_PHDR = Struct(
    "p_type" / Int32ul,
    "p_flags" / Int32ul,
    "p_offset" / Int64ul,
    "p_vaddr" / Int64ul,  # never used: Xen places kernels by p_paddr
    "p_paddr" / Int64ul,
    "p_filesz" / Int64ul,
    "p_memsz" / Int64ul,
    "p_align" / Int64ul,
)
ELF32_PHDR = Struct(
    "p_type" / Int32ul,
    "p_offset" / Int32ul,
    "p_vaddr" / Int32ul,
    "p_paddr" / Int32ul,
    "p_filesz" / Int32ul,
    "p_memsz" / Int32ul,
    "p_flags" / Int32ul,
    "p_align" / Int32ul,
)
# notes.NOTE_FORMAT.  Name and description follow, each padded to 4 bytes, in ELF64 too.
ELF_NOTE = Struct("n_namesz" / Int32ul, "n_descsz" / Int32ul, "n_type" / Int32ul)

# --- Linux: Documentation/arch/x86/boot.rst.  The offsets in containers.py.
BZIMAGE_HEADER = Struct(
    Padding(0x1F1),
    "setup_sects" / Int8ul,
    Padding(0x10),
    "header" / Const(b"HdrS"),
    "version" / Int16ul,
    Padding(0x40),
    "payload_offset" / Int32ul,  # from the start of the protected-mode code
    "payload_length" / Int32ul,
)

# --- Xen: tools/libs/guest/xg_dom_binloader.c, struct xen_bin_image_table.  binary.TABLE_FORMAT.
XEN_BIN_IMAGE_TABLE = Struct(
    "magic" / Const(0x336EC578, Int32ul),
    "flags" / Int32ul,
    "checksum" / Int32ul,  # magic + flags + checksum == 0 (mod 2^32)
    "header_addr" / Int32ul,
    "load_addr" / Int32ul,
    "load_end_addr" / Int32ul,
    "bss_end_addr" / Int32ul,
    "entry_addr" / Int32ul,
)


# --- Xen: elf_load_bsdsyms in xen/common/libelf/libelf-loader.c.  symtab._header.
def _bsd_symtab(ehdr: Struct, shdr: Struct) -> Struct:
    return Struct(
        "size" / Int32ul,  # from the ELF header to the end of the string table
        "ehdr" / ehdr,
        Padding(64 - ehdr.sizeof()),  # the header's field is as wide as ELF64's, in ELF32 too
        "sections" / Array(3, shdr),  # null, SYMTAB, STRTAB; sh_offset counts from the ELF header
    )


BSD_SYMTAB64 = _bsd_symtab(ELF64_EHDR, ELF64_SHDR)
BSD_SYMTAB32 = _bsd_symtab(ELF32_EHDR, ELF32_SHDR)
