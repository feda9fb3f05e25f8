"""Kernels in no format at all, found by a table in their first 8 KiB ("multiboot-binary")."""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.errors import KernelError
from pvboot.kernel import _formats
from pvboot.kernel.image import Piece

MAGIC = 0x336EC578
SEARCH_BYTES = 8192
FLAG_ALIGN_4K = 1
FLAG_ADDRESSES_VALID = 0x10000
PAE_SHIFT = 14
PAE_MASK = 3 << PAE_SHIFT
_FLAGS_LOOKED_AT = 0xFFFFFFFF & ~FLAG_ALIGN_4K & ~PAE_MASK


class BinaryTable(_formats.BinImageTable):
    """The table; `offset` is where it lies in the file, addresses are virtual."""

    def __init__(self, data: bytes, offset: int) -> None:
        super().__init__(data, offset)
        self.offset = offset

    @property
    def pae_bits(self) -> int:
        """0 x86_32, 1 x86_32p, 2 x86_64, 3 whichever 32-bit kind the host has."""
        return (self.flags & PAE_MASK) >> PAE_SHIFT


@dataclass(frozen=True, slots=True)
class BinaryLayout:
    """Addresses that follow from a table: PFN 0 at `virt_base`, the kernel in [`start`, `end`)."""

    virt_base: int
    start: int
    end: int
    entry: int
    pieces: tuple[Piece, ...]


def find_table(data: memoryview) -> BinaryTable | None:
    """The first table with a right checksum, 4-byte aligned, or None."""
    if len(data) < BinaryTable.SIZE:
        return None
    end = SEARCH_BYTES if len(data) > SEARCH_BYTES + BinaryTable.SIZE else len(data) - BinaryTable.SIZE
    area = bytes(data[: end + BinaryTable.SIZE])
    magic = MAGIC.to_bytes(4, "little")
    offset = area.find(magic)
    while 0 <= offset < end:
        if offset % 4 == 0:
            table = BinaryTable(area, offset)
            if (table.magic + table.flags + table.checksum) & 0xFFFFFFFF == 0:
                return table
        offset = area.find(magic, offset + 1)
    return None


def binary_layout(data: memoryview, table: BinaryTable, name: str) -> BinaryLayout:
    """Check the table's addresses against each other and the file.  Raises KernelError."""

    def refuse(what: str, field: str, expected: str, found: str) -> KernelError:
        place = f"{name}, xen_bin_image_table at byte {table.offset:#x}, {field}"
        return KernelError(what, where=place, expected=expected, found=found)

    flags = table.flags & _FLAGS_LOOKED_AT
    if flags != FLAG_ADDRESSES_VALID:
        raise refuse("unknown flags", "flags", f"{FLAG_ADDRESSES_VALID:#x}", f"{flags:#x}")
    start = table.header_addr - table.offset
    if start < 0 or not 0 <= table.header_addr - table.load_addr <= table.offset:
        raise refuse(
            "the table's own address does not fit its place in the file",
            "header_addr",
            f"load_addr {table.load_addr:#x} .. load_addr + {table.offset:#x}, at least {table.offset:#x}",
            f"{table.header_addr:#x}",
        )
    load_end = table.load_end_addr or start + len(data)
    bss_end = table.bss_end_addr or load_end
    if not table.load_addr <= load_end <= start + len(data):
        raise refuse(
            "the loaded part lies outside the file",
            "load_end_addr",
            f"{table.load_addr:#x} .. {start + len(data):#x}",
            f"{load_end:#x}",
        )
    if not load_end <= bss_end < 1 << 32:
        raise refuse("ends before the loaded part", "bss_end_addr", f"{load_end:#x} .. 0xffffffff", f"{bss_end:#x}")
    if not table.load_addr <= table.entry_addr <= bss_end:
        raise refuse(
            "outside the kernel", "entry_addr", f"{table.load_addr:#x} .. {bss_end:#x}", f"{table.entry_addr:#x}"
        )
    skip = table.load_addr - start
    text = data[skip : skip + load_end - table.load_addr]
    piece = Piece(0, text, bss_end - table.load_addr)
    return BinaryLayout(start, table.load_addr, bss_end, table.entry_addr, (piece,))
