"""What a kernel says about itself: Xen ELF notes, or the older `__xen_guest` text."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from pvboot.errors import KernelNotesError
from pvboot.kernel.elf import PT_NOTE, SHT_NOTE, ElfFile, Section, Segment, section_named, sections, segments
from pvboot.kernel.features import parse_features
from pvboot.kernel.xen_guest import guest_items, guest_number
from pvboot.xen import constants as xen

NOTE_FORMAT = "III"  # n_namesz, n_descsz, n_type
NOTE_HEADER_BYTES = 12
MAX_NOTES = 65536  # Xen's bound
# Ours: each may hold 4 KiB of text to read.  A kernel has about twenty.
MAX_XEN_NOTES = 1024
MAX_TEXT = 15  # Xen keeps GUEST_OS, GUEST_VERSION, XEN_VERSION and LOADER in 16 bytes

_NUMBERS = {
    xen.ELFNOTE_ENTRY: "virt_entry",
    xen.ELFNOTE_HYPERCALL_PAGE: "hypercall_page",
    xen.ELFNOTE_VIRT_BASE: "virt_base",
    xen.ELFNOTE_PADDR_OFFSET: "paddr_offset",
    xen.ELFNOTE_HV_START_LOW: "hv_start_low",
    xen.ELFNOTE_INIT_P2M: "p2m_base",
}
_TEXTS = {
    xen.ELFNOTE_XEN_VERSION: "xen_version",
    xen.ELFNOTE_GUEST_OS: "guest_os",
    xen.ELFNOTE_GUEST_VERSION: "guest_version",
    xen.ELFNOTE_LOADER: "loader",
}
_GUEST_TEXTS = {b"XEN_VER": "xen_version", b"GUEST_OS": "guest_os", b"GUEST_VER": "guest_version", b"LOADER": "loader"}
_GUEST_NUMBERS = {b"VIRT_BASE": "virt_base", b"VIRT_ENTRY": "virt_entry", b"ELF_PADDR_OFFSET": "paddr_offset"}
_U64 = (1 << 64) - 1


@dataclass(slots=True)
class GuestFacts:
    """The kernel's statements, as found; None (or "") where it makes none.  Addresses are unsigned 64-bit.

    `source` is "notes", "__xen_guest" or "" (nothing seen at all); `notes_seen` tells that an area for notes
    exists, whatever is in it.  `remarks` are oddities worth telling when the kernel is refused later.
    """

    source: str = ""
    notes_seen: bool = False
    virt_base: int | None = None
    virt_entry: int | None = None
    paddr_offset: int | None = None
    hypercall_page: int | None = None
    hv_start_low: int | None = None
    p2m_base: int | None = None
    phys_entry: int | None = None
    pae: str = "no"
    unmapped_initrd: bool = False
    bsd_symtab: bool = False
    guest_os: str = ""
    guest_version: str = ""
    xen_version: str = ""
    loader: str = ""
    features_supported: int = 0
    features_required: int = 0
    remarks: list[str] = field(default_factory=list)


def read_guest_facts(elf: ElfFile) -> GuestFacts:
    """Look for notes in PT_NOTE segments, else in SHT_NOTE sections, else for `__xen_guest`.

    "Else" means: no note named `Xen` was found there.  Later notes override earlier ones.
    Raises KernelError for notes that lie outside the file or ask for an unknown feature.
    Source: elf_xen_parse in xen/common/libelf/libelf-dominfo.c.
    """
    facts = GuestFacts()
    walker = _NoteWalker(elf, facts)
    # p_offset 0: some binutils left it unset for note segments.
    for segment in segments(elf):
        if segment.type == PT_NOTE and segment.offset:
            walker.walk(segment.offset, segment.filesz, _place(segment))
    if not walker.xen_notes:
        for section in sections(elf):
            if section.type == SHT_NOTE:
                walker.walk(section.offset, section.size, _place(section))
    if not walker.xen_notes:
        guest = section_named(elf, b"__xen_guest")
        if guest is not None:
            facts.source = "__xen_guest"
            facts.notes_seen = False
            _read_guest_text(elf.string(guest.offset, "the __xen_guest text"), facts)
    if not facts.source and facts.notes_seen:
        facts.source = "notes"
    return facts


def _place(record: Segment | Section) -> str:
    return f"PT_NOTE segment {record.index}" if isinstance(record, Segment) else f"SHT_NOTE section {record.index}"


class _NoteWalker:
    """Walks note areas; counts over all of them, as the bound is on the whole file."""

    def __init__(self, elf: ElfFile, facts: GuestFacts) -> None:
        self.elf = elf
        self.facts = facts
        self.notes = 0
        self.xen_notes = 0

    def walk(self, offset: int, size: int, place: str) -> None:
        """Take in every `Xen` note that starts in [offset, offset + size)."""
        elf = self.elf
        elf.contents(offset, size, place)
        self.facts.notes_seen = True
        end = offset + size
        header = struct.Struct(elf.order + NOTE_FORMAT)
        while offset < end:
            if elf.size - offset < NOTE_HEADER_BYTES:
                return
            self.notes += 1
            if self.notes > MAX_NOTES:
                raise KernelNotesError("too many ELF notes", where=elf.at(offset), expected=f"at most {MAX_NOTES}")
            name_bytes, desc_bytes, kind = header.unpack_from(elf.data, offset)
            # Name and description are padded to 4 bytes, in ELF64 too.  The name counts up to its NUL: n_namesz
            # only says where the description starts.
            desc = offset + NOTE_HEADER_BYTES + _padded(name_bytes)
            after = desc + _padded(desc_bytes)
            if bytes(elf.data[offset + NOTE_HEADER_BYTES : offset + NOTE_HEADER_BYTES + 4]) == b"Xen\0":
                # Only its start must be in the area, and n_descsz of a string means nothing: the last note of
                # GRUB's i386 image passes the end of its segment, and claims to pass the end of the file.
                self.xen_notes += 1
                if self.xen_notes > MAX_XEN_NOTES:
                    expected = f"at most {MAX_XEN_NOTES}"
                    raise KernelNotesError("too many Xen notes", where=elf.at(offset), expected=expected)
                _read_note(elf, kind, offset, desc, desc_bytes, self.facts)
            if after > _padded(end):
                self.facts.remarks.append(
                    f"{place} ends in a note at byte {offset:#x} that claims {name_bytes:#x}+{desc_bytes:#x} bytes"
                )
            offset = after


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _read_note(elf: ElfFile, kind: int, offset: int, desc: int, desc_bytes: int, facts: GuestFacts) -> None:
    what = f"note {xen.ELFNOTE_NAMES.get(kind, kind)}"
    if kind in _NUMBERS:
        setattr(facts, _NUMBERS[kind], _address(_number(elf, desc, desc_bytes, what, facts)))
    elif kind == xen.ELFNOTE_PHYS32_ENTRY:
        entry = _number(elf, desc, desc_bytes, what, facts) & 0xFFFFFFFF
        facts.phys_entry = None if entry == 0xFFFFFFFF else entry
    elif kind == xen.ELFNOTE_MOD_START_PFN:
        facts.unmapped_initrd = _number(elf, desc, desc_bytes, what, facts) != 0
    elif kind == xen.ELFNOTE_SUPPORTED_FEATURES:
        # An array of 32-bit submaps; there is only submap 0.
        if desc_bytes and desc_bytes % 4 == 0:
            elf.contents(desc, 4, f"the description of {what}")
            facts.features_supported |= elf.unpack("I", desc)[0]
    elif kind in _TEXTS:
        setattr(facts, _TEXTS[kind], _text(elf.string(desc, what)))
    elif kind == xen.ELFNOTE_PAE_MODE:
        mode = elf.string(desc, what)
        if mode == b"yes":
            facts.pae = "yes[extended-cr3]"
        if b"bimodal" in mode:
            facts.pae = "bimodal"
    elif kind == xen.ELFNOTE_BSD_SYMTAB:
        facts.bsd_symtab = facts.bsd_symtab or elf.string(desc, what) == b"yes"
    elif kind == xen.ELFNOTE_FEATURES:
        features = parse_features(elf.string(desc, what))
        if features.unknown_required is not None:
            raise KernelNotesError(
                "the kernel requires a feature that is not known",
                where=f"{elf.at(offset)}, note FEATURES",
                found=f"!{features.unknown_required}",
            )
        facts.features_supported |= features.supported
        facts.features_required |= features.required


def _number(elf: ElfFile, desc: int, desc_bytes: int, what: str, facts: GuestFacts) -> int:
    """A numeric description; sizes other than 1, 2, 4 and 8 bytes count as 0, as in Xen."""
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(desc_bytes)
    if code is None:
        facts.remarks.append(f"{what} has {desc_bytes} bytes, which is no number, and counts as 0")
        return 0
    elf.contents(desc, desc_bytes, f"the description of {what}")
    return elf.unpack(code, desc)[0]


def _address(value: int) -> int | None:
    """All ones is Xen's mark for "not stated", also when the kernel states it."""
    return None if value == _U64 else value


def _text(value: bytes) -> str:
    return value[:MAX_TEXT].decode("latin-1")


def _read_guest_text(text: bytes, facts: GuestFacts) -> None:
    page: int | None = None
    for key, value in guest_items(text):
        if key in _GUEST_TEXTS:
            setattr(facts, _GUEST_TEXTS[key], _text(value))
        elif key in _GUEST_NUMBERS:
            setattr(facts, _GUEST_NUMBERS[key], _address(guest_number(value)))
        elif key == b"HYPERCALL_PAGE":
            page = guest_number(value) << 12 & _U64
        elif key == b"PAE":
            if value == b"yes[extended-cr3]":
                facts.pae = "yes[extended-cr3]"
            elif value.startswith(b"yes"):
                facts.pae = "yes"
        elif key == b"BSD_SYMTAB":
            facts.bsd_symtab = True
        elif key == b"FEATURES":
            features = parse_features(value)
            facts.features_supported |= features.supported
            facts.features_required |= features.required
            if features.unknown_required is not None:
                break  # Xen drops the error and whatever follows
    # HYPERCALL_PAGE counts pages from VIRT_BASE, wherever in the text that stands.
    if page is not None:
        facts.hypercall_page = (page + (facts.virt_base or 0)) & _U64
