"""Kernels made to order: minimal PV ELF images, and bzImages around any payload."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pvboot.xen.constants import ELFNOTE_NAMES
from tests.oracle.build import tool_environment

NOTE_NUMBERS = {name: number for number, name in ELFNOTE_NAMES.items()}
NOTE_NUMBERS |= {"INFO": 0, "L1_MFN_VALID": 13, "SUSPEND_CANCEL": 14}  # which mean nothing to a domain builder
CODECS = ("gzip", "bzip2", "lzma", "xz", "zstd", "lzo", "lz4")
PT_LOAD, PT_NOTE = 1, 4
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_NOTE = 1, 2, 3, 7
SEGMENT_OFFSET = 0x1000
NOTES_OFFSET = 0xA00
_U64 = (1 << 64) - 1

NoteValue = int | str | bytes | None
Phdr = tuple[int, int, int, int, int, int, int, int]


def note(name: str, kind: int, desc: bytes) -> bytes:
    """One ELF note, name and description padded to 4 bytes."""
    text = name.encode() + b"\0"
    return struct.pack("<III", len(text), len(desc), kind) + _pad4(text) + _pad4(desc)


def _pad4(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@dataclass(frozen=True)
class TinyKernel:
    """A minimal PV kernel: one PT_LOAD, notes or a `__xen_guest` section.

    `notes` changes the usual ones: name or number -> number, text (NUL added), raw bytes, None to leave it out.
    `guest` is the text of a `__xen_guest` section and replaces all notes.  `extra_phdrs` are tuples (p_type, p_flags,
    p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align).  `symbols` and `strings` make a symbol table.
    `raw_notes` come before the notes, as they are.
    """

    bits: int = 64
    base: int | None = None
    paddr: int = 0x100000
    code: bytes = b"\x0f\x0b"
    filesz: int = 0x3000
    memsz: int = 0x6000
    notes: Mapping[str | int, NoteValue] = field(default_factory=dict)
    guest: str | None = None
    machine: int | None = None
    entry: int | None = None
    note_phdr: bool = True
    note_section: bool = False
    extra_phdrs: Sequence[Phdr] = ()
    symbols: bytes | None = None
    strings: bytes = b"\0"
    raw_notes: bytes = b""

    @property
    def virt_base(self) -> int:
        return (0xFFFFFFFF80000000 if self.bits == 64 else 0xC0000000) if self.base is None else self.base

    @property
    def virt_entry(self) -> int:
        return self.virt_base + self.paddr if self.entry is None else self.entry

    def build(self) -> bytes:
        """The ELF file."""
        notes = self._notes()
        phdrs: list[Phdr] = [
            (PT_LOAD, 7, SEGMENT_OFFSET, self.virt_base + self.paddr, self.paddr, self.filesz, self.memsz, 0x1000)
        ]
        if self.note_phdr and notes:
            phdrs.append((PT_NOTE, 4, NOTES_OFFSET, 0, 0, len(notes), len(notes), 4))
        phdrs += self.extra_phdrs
        tail, shoff, sections = self._sections(notes)
        head = self._header(len(phdrs), shoff, sections) + b"".join(map(self._phdr, phdrs))
        if len(head) > NOTES_OFFSET or len(notes) > SEGMENT_OFFSET - NOTES_OFFSET:
            raise ValueError("headers or notes do not fit")
        head = head.ljust(NOTES_OFFSET, b"\0") + notes
        return head.ljust(SEGMENT_OFFSET, b"\0") + self._segment() + tail

    def _notes(self) -> bytes:
        if self.guest is not None:
            return b""
        usual: dict[str | int, NoteValue] = {
            "ENTRY": self.virt_entry,
            "VIRT_BASE": self.virt_base,
            "XEN_VERSION": "xen-3.0",
            "GUEST_OS": "tiny",
            "GUEST_VERSION": "1",
            "LOADER": "generic",
            "HYPERCALL_PAGE": self.virt_base + self.paddr + 0x1000,
            "PAE_MODE": "yes",
            "FEATURES": "!writable_page_tables|pae_pgdir_above_4gb",
            "HV_START_LOW": 0xFFFF800000000000 if self.bits == 64 else 0xF5800000,
            "PADDR_OFFSET": 0,
        }
        wanted = {**usual, **self.notes}
        return self.raw_notes + b"".join(
            note("Xen", key if isinstance(key, int) else NOTE_NUMBERS[key], self._desc(value))
            for key, value in wanted.items()
            if value is not None
        )

    def _desc(self, value: int | str | bytes) -> bytes:
        if isinstance(value, str):
            return value.encode() + b"\0"
        if isinstance(value, bytes):
            return value
        return struct.pack("<Q" if self.bits == 64 or value >> 32 else "<I", value & _U64)

    def _segment(self) -> bytes:
        # Every word of the filling holds its own offset, so that a misplaced copy shows.
        filling = b"".join(struct.pack("<Q", 0x1111111100000000 | at) for at in range(0, self.filesz, 8))
        head = self.code.ljust(0x100, b"\0")[: self.filesz]
        return (head + filling[len(head) :])[: self.filesz].ljust(self.filesz, b"\0")

    def _sections(self, notes: bytes) -> tuple[bytes, int, int]:
        """Bytes behind the segment, e_shoff and e_shnum."""
        start = SEGMENT_OFFSET + self.filesz
        names, tail = b"\0", b""
        headers: list[tuple[int, int, int, int, int]] = []  # name, type, offset, size, link

        def add(name: bytes, kind: int, offset: int, size: int, link: int = 0) -> None:
            nonlocal names
            headers.append((len(names), kind, offset, size, link))
            names += name + b"\0"

        if self.guest is not None:
            text = self.guest.encode() + b"\0"
            add(b"__xen_guest", SHT_PROGBITS, start, len(text))
            tail += text
        if self.note_section and notes:
            add(b".note.Xen", SHT_NOTE, NOTES_OFFSET, len(notes))
        if self.symbols is not None:
            add(b".symtab", SHT_SYMTAB, start + len(tail), len(self.symbols), len(headers) + 2)
            tail += self.symbols
            add(b".strtab", SHT_STRTAB, start + len(tail), len(self.strings))
            tail += self.strings
        if not headers:
            return b"", 0, 0
        add(b".shstrtab", SHT_STRTAB, start + len(tail), len(names) + len(b".shstrtab\0"))
        tail += names
        tail += bytes(-len(tail) % 8)
        layout = struct.Struct("<IIQQQQIIQQ" if self.bits == 64 else "<10I")
        table = layout.pack(*[0] * 10) + b"".join(
            layout.pack(name, kind, 0, 0, offset, size, link, 0, 1, 0) for name, kind, offset, size, link in headers
        )
        return tail + table, start + len(tail), len(headers) + 1

    def _header(self, phnum: int, shoff: int, shnum: int) -> bytes:
        wide = self.bits == 64
        machine = (62 if wide else 3) if self.machine is None else self.machine
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
        mask = _U64 if wide else 0xFFFFFFFF
        layout = struct.Struct("<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH")
        ehsize, phentsize, shentsize = (64, 56, 64) if wide else (52, 32, 40)
        sizes = (ehsize, phentsize, phnum, shentsize, shnum, shnum - 1 if shnum else 0)
        return ident + layout.pack(2, machine, 1, self.virt_entry & mask, ehsize, shoff, 0, *sizes)

    def _phdr(self, phdr: Phdr) -> bytes:
        kind, flags, offset, vaddr, paddr, filesz, memsz, align = phdr
        if self.bits == 64:
            return struct.pack("<IIQQQQQQ", kind, flags, offset, vaddr & _U64, paddr, filesz, memsz, align)
        low = 0xFFFFFFFF
        return struct.pack("<8I", kind, offset, vaddr & low, paddr & low, filesz, memsz, flags, align)


def compress(data: bytes, codec: str, oracle: Path) -> bytes:
    """`data` as the Linux build packs it for a bzImage, length word included.

    `codec` is one of CODECS.  `oracle` is the oracle's folder, whose tools/ hold the real lzop, lz4 and zstd.
    """
    length = struct.pack("<I", len(data))
    if codec == "gzip":
        return gzip.compress(data, 6, mtime=0)  # its own trailer ends in the length
    if codec == "bzip2":
        return bz2.compress(data) + length
    if codec == "lzma":
        return lzma.compress(data, format=lzma.FORMAT_ALONE, preset=0) + length
    if codec == "xz":
        return lzma.compress(data, check=lzma.CHECK_CRC32, preset=0) + length
    commands = {"zstd": ["zstd", "-3cq"], "lz4": ["lz4", "-lcq"], "lzo": ["lzop", "-cq"]}
    environment = tool_environment(oracle)
    program = oracle / "tools" / "usr" / "bin" / commands[codec][0]
    done = subprocess.run([program, *commands[codec][1:]], input=data, capture_output=True, check=True, env=environment)
    return done.stdout + length


def bzimage(
    payload: bytes, *, version: int = 0x20F, setup_sects: int = 1, offset: int | None = None, length: int | None = None
) -> bytes:
    """A bzImage header around a packed payload; `offset` and `length` overrule what the header says about it."""
    pad = 0x40
    header = bytearray((setup_sects + 1) * 512)
    header[0x1F1] = setup_sects
    header[0x1FE:0x200] = b"\x55\xaa"
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x206, version)
    header[0x211] = 1
    stated = (pad if offset is None else offset, len(payload) if length is None else length)
    struct.pack_into("<II", header, 0x248, *stated)
    return bytes(header) + bytes(pad) + payload


def patch(data: bytes, offset: int, fmt: str, *values: int) -> bytes:
    """`data` with little-endian fields of struct format `fmt` written at `offset`."""
    changed = bytearray(data)
    struct.pack_into("<" + fmt, changed, offset, *values)
    return bytes(changed)
