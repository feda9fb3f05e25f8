"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final, NamedTuple
from fsdrivers.records import Record

ELF_IDENT: Final = Struct("<4s2B10x")  # magic, ei_class, ei_data
ELF_NOTE: Final = {
    "little": Struct("<3I"),  # n_namesz, n_descsz, n_type
    "big": Struct(">3I"),  # n_namesz, n_descsz, n_type
}


class BzimageHeader(Record):
    LAYOUT = Struct("<497xB20xH6xH56x2I")
    setup_sects: int
    version: int
    kernel_version: int
    payload_offset: int
    payload_length: int


class ElfHeader(Record):
    e_ident: bytes
    e_type: int
    e_machine: int
    e_version: int
    e_entry: int
    e_phoff: int
    e_shoff: int
    e_flags: int
    e_ehsize: int
    e_phentsize: int
    e_phnum: int
    e_shentsize: int
    e_shnum: int
    e_shstrndx: int


ELF_HEADER: Final = {
    (64, "little"): ElfHeader.variant(Struct("<16s2HI3QI6H")),
    (64, "big"): ElfHeader.variant(Struct(">16s2HI3QI6H")),
    (32, "little"): ElfHeader.variant(Struct("<16s2H5I6H")),
    (32, "big"): ElfHeader.variant(Struct(">16s2H5I6H")),
}


class ProgramHeader(Record):
    p_type: int
    p_flags: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_align: int


PROGRAM_HEADER: Final = {
    (64, "little"): ProgramHeader.variant(Struct("<2I6Q")),
    (64, "big"): ProgramHeader.variant(Struct(">2I6Q")),
    (32, "little"): ProgramHeader.variant(
        Struct("<8I"), "p_type", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_flags", "p_align"
    ),
    (32, "big"): ProgramHeader.variant(
        Struct(">8I"), "p_type", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_flags", "p_align"
    ),
}


class SectionHeader(Record):
    sh_name: int
    sh_type: int
    sh_flags: int
    sh_addr: int
    sh_offset: int
    sh_size: int
    sh_link: int
    sh_info: int
    sh_addralign: int
    sh_entsize: int


SECTION_HEADER: Final = {
    (64, "little"): SectionHeader.variant(Struct("<2I4Q2I2Q")),
    (64, "big"): SectionHeader.variant(Struct(">2I4Q2I2Q")),
    (32, "little"): SectionHeader.variant(Struct("<10I")),
    (32, "big"): SectionHeader.variant(Struct(">10I")),
}


class BinImageTable(Record):
    LAYOUT = Struct("<8I")
    magic: int
    flags: int
    checksum: int
    header_addr: int
    load_addr: int
    load_end_addr: int
    bss_end_addr: int
    entry_addr: int


class BzimageOffsets:
    SIZE = 592
    header = 514
    version = 518
    payload_offset = 584


class SymtabOffsets(NamedTuple):
    SIZE: int
    ehdr: int
    sections: int


SYMTAB_OFFSETS: Final = {
    64: SymtabOffsets(SIZE=260, ehdr=4, sections=68),
    32: SymtabOffsets(SIZE=188, ehdr=4, sections=68),
}
