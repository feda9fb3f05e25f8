"""The size and version that a kernel file states in its first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pvboot.kernel._formats import ELF_HEADER, ELF_IDENT, PROGRAM_HEADER
from pvboot.kernel.containers import MINIMUM_VERSION, BzimageHeader, is_bzimage
from pvboot.kernel.elf import ELF_MAGIC, PT_LOAD

_VERSION_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Claim:
    """`what` ends at byte `size` of the file."""

    size: int
    what: str


def claimed_bytes(head: bytes) -> Claim | None:
    """Return the least size of a bzImage or little-endian ELF file by its own header, None for anything else."""
    if len(head) >= BzimageHeader.SIZE and is_bzimage(head):
        header = BzimageHeader(head)
        if header.version < MINIMUM_VERSION:
            return None
        return Claim(header.payload_start + header.payload_length, "its compressed kernel")
    if head.startswith(ELF_MAGIC) and len(head) >= ELF_HEADER[64, "little"].SIZE:
        _, elf_class, order = ELF_IDENT.unpack_from(head)
        if elf_class in (1, 2) and order == 1:
            return _elf_claim(head, 32 * elf_class)
    return None


def _elf_claim(head: bytes, bits: int) -> Claim:
    header, layout = ELF_HEADER[bits, "little"](head), PROGRAM_HEADER[bits, "little"]
    step = header.e_phentsize
    end = header.e_phoff + step * header.e_phnum
    claim = Claim(end, "its table of segments")
    if step >= layout.SIZE:
        for start in range(header.e_phoff, min(end, len(head) - step + 1), step):
            segment = layout(head, start)
            if segment.p_type == PT_LOAD and segment.p_offset + segment.p_filesz > claim.size:
                claim = Claim(segment.p_offset + segment.p_filesz, "a segment")
    return claim


def bzimage_version(head: bytes) -> str | None:
    """Return the version in a bzImage's header, such as `6.1.0-50-amd64`; None if there is none.

    Source: Documentation/arch/x86/boot.rst of Linux, field kernel_version.
    """
    if len(head) < BzimageHeader.SIZE or not is_bzimage(head):
        return None
    pointer = BzimageHeader(head).kernel_version
    text = head[pointer + 0x200 : pointer + 0x200 + _VERSION_BYTES].partition(b"\0")[0] if pointer else b""
    words = text.decode("latin-1").split()
    return words[0] if words and words[0][:1].isdigit() else None
