"""Tiny PV guests, assembled at test time and started the way the hand-over starts real kernels."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pvboot.handoff.machine import start_direct
from pvboot.kernel.image import KernelImage, Piece
from pvboot.kexec.build import DomainImage
from pvboot.kexec.layout import plan_layout
from pvboot.machine.machine import Machine
from pvboot.machine.outcome import Outcome, RunLimits
from pvboot.xen.constants import HYPERCALL_NUMBERS

PAGE = 4096
BASE = {64: 0xFFFF_FFFF_8000_0000, 32: 0xC000_0000}
CODE_PAGES = 4
TABLE_PAGE = 4  # hypercalls to perform
DATA_PAGE = 8  # buffers
SPARE_PAGE = 16  # mapped pages that nothing uses
IMAGE_PAGES = 32
NR_PAGES = 2048

PRELUDE = {
    64: """
        .code64
        .macro hypercall number
            movl $\\number, %eax
            syscall
        .endm
        .macro shutdown reason
            movl $\\reason, shutdown_reason(%rip)
            movl $2, %edi
            leaq shutdown_reason(%rip), %rsi
            hypercall 29
            ud2
        .endm
        .macro say text, length
            xorl %edi, %edi
            movl $\\length, %esi
            leaq \\text(%rip), %rdx
            hypercall 18
        .endm
        .set code, {base}
        .set data, {base} + 0x8000
        .set spare, {base} + 0x10000
        jmp start
        .balign 8
        shutdown_reason: .long 0
        .balign 8
    """,
    32: """
        .code32
        .macro hypercall number
            movl $\\number, %eax
            int $0x82
        .endm
        .macro shutdown reason
            movl $\\reason, shutdown_reason
            movl $2, %ebx
            movl $shutdown_reason, %ecx
            hypercall 29
            ud2
        .endm
        .macro say text, length
            xorl %ebx, %ebx
            movl $\\length, %ecx
            movl $\\text, %edx
            hypercall 18
        .endm
        .set code, {base}
        .set data, {base} + 0x8000
        .set spare, {base} + 0x10000
        jmp start
        .balign 8
        shutdown_reason: .long 0
        .balign 8
    """,
}


@lru_cache(maxsize=64)
def assemble(width: int, source: str) -> bytes:
    """Machine code of a program at its base address."""
    text = PRELUDE[width].format(base=hex(BASE[width])) + source + "\n"
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
    def l1_mfn(self) -> int:
        """The L1 that maps the guest's first pages (the last one: they are few)."""
        tables = self.layout.segment("pgtables").pages
        ranges = self.layout.mappings[0].ranges[0].count
        return self.table_mfn(tables - ranges)

    def l1_slot(self, page: int) -> int:
        """Machine address of the entry that maps a page."""
        return (self.l1_mfn << 12) + 8 * page

    def poke(self, page: int, offset: int, data: bytes) -> None:
        assert offset + len(data) <= PAGE
        self.machine.write(self.mfn(page), offset, data)

    def peek(self, page: int, offset: int, size: int) -> bytes:
        return self.machine.read(self.mfn(page), offset, size)

    def words(self, page: int, offset: int, count: int) -> list[int]:
        data = self.peek(page, offset, count * self.word)
        return [int.from_bytes(data[at : at + self.word], "little") for at in range(0, len(data), self.word)]

    def run(self, limits: RunLimits | None = None, until: bytes | None = None) -> Outcome:
        return self.machine.run(limits or RunLimits(cpu_seconds=20, silent_seconds=20, idle_seconds=20), until)


CALLER = {
    64: """
        start:
            movq $code + 0x4000, %rbx
        next:
            movq (%rbx), %rax
            cmpq $-1, %rax
            je finish
            movq 8(%rbx), %rdi
            movq 16(%rbx), %rsi
            movq 24(%rbx), %rdx
            movq 32(%rbx), %r10
            movq 40(%rbx), %r8
            syscall
            movq %rax, 48(%rbx)
            addq $64, %rbx
            jmp next
        finish:
            shutdown 0
    """,
    32: """
        start:
            movl $code + 0x4000, %ebp
        next:
            movl (%ebp), %eax
            cmpl $-1, %eax
            je finish
            movl 4(%ebp), %ebx
            movl 8(%ebp), %ecx
            movl 12(%ebp), %edx
            movl 16(%ebp), %esi
            movl 20(%ebp), %edi
            int $0x82
            movl %eax, 24(%ebp)
            addl $32, %ebp
            jmp next
        finish:
            shutdown 0
    """,
}


def caller(width: int) -> Guest:
    """A guest that performs a list of hypercalls: see `perform`."""
    return Guest(width, CALLER[width])


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
    outcome = guest.run()
    assert outcome.reason == "poweroff", outcome
    results = []
    for index in range(len(calls)):
        data = guest.peek(TABLE_PAGE + index // per_page, index % per_page * size + 6 * guest.word, guest.word)
        results.append(int.from_bytes(data, "little", signed=True))
    return results


# Registers one handler for all vectors of interest.  It copies the stack to the data area, tells which vector it was
# (each vector has its own entry), and jumps to `resume`.
HANDLERS64 = """
    .macro handler vector
    handler_\\vector:
        movq $\\vector, %rbx
        jmp handled
    .endm
    handler 0
    handler 1
    handler 3
    handler 6
    handler 13
    handler 14
    handler 128
    handled:
        movq %rsp, %rsi
        movq $data, %rdi
        movl $10, %ecx
        cld
        rep movsq
        movq %rbx, data + 0x100
        movq %rsp, data + 0x108
        jmp resume
    .balign 8
    traps:
        .irp vector, 0, 1, 3, 6, 13, 14, 128
        .byte \\vector
        .byte 4 * (\\vector == 14)
        .word 0xe033
        .long 0
        .quad handler_\\vector
        .endr
        .quad 0, 0
"""
HANDLERS32 = """
    .macro handler vector
    handler_\\vector:
        movl $\\vector, %ebx
        jmp handled
    .endm
    handler 0
    handler 1
    handler 3
    handler 6
    handler 13
    handler 14
    handler 128
    handled:
        movl %esp, %esi
        movl $data, %edi
        movl $10, %ecx
        cld
        rep movsl
        movl %ebx, data + 0x100
        movl %esp, data + 0x108
        jmp resume
    .balign 8
    traps:
        .irp vector, 0, 1, 3, 6, 13, 14, 128
        .byte \\vector
        .byte 4 * (\\vector == 14)
        .word 0xe019
        .long handler_\\vector
        .endr
        .quad 0
"""
