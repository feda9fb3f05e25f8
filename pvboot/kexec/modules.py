"""Several modules as the one that a PV domain can be given (SIF_MULTIBOOT_MOD).

Page 0 is an array of 16-byte records {start, inclusive end, offset of the command line, 0}, u32 each, offsets from
the start of the package, ended by a record of zeros.  Each module starts on a page and is followed by one page with
its NUL-terminated command line.  Source: Xen's public header xen.h (struct xen_multiboot_mod_list), PV-GRUB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pvboot.errors import PlanError
from pvboot.kexec.layout import Blob, pages_for
from pvboot.xen._formats import XEN_MULTIBOOT_MOD_LIST
from pvboot.xen.paging import PAGE_SIZE

MAX_MODULES: Final = PAGE_SIZE // XEN_MULTIBOOT_MOD_LIST.size - 1


@dataclass(frozen=True, slots=True)
class ModulePackage:
    """A blob made of a header page, module contents and command-line pages."""

    parts: tuple[tuple[int, Blob | bytes], ...]  # (offset, contents), ascending
    size: int

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """All contents in order; what lies between them is zero."""
        position = 0
        for start, part in self.parts:
            if start > position:
                yield position, memoryview(bytes(start - position))
            if isinstance(part, bytes):
                yield start, memoryview(part)
                position = start + len(part)
            else:
                for offset, data in part.chunks():
                    yield start + offset, data
                position = start + part.size
        if self.size > position:
            yield position, memoryview(bytes(self.size - position))


def pack_modules(modules: Sequence[tuple[Blob, bytes]]) -> ModulePackage:
    """Pack (contents, command line) pairs.

    Raises `PlanError` for more than 255 modules, a command line above 4095 bytes, an empty module, or a package that
    32-bit offsets cannot describe.
    """
    if len(modules) > MAX_MODULES:
        raise PlanError("too many modules", expected=f"at most {MAX_MODULES}", found=str(len(modules)))
    header = bytearray()
    parts: list[tuple[int, Blob | bytes]] = []
    offset = PAGE_SIZE
    for number, (blob, cmdline) in enumerate(modules):
        if len(cmdline) >= PAGE_SIZE:
            raise PlanError(
                f"command line of module {number} is too long",
                expected=f"at most {PAGE_SIZE - 1} bytes",
                found=str(len(cmdline)),
            )
        if not blob.size:
            raise PlanError(f"module {number} is empty", expected="at least one byte", found="0")
        text_offset = offset + pages_for(blob.size) * PAGE_SIZE
        if text_offset + PAGE_SIZE >= 1 << 32:
            raise PlanError("the modules are too large", expected="below 4 GiB in all", found=f"{text_offset} bytes")
        header += XEN_MULTIBOOT_MOD_LIST.pack(offset, offset + blob.size - 1, text_offset, 0)
        parts += [(offset, blob), (text_offset, cmdline + b"\0")]
        offset = text_offset + PAGE_SIZE
    header += XEN_MULTIBOOT_MOD_LIST.pack(0, 0, 0, 0)
    return ModulePackage(((0, bytes(header)), *parts), offset)
