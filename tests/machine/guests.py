"""Tiny PV guests, assembled at test time and started the way the hand-over starts real kernels."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pvboot.handoff.machine import start_direct
from pvboot.kernel.image import KernelImage, Piece
from pvboot.kexec.build import DomainImage
from pvboot.kexec.layout import plan_layout
from pvboot.machine.machine import Machine
from pvboot.machine.outcome import Outcome, RunLimits, describe
from pvboot.xen.constants import HYPERCALL_NUMBERS

PAGE = 4096
BASE = {64: 0xFFFF_FFFF_8000_0000, 32: 0xC000_0000}
CODE_PAGES = 4
TABLE_PAGE = 4  # hypercalls to perform
DATA_PAGE = 8  # buffers
SPARE_PAGE = 16  # mapped pages that nothing uses
IMAGE_PAGES = 32
NR_PAGES = 2048

# Written in assembly as @name: registers of the guest's width, hypercall arguments, and what else depends on it.
_BOTH = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
WIDTHS = {
    64: {
        **{name: f"%r{name}" for name in _BOTH},
        **dict(zip(("arg1", "arg2", "arg3", "arg4", "arg5"), ("%rdi", "%rsi", "%rdx", "%r10", "%r8"), strict=True)),
        "word": ".quad",
        "w": "8",
        "s": "q",
        "hypercall": "syscall",
        "cs": "0xe033",
    },
    32: {
        **{name: f"%e{name}" for name in _BOTH},
        **dict(zip(("arg1", "arg2", "arg3", "arg4", "arg5"), ("%ebx", "%ecx", "%edx", "%esi", "%edi"), strict=True)),
        "word": ".long",
        "w": "4",
        "s": "l",
        "hypercall": "int $0x82",
        "cs": "0xe019",
    },
}
PRELUDE = """
    .macro hypercall number
        movl $\\number, %eax
        @hypercall
    .endm
    .macro hypercall2 number, first, second
        mov $\\first, @arg1
        mov $\\second, @arg2
        hypercall \\number
    .endm
    .macro shutdown reason
        movl $\\reason, shutdown_reason
        hypercall2 29, 2, shutdown_reason
        ud2
    .endm
    .macro say text, length
        mov $\\text, @arg3
        hypercall2 18, 0, \\length
    .endm
    .set data, code + 0x8000
    .set spare, code + 0x10000
    jmp start
    .balign 8
    shutdown_reason: .long 0
    .balign 8
"""


@lru_cache(maxsize=64)
def assemble(width: int, source: str) -> bytes:
    """Machine code of a program at its base address."""
    text = f".code{width}\n.set code, {BASE[width]:#x}\n{PRELUDE}{source}\n"
    text = re.sub(r"@(\w+)", lambda match: WIDTHS[width][match[1]], text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "guest.s").write_text(text)
        mode, emulation = ("--64", "elf_x86_64") if width == 64 else ("--32", "elf_i386")
        subprocess.run(["as", mode, "-o", "guest.o", "guest.s"], cwd=path, check=True)
        place = f"-Ttext={BASE[width]:#x}"
        subprocess.run(
            ["ld", "-m", emulation, place, "--oformat", "binary", "-o", "guest.bin", "guest.o"],
            cwd=path,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        code = (path / "guest.bin").read_bytes()
    assert len(code) <= CODE_PAGES * PAGE
    return code


@dataclass
class Guest:
    """A machine with a tiny guest in it; `printed` is its console output."""

    width: int
    source: str
    frame_seed: int | None = 11
    strict: bool = True
    interactive: bool = False
    cmdline: bytes = b""
    printed: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        base = BASE[self.width]
        kernel = KernelImage(
            name="tiny",
            container="elf",
            width=self.width,
            guest_type="xen-3.0-x86_64" if self.width == 64 else "xen-3.0-x86_32p",
            virt_base=base,
            virt_entry=base,
            virt_kstart=base,
            virt_kend=base + IMAGE_PAGES * PAGE,
            paddr_offset=0,
            pieces=(Piece(0, memoryview(assemble(self.width, self.source)), IMAGE_PAGES * PAGE),),
            pae="yes[extended-cr3]",
        )
        self.layout = plan_layout(kernel, NR_PAGES, cmdline=self.cmdline)
        self.machine = Machine(
            self.width,
            NR_PAGES,
            frame_seed=self.frame_seed,
            strict=self.strict,
            interactive=self.interactive,
            output=self.printed.extend,
        )
        self.image: DomainImage = start_direct(self.machine, self.layout)

    @property
    def word(self) -> int:
        return self.width // 8

    def va(self, page: int, offset: int = 0) -> int:
        """Address of a page of the guest."""
        return BASE[self.width] + page * PAGE + offset

    def mfn(self, page: int) -> int:
        return int(self.image.p2m[page])

    def table_mfn(self, index: int) -> int:
        """Frame of a page table in the order L4, L3, L2s, L1s."""
        return self.mfn(self.layout.segment("pgtables").pfn + index)

    @property
    def _l1_pfn(self) -> int:
        """Page of the L1 that maps the guest's first pages: the first of the leaf tables, which come last."""
        return self.layout.segment("pgtables").end_pfn - self.layout.mappings[0].ranges[0].count

    @property
    def l1_mfn(self) -> int:
        return self.mfn(self._l1_pfn)

    def l1_entry_va(self, page: int) -> int:
        """Where the guest has the entry for a page mapped, read-only."""
        return self.layout.va_of(self._l1_pfn) + 8 * page

    def l1_slot(self, page: int) -> int:
        """Machine address of the entry that maps a page."""
        return (self.l1_mfn << 12) + 8 * page

    def poke(self, page: int, offset: int, data: bytes) -> None:
        assert offset + len(data) <= PAGE
        self.machine.write(self.mfn(page), offset, data)

    def peek(self, page: int, offset: int, size: int) -> bytes:
        return self.machine.read(self.mfn(page), offset, size)

    def peek_int(self, page: int, offset: int = 0, size: int = 4) -> int:
        return int.from_bytes(self.peek(page, offset, size), "little")

    def poke_ints(self, page: int, offset: int, *values: int, size: int = 4) -> None:
        self.poke(page, offset, b"".join(value.to_bytes(size, "little") for value in values))

    def words(self, page: int, offset: int, count: int) -> list[int]:
        return [self.peek_int(page, offset + at * self.word, self.word) for at in range(count)]

    def run(self, limits: RunLimits | None = None, until: bytes | None = None) -> Outcome:
        return self.machine.run(limits or RunLimits(cpu_seconds=20, silent_seconds=20, idle_seconds=20), until)

    def run_to_power_off(self) -> Outcome:
        outcome = self.run()
        assert outcome.reason == "poweroff", "\n".join(describe(outcome))
        return outcome


def wait_for(text: bytearray, pattern: bytes) -> None:
    """Until a guest in another thread has printed something; the test's own timeout bounds it."""
    while pattern not in text:
        time.sleep(0.005)


CALLER = """
    start:
        mov $code + 0x4000, @bp
    next:
        mov (@bp), @ax
        cmp $-1, @ax
        je finish
        mov @w(@bp), @arg1
        mov 2*@w(@bp), @arg2
        mov 3*@w(@bp), @arg3
        mov 4*@w(@bp), @arg4
        mov 5*@w(@bp), @arg5
        @hypercall
        mov @ax, 6*@w(@bp)
        add $8*@w, @bp
        jmp next
    finish:
        shutdown 0
"""


def caller(width: int) -> Guest:
    """A guest that performs a list of hypercalls: see `perform`."""
    return Guest(width, CALLER)


def perform(guest: Guest, calls: list[tuple[str | int, tuple[int, ...]]]) -> list[int]:
    """Let a `caller` guest make hypercalls (name or number, arguments); their signed results."""
    size, mask = 8 * guest.word, (1 << guest.width) - 1
    per_page = PAGE // size
    assert len(calls) < 4 * per_page
    for index in range(len(calls) + 1):
        values = [mask] * 8
        if index < len(calls):
            name, arguments = calls[index]
            number = HYPERCALL_NUMBERS[name] if isinstance(name, str) else name
            values = [number, *(argument & mask for argument in arguments)]
            values += [0] * (8 - len(values))
        entry = b"".join(value.to_bytes(guest.word, "little") for value in values)
        guest.poke(TABLE_PAGE + index // per_page, index % per_page * size, entry)
    guest.run_to_power_off()
    results = []
    for index in range(len(calls)):
        data = guest.peek(TABLE_PAGE + index // per_page, index % per_page * size + 6 * guest.word, guest.word)
        results.append(int.from_bytes(data, "little", signed=True))
    return results


# A trap table with one handler for all vectors of interest.  It copies the stack to the data area, notes which vector
# it was (each vector has its own entry), and jumps to `resume`.
HANDLERS = """
    .macro handler vector
    handler_\\vector:
        mov $\\vector, @bx
        jmp handled
    .endm
    .irp vector, 0, 1, 3, 6, 13, 14, 128
    handler \\vector
    .endr
    handled:
        mov @sp, @si
        mov $data, @di
        movl $10, %ecx
        cld
        rep movs@s
        mov @bx, data + 0x100
        mov @sp, data + 0x108
        jmp resume
    .balign 8
    traps:
        .irp vector, 0, 1, 3, 6, 13, 14, 128
        .byte \\vector
        .byte 4 * (\\vector == 14)
        .word @cs
        .balign @w
        @word handler_\\vector
        .endr
        .quad 0, 0
    .macro set_traps
        mov $traps, @arg1
        hypercall 0
    .endm
"""
