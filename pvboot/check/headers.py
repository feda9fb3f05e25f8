"""How long a kernel file says it is, told by its first bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from pvboot.kernel.containers import BOOT_MAGIC, HEADER_BYTES, MINIMUM_VERSION, PAYLOAD_OFFSET, SETUP_SECTS, VERSION

ELF_MAGIC: Final = b"\x7fELF"
# Class -> where e_phoff stands, its format, where e_phentsize stands (e_phnum follows), and of a program header the
# places of p_offset and p_filesz.
_ELF_PLACES: Final = {1: (28, "I", 42, 4, 16), 2: (32, "Q", 54, 8, 32)}
_VERSION_POINTER: Final = 0x20E  # of the kernel's version, from byte 0x200
_VERSION_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Claim:
    """`what` ends at byte `size` of the file."""

    size: int
    what: str


def claimed_bytes(head: bytes) -> Claim | None:
    """The least size of a bzImage or ELF file by its own header, None for anything else."""
    if len(head) >= HEADER_BYTES and head[BOOT_MAGIC : BOOT_MAGIC + 4] == b"HdrS":
        if struct.unpack_from("<H", head, VERSION)[0] < MINIMUM_VERSION:
            return None
        offset, length = struct.unpack_from("<II", head, PAYLOAD_OFFSET)
        return Claim((head[SETUP_SECTS] + 1) * 512 + offset + length, "its compressed kernel")
    if head.startswith(ELF_MAGIC) and len(head) >= 64 and head[4] in _ELF_PLACES and head[5] == 1:
        return _elf_claim(head)
    return None


def _elf_claim(head: bytes) -> Claim | None:
    table_at, code, entry_at, offset_at, size_at = _ELF_PLACES[head[4]]
    (table,) = struct.unpack_from(f"<{code}", head, table_at)
    entry_bytes, count = struct.unpack_from("<HH", head, entry_at)
    end = table + entry_bytes * count
    claim = Claim(end, "its table of segments")
    width = struct.calcsize(f"<{code}")
    for start in range(table, min(end, len(head)), max(entry_bytes, 1)):
        if start + entry_bytes > len(head) or entry_bytes < size_at + width:
            break
        (offset,), (size,) = (struct.unpack_from(f"<{code}", head, start + at) for at in (offset_at, size_at))
        if struct.unpack_from("<I", head, start)[0] == 1 and offset + size > claim.size:
            claim = Claim(offset + size, "a segment")
    return claim


def bzimage_version(head: bytes) -> str | None:
    """The version that a bzImage's header tells, `6.1.0-50-amd64`; None if it tells none.

    Source: Documentation/arch/x86/boot.rst of Linux, field kernel_version.
    """
    if len(head) < HEADER_BYTES or head[BOOT_MAGIC : BOOT_MAGIC + 4] != b"HdrS":
        return None
    (pointer,) = struct.unpack_from("<H", head, _VERSION_POINTER)
    text = head[pointer + 0x200 : pointer + 0x200 + _VERSION_BYTES].partition(b"\0")[0] if pointer else b""
    words = text.decode("latin-1").split()
    return words[0] if words and words[0][:1].isdigit() else None
