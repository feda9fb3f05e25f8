"""A kernel's statements about itself: Xen ELF notes, or the older `__xen_guest` text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvboot.errors import KernelNotesError
from pvboot.kernel._formats import ELF_NOTE
from pvboot.kernel.elf import PT_NOTE, SHT_NOTE, ElfFile, section_named, sections, segments
from pvboot.kernel.features import Features, parse_features
from pvboot.kernel.image import KernelParms
from pvboot.kernel.xen_guest import guest_items, guest_number
from pvboot.xen import constants as xen

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


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFacts(KernelParms):
    """The kernel's own statements; addresses are unsigned 64-bit, None where it makes none.

    `source` is "notes", "__xen_guest" or "" (nothing seen at all); `notes_seen` tells that an area for notes
    exists, whatever is in it.  `remarks` are oddities worth telling when the kernel is refused later.
    """

    source: str
    notes_seen: bool
    remarks: list[str]
    virt_base: int | None = None
    virt_entry: int | None = None
    paddr_offset: int | None = None


def read_guest_facts(elf: ElfFile) -> GuestFacts:
    """Look for notes in PT_NOTE segments, else in SHT_NOTE sections, else for `__xen_guest`.

    "Else" means: no note named `Xen` was found there.  Later notes override earlier ones.
    Raises KernelError for notes that lie outside the file or ask for an unknown feature.
    Source: elf_xen_parse in xen/common/libelf/libelf-dominfo.c.
    """
    reader = _Reader(elf)
    # p_offset 0: some binutils left it unset for note segments.
    for index, segment in enumerate(segments(elf)):
        if segment.p_type == PT_NOTE and segment.p_offset:
            reader.walk(segment.p_offset, segment.p_filesz, f"PT_NOTE segment {index}")
    if not reader.xen_notes:
        for index, section in enumerate(sections(elf), 1):
            if section.sh_type == SHT_NOTE:
                reader.walk(section.sh_offset, section.sh_size, f"SHT_NOTE section {index}")
    source = "notes" if reader.notes_seen else ""
    guest = None if reader.xen_notes else section_named(elf, b"__xen_guest")
    if guest is not None:
        source, reader.notes_seen = "__xen_guest", False
        reader.read_guest_text(elf.string(guest.sh_offset, "the __xen_guest text"))
    return GuestFacts(source=source, notes_seen=reader.notes_seen, remarks=reader.remarks, **reader.found)


class _Reader:
    """Gathers statements by the names of `GuestFacts`; the bounds on notes are for all areas together."""

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.found: dict[str, Any] = {}
        self.remarks: list[str] = []
        self.notes = 0
        self.xen_notes = 0
        self.notes_seen = False

    def walk(self, offset: int, size: int, place: str) -> None:
        """Take in every `Xen` note that starts in [offset, offset + size)."""
        elf, layout = self.elf, ELF_NOTE[self.elf.order]
        elf.contents(offset, size, place)
        self.notes_seen = True
        end = offset + size
        while offset < end:
            if elf.size - offset < layout.size:
                return
            self.notes += 1
            if self.notes > MAX_NOTES:
                raise KernelNotesError("too many ELF notes", where=elf.at(offset), expected=f"at most {MAX_NOTES}")
            name_bytes, desc_bytes, kind = layout.unpack_from(elf.data, offset)
            # Name and description are padded to 4 bytes, in ELF64 too.  The name counts up to its NUL: n_namesz
            # only says where the description starts.
            name = offset + layout.size
            desc = name + _padded(name_bytes)
            after = desc + _padded(desc_bytes)
            if bytes(elf.data[name : name + 4]) == b"Xen\0":
                # Only its start must be in the area, and n_descsz of a string means nothing: the last note of
                # GRUB's i386 image passes the end of its segment, and claims to pass the end of the file.
                self.xen_notes += 1
                if self.xen_notes > MAX_XEN_NOTES:
                    expected = f"at most {MAX_XEN_NOTES}"
                    raise KernelNotesError("too many Xen notes", where=elf.at(offset), expected=expected)
                self._read_note(kind, offset, desc, desc_bytes)
            if after > _padded(end):
                self.remarks.append(
                    f"{place} ends in a note at byte {offset:#x} that claims {name_bytes:#x}+{desc_bytes:#x} bytes"
                )
            offset = after

    def _read_note(self, kind: int, offset: int, desc: int, desc_bytes: int) -> None:
        what = f"note {xen.ELFNOTE_NAMES.get(kind, kind)}"
        elf, found = self.elf, self.found
        if kind in _NUMBERS:
            found[_NUMBERS[kind]] = _address(self._number(desc, desc_bytes, what))
        elif kind == xen.ELFNOTE_PHYS32_ENTRY:
            entry = self._number(desc, desc_bytes, what) & 0xFFFFFFFF
            found["phys_entry"] = None if entry == 0xFFFFFFFF else entry
        elif kind == xen.ELFNOTE_MOD_START_PFN:
            found["unmapped_initrd"] = self._number(desc, desc_bytes, what) != 0
        elif kind == xen.ELFNOTE_SUPPORTED_FEATURES:
            # An array of 32-bit submaps; there is only submap 0.
            if desc_bytes and desc_bytes % 4 == 0:
                self._add_features(Features(elf.number(desc, 4, f"the description of {what}"), 0))
        elif kind in _TEXTS:
            found[_TEXTS[kind]] = _text(elf.string(desc, what))
        elif kind == xen.ELFNOTE_PAE_MODE:
            mode = elf.string(desc, what)
            if mode == b"yes":
                found["pae"] = "yes[extended-cr3]"
            if b"bimodal" in mode:
                found["pae"] = "bimodal"
        elif kind == xen.ELFNOTE_BSD_SYMTAB:
            found["bsd_symtab"] = found.get("bsd_symtab", False) or elf.string(desc, what) == b"yes"
        elif kind == xen.ELFNOTE_FEATURES:
            features = parse_features(elf.string(desc, what))
            if features.unknown_required is not None:
                raise KernelNotesError(
                    "the kernel requires a feature that is not known",
                    where=f"{elf.at(offset)}, note FEATURES",
                    found=f"!{features.unknown_required}",
                )
            self._add_features(features)

    def _number(self, desc: int, desc_bytes: int, what: str) -> int:
        """A numeric description; sizes other than 1, 2, 4 and 8 bytes count as 0, as in Xen."""
        if desc_bytes not in (1, 2, 4, 8):
            self.remarks.append(f"{what} has {desc_bytes} bytes, which is not a number, and counts as 0")
            return 0
        return self.elf.number(desc, desc_bytes, f"the description of {what}")

    def _add_features(self, features: Features) -> None:
        for name, mask in (("features_supported", features.supported), ("features_required", features.required)):
            self.found[name] = self.found.get(name, 0) | mask

    def read_guest_text(self, text: bytes) -> None:
        """Take in the text of a `__xen_guest` section."""
        found = self.found
        page: int | None = None
        for key, value in guest_items(text):
            if key in _GUEST_TEXTS:
                found[_GUEST_TEXTS[key]] = _text(value)
            elif key in _GUEST_NUMBERS:
                found[_GUEST_NUMBERS[key]] = _address(guest_number(value))
            elif key == b"HYPERCALL_PAGE":
                page = guest_number(value) << 12 & _U64
            elif key == b"PAE":
                if value == b"yes[extended-cr3]":
                    found["pae"] = "yes[extended-cr3]"
                elif value.startswith(b"yes"):
                    found["pae"] = "yes"
            elif key == b"BSD_SYMTAB":
                found["bsd_symtab"] = True
            elif key == b"FEATURES":
                features = parse_features(value)
                self._add_features(features)
                if features.unknown_required is not None:
                    break  # Xen drops the error and whatever follows
        # HYPERCALL_PAGE counts pages from VIRT_BASE, wherever in the text that stands.
        if page is not None:
            found["hypercall_page"] = (page + (found.get("virt_base") or 0)) & _U64


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _address(value: int) -> int | None:
    """All ones is Xen's mark for "not stated", also when the kernel states it."""
    return None if value == _U64 else value


def _text(value: bytes) -> str:
    return value[:MAX_TEXT].decode("latin-1")
