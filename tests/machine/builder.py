"""A small domain builder for tests of the machine: Xen's layout for one ELF kernel, written straight into a Machine.

It repeats only what these tests need of Xen's builder, so that the machine's tests do not depend on the planner.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from pvboot.kexec.vcpu import VcpuContext
from pvboot.machine.machine import Machine

PAGE = 4096


@dataclass(frozen=True)
class Segment:
    """A loadable segment: physical address, file bytes, size in memory, executable."""

    address: int
    data: bytes
    memory_bytes: int
    executable: bool


@dataclass(frozen=True)
class Elf:
    """What a Xen kernel file says."""

    width: int
    entry: int
    segments: list[Segment]
    notes: dict[int, bytes]

    def number(self, note: int, default: int | None = None) -> int | None:
        return int.from_bytes(self.notes[note], "little") if note in self.notes else default


def read_elf(path: Path) -> Elf:
    data = path.read_bytes()
    wide = data[4] == 2
    entry, phoff = struct.unpack_from("<QQ" if wide else "<II", data, 24)
    size, count = struct.unpack_from("<HH", data, 54 if wide else 42)
    segments, notes = [], {}
    for index in range(count):
        at = phoff + index * size
        if wide:
            kind, flags, offset, _, paddr, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", data, at)
        else:
            kind, offset, _, paddr, filesz, memsz, flags, _ = struct.unpack_from("<8I", data, at)
        if kind == 1 and memsz:
            segments.append(Segment(paddr, data[offset : offset + filesz], memsz, bool(flags & 1)))
        elif kind == 4:
            notes.update(_notes(data[offset : offset + filesz]))
    return Elf(64 if wide else 32, entry, segments, notes)


def _notes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 12 <= len(data):
        name_bytes, size, kind = struct.unpack_from("<III", data, at)
        at += 12
        name = data[at : at + name_bytes]
        at += (name_bytes + 3) // 4 * 4
        if name == b"Xen\0":
            found[kind] = data[at : at + size]
        at += (size + 3) // 4 * 4
    return found


class Builder:
    """Lays one kernel out in a machine, in pseudo-physical order from frame 0."""

    def __init__(self, machine: Machine, elf: Elf, initrd: bytes = b"", cmdline: str = "") -> None:
        self.machine = machine
        self.elf = elf
        self.initrd = initrd
        self.cmdline = cmdline
        self.wide = elf.width == 64
        self.base = elf.number(3, 0) or 0
        self.p2m = [int(mfn) for mfn in machine.p2m]
        self.used = 0

    def write(self, pfn: int, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            count = min(len(data) - at, PAGE - offset)
            self.machine.write(self.p2m[pfn], offset, data[at : at + count])
            at, pfn, offset = at + count, pfn + 1, 0

    def take(self, size_bytes: int) -> int:
        first = self.used
        self.used += (size_bytes + PAGE - 1) // PAGE
        assert self.used <= len(self.p2m), "guest memory too small"
        return first

    def tables(self, start: int, end: int) -> dict[int, tuple[int, int]]:
        """First index and number of tables of every level below the top for [start, end], in units of the level."""
        spans = {}
        for level in range(3 if self.wide else 2, 0, -1):
            shift = 12 + 9 * level
            spans[level] = (start >> shift, (end >> shift) - (start >> shift) + 1)
        if not self.wide and end < 0xC0000000:
            spans[2] = (spans[2][0], 4 - spans[2][0])
        return spans

    def map(self, start: int, pages: int, pfn: int, spans: dict, first: dict[int, int], top: int, readonly) -> None:
        flags = {4: 0x67, 3: 0x67 if self.wide else 1, 2: 0x67}
        words = self.machine.frames
        for level in sorted(spans, reverse=True):
            base_index, count = spans[level]
            for number in range(count):
                index = base_index + number
                parent = top if level + 1 not in spans else first[level + 1] + (index >> 9) - spans[level + 1][0]
                entry = self.p2m[first[level] + number] << 12 | flags[level + 1]
                words[self.p2m[parent], index & 511] = entry
        for number in range(pages):
            index = (start >> 12) + number
            table = first[1] + (index >> 9) - spans[1][0]
            target = pfn + number
            words[self.p2m[table], index & 511] = self.p2m[target] << 12 | (0x21 if target in readonly else 0x23)

    def build(self) -> None:
        machine, elf, base = self.machine, self.elf, self.base
        word = 8 if self.wide else 4
        mask = (1 << 48) - 1 if self.wide else (1 << 32) - 1
        start_kernel = 0
        for segment in elf.segments:
            self.write(segment.address >> 12, segment.address & 0xFFF, segment.data)
            start_kernel = max(start_kernel, segment.address + segment.memory_bytes)
        self.used = (start_kernel + PAGE - 1) // PAGE
        if 2 in elf.notes:
            machine.fill_hypercall_page(self.p2m[(elf.number(2) - base) >> 12])
        unmapped = bool(elf.number(16, 0))
        module = (0, 0)
        if self.initrd and not unmapped:
            module = (base + self.take(len(self.initrd)) * PAGE, len(self.initrd))
            self.write((module[0] - base) >> 12, 0, self.initrd)
        p2m_base = elf.number(15)
        list_bytes = len(self.p2m) * word
        if p2m_base is None:
            p2m_pfn = self.take(list_bytes)
        start_info, store, console = (self.take(PAGE) for _ in range(3))
        top = self.used
        pages = 129
        while True:
            end = base + ((self.used + pages) * PAGE | 0x3FFFFF)
            spans = self.tables(base & mask, end & mask)
            count = 1 + sum(number for _, number in spans.values())
            if base + (self.used + count + 129) * PAGE <= end + 1:
                break
            pages = count + 129
        first, at = {}, top + 1
        for level in sorted(spans, reverse=True):
            first[level] = at
            at += spans[level][1]
        stack = at
        mapped = (end + 1 - base) >> 12
        readonly = set(range(top, top + count))
        self.used = mapped
        flags = 0
        if self.initrd and unmapped:
            flags, module = 8, (self.take(len(self.initrd)), (len(self.initrd) + PAGE - 1) // PAGE * PAGE)
            self.write(module[0], 0, self.initrd)
        p2m_frames = (0, 0)
        if p2m_base is None:
            p2m_va = base + p2m_pfn * PAGE
        else:
            p2m_va, p2m_pfn = p2m_base, self.take(list_bytes)
            list_pages = self.used - p2m_pfn
            more = self.tables(p2m_va, p2m_va + list_pages * PAGE - 1)
            more_first, at = {}, self.used
            for level in sorted(more, reverse=True):
                more_first[level] = at
                at += more[level][1]
            readonly |= set(range(self.used, at))
            p2m_frames = (p2m_pfn, at - p2m_pfn)
            self.used = at
            self.map(p2m_va, list_pages, p2m_pfn, more, more_first, top, readonly)
        self.map(base & mask, mapped, 0, spans, first, top, readonly)
        self.write(p2m_pfn, 0, machine.p2m.astype("<u8" if self.wide else "<u4").tobytes())
        self.write(start_info, 0, self.start_info(flags, store, console, top, count, p2m_va, module, p2m_frames, base))
        machine.attach_console(self.p2m[console])
        machine.attach_xenstore(self.p2m[store])
        top_mfn = self.p2m[top]
        machine.toolstack_pin(top_mfn, 4 if self.wide else 3)
        entry = elf.number(1, elf.entry)
        stack_top = base + (stack + 1) * PAGE
        assist = 0 if self.wide else 8
        machine.set_vcpu(VcpuContext(elf.width, entry, stack_top, base + start_info * PAGE, top_mfn, assist))

    def start_info(self, flags, store, console, top, count, p2m_va, module, p2m_frames, base) -> bytes:
        machine = self.machine
        magic = (b"xen-3.0-x86_64" if self.wide else b"xen-3.0-x86_32p").ljust(32, b"\0")
        fields = (
            machine.nr_pages, machine.shared_info_mfn << 12, flags, self.p2m[store], machine.store_port,
            self.p2m[console], machine.console_port, base + top * PAGE, count, p2m_va, *module,
        )  # fmt: skip
        body = struct.pack("<QQI4xQI4xQI4xQQQQQ" if self.wide else "<12I", *fields)
        tail = struct.pack("<QQ" if self.wide else "<II", *p2m_frames)
        return magic + body + self.cmdline.encode()[:1023].ljust(1024, b"\0") + tail


def start(path: Path, *, pages: int, initrd: bytes = b"", cmdline: str = "", **options) -> Machine:
    """A machine with this kernel loaded, ready to run."""
    elf = read_elf(path)
    machine = Machine(elf.width, pages, **options)
    Builder(machine, elf, initrd, cmdline).build()
    return machine
