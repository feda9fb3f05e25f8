"""The guest's virtual address space as the hypervisor sees it: walking tables, copying from and to the guest."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from pvboot.machine.code_frames import CodeFrames
from pvboot.machine.errors import GuestFaultError
from pvboot.machine.memory import Memory
from pvboot.xen.paging import (
    PAGE_SIZE,
    PTE_FRAME,
    PTE_PRESENT,
    PTE_RW,
    PTE_SUPERPAGE,
    is_guest_address,
    level_shift,
    levels_of,
)


@dataclass(frozen=True, slots=True)
class WalkStep:
    """One level of a page walk: the table's level and frame, the index in it and the entry found there."""

    level: int
    table_mfn: int
    index: int
    entry: int


class AddressSpace:
    """Virtual memory below one root table at a time, with a small cache of translated pages.

    The cache is only sound because every change of a live table goes through the hypervisor, which must call
    `forget` then.
    """

    def __init__(self, memory: Memory, code: CodeFrames | None = None) -> None:
        self._memory = memory
        self._code = code or CodeFrames(memory)
        self._words = memory.words
        self._mm = memory.mm
        self._limit = memory.size_bytes
        self._width = memory.width
        # level, shift and mask of the table index
        self._levels = tuple(
            (level, level_shift(level), 3 if level == 3 and memory.width == 32 else 511)
            for level in range(levels_of(memory.width), 0, -1)
        )
        self._readable: dict[int, int] = {}
        self._writable: dict[int, int] = {}
        self.root = 0

    def set_root(self, mfn: int) -> None:
        """Use the tables below this frame from now on."""
        self.root = mfn
        self.forget()

    def forget(self) -> None:
        """Drop cached translations."""
        self._readable.clear()
        self._writable.clear()

    def is_guest_address(self, address: int) -> bool:
        """Whether the address is the guest's to use: canonical and outside the hypervisor's range."""
        return is_guest_address(self._width, address)

    def walk(self, address: int, root: int | None = None) -> list[WalkStep]:
        """The entries met on the way to an address, top down; ends at the first non-present one or at the leaf."""
        table = self.root if root is None else root
        steps: list[WalkStep] = []
        for level, shift, mask in self._levels:
            index = (address >> shift) & mask
            if table >= self._memory.total:
                break
            entry = self._words[table * 512 + index]
            steps.append(WalkStep(level, table, index, entry))
            if not entry & PTE_PRESENT or (level == 2 and entry & PTE_SUPERPAGE):
                break
            table = (entry & PTE_FRAME) >> 12
        return steps

    def leaf(self, address: int, root: int | None = None) -> tuple[int, int] | None:
        """Word index and value of the L1 entry for an address, present or not; None if no L1 table is there."""
        table = self.root if root is None else root
        words = self._words
        for level, shift, mask in self._levels:
            slot = table * 512 + ((address >> shift) & mask)
            entry = words[slot]
            if level == 1:
                return slot, entry
            if not entry & PTE_PRESENT or entry & PTE_SUPERPAGE:
                return None
            table = (entry & PTE_FRAME) >> 12
            if table * PAGE_SIZE >= self._limit:
                return None
        return None

    def machine_address(self, address: int, *, write: bool = False) -> int:
        """Machine address behind a guest-virtual one; GuestFaultError if it is not mapped (writable)."""
        cache = self._writable if write else self._readable
        base = cache.get(address >> 12)
        if base is None:
            base = self._translate(address, write)
            cache[address >> 12] = base
        return base | (address & 0xFFF)

    def _translate(self, address: int, write: bool) -> int:
        if not self.is_guest_address(address):
            raise GuestFaultError(address, write=write)
        table = self.root
        permissions = PTE_RW
        for level, shift, mask in self._levels:
            entry = self._words[table * 512 + ((address >> shift) & mask)]
            if not entry & PTE_PRESENT or (level != 1 and entry & PTE_SUPERPAGE):
                raise GuestFaultError(address, write=write)
            table = (entry & PTE_FRAME) >> 12
            # PAE top-level entries carry no permission bits.
            if level != 3 or self._width == 64:
                permissions &= entry
            if table * PAGE_SIZE >= self._limit:
                raise GuestFaultError(address, write=write)
        if write and not permissions:
            raise GuestFaultError(address, write=True)
        return table << 12

    def read(self, address: int, size: int) -> bytes:
        """Copy bytes from the guest; GuestFaultError if any of them is not readable."""
        if (address & 0xFFF) + size <= PAGE_SIZE:
            start = self.machine_address(address)
            return self._mm[start : start + size]
        parts = []
        while size:
            count = min(size, PAGE_SIZE - (address & 0xFFF))
            start = self.machine_address(address)
            parts.append(self._mm[start : start + count])
            address += count
            size -= count
        return b"".join(parts)

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes to the guest; GuestFaultError if any page is not writable (earlier pages are then written)."""
        position = 0
        while position < len(data):
            count = min(len(data) - position, PAGE_SIZE - (address & 0xFFF))
            start = self.machine_address(address, write=True)
            self._mm[start : start + count] = data[position : position + count]
            if self._code.seen[start >> 12]:
                self._code.written(start >> 12)
            address += count
            position += count

    def unpack(self, layout: Struct, address: int) -> tuple[int, ...]:
        """Read one structure."""
        return layout.unpack(self.read(address, layout.size))

    def read_int(self, address: int, size: int = 4) -> int:
        """Read one unsigned number."""
        return int.from_bytes(self.read(address, size), "little")

    def read_ints(self, address: int, count: int, size: int) -> list[int]:
        """Read `count` unsigned numbers of `size` bytes each; the caller bounds the count."""
        data = self.read(address, count * size) if count else b""
        return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]

    def write_int(self, address: int, value: int, size: int = 4) -> None:
        """Write one unsigned number."""
        self.write(address, value.to_bytes(size, "little"))

    def prefix(self, address: int, size: int) -> bytes:
        """As many of `size` bytes from the address on as are readable (instruction bytes at a page's end)."""
        count = min(size, PAGE_SIZE - (address & 0xFFF))
        data = self.read(address, count)
        if count < size:
            try:
                data += self.read(address + count, size - count)
            except GuestFaultError:
                return data
        return data
