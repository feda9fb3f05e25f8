"""The CPU engine's semantics, alone: what the machine relies on, and the traits that it works around.

Each engine has paging with 64 identity-mapped pages at the bottom, the code at CODE and functions at PAGE and ALIAS.
"""

from __future__ import annotations

import struct
import threading
import time

import pytest
from unicorn import UC_ARCH_ARM64, UC_ARCH_X86, UC_HOOK_CODE, UC_HOOK_INTR, UC_MODE_64, UC_MODE_ARM, Uc
from unicorn import arm64_const as arm
from unicorn import x86_const as x86
from unicorn.unicorn_const import UC_CTL_IO_WRITE, UC_CTL_TLB_FLUSH

from pvboot.machine import engine
from pvboot.machine.memory import Memory
from pvboot.xen.paging import PTE_NX

CODE, PAGE, OTHER, STACK, ALIAS, WINDOW = 0x1000, 0x2000, 0x4000, 0x7000, 0x20000, 0x21000
ROOT, LEAVES, PAGES = 0x10000, 0x13000, 64
HALT = b"\xf4"


def function(value: int) -> bytes:
    return b"\xb8" + struct.pack("<I", value) + b"\xc3"  # mov $value, %eax; ret


def call(at: int, target: int) -> bytes:
    return b"\xe8" + struct.pack("<i", target - (at + 5))


class Cpu:
    """An engine with paging on, as the machine sets it up."""

    def __init__(self) -> None:
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.uc.ctl_set_cpu_model(engine.CPU_MODEL)
        self.uc.mem_map(0, 0x100000)
        for level in range(3):
            self.put(ROOT + level * 0x1000, struct.pack("<Q", ROOT + (level + 1) * 0x1000 | 7))
        for page in range(PAGES):
            self.entry(page << 12, page << 12 | 0x67)
        self.entry(ALIAS, PAGE | 0x67)
        self.uc.reg_write(x86.UC_X86_REG_CR4, engine.CR4_ENGINE)
        self.uc.msr_write(engine.EFER, engine.EFER_LONG_MODE)
        self.uc.reg_write(x86.UC_X86_REG_CR3, ROOT)
        self.uc.reg_write(x86.UC_X86_REG_CR0, engine.CR0_PV)
        self.uc.reg_write(x86.UC_X86_REG_RSP, STACK)

    def put(self, address: int, data: bytes) -> None:
        self.uc.mem_write(address, data)

    def entry(self, address: int, value: int) -> None:
        self.put(LEAVES + 8 * (address >> 12), struct.pack("<Q", value))

    def flush(self) -> None:
        self.uc.ctl(UC_CTL_TLB_FLUSH, UC_CTL_IO_WRITE)

    def run(self, code: bytes) -> int:
        """Execute code at CODE; eax."""
        self.put(CODE, code + HALT)
        self.uc.ctl_remove_cache(CODE, CODE + 0xFFF)
        self.uc.emu_start(CODE, CODE + len(code))
        return int(self.uc.reg_read(x86.UC_X86_REG_EAX))

    def call(self, target: int) -> int:
        return self.run(call(CODE, target))


def copy(source: int, target: int, quadwords: int) -> bytes:
    """Code that copies by single stores, so that later ones find the translation that the first one left."""
    return (
        b"\xbe" + struct.pack("<I", source) + b"\xbf" + struct.pack("<I", target) + b"\xb9"
        + struct.pack("<I", quadwords) + bytes.fromhex("488b06 488907 4883c608 4883c708 ffc9 75ee")
    )  # fmt: skip


FAR = 0x800  # the second function's offset: written after the first store of the page


def two_functions(first: int, second: int) -> bytes:
    return function(first).ljust(FAR, b"\x90") + function(second)


@pytest.mark.parametrize(
    ("target", "flags", "seen"),
    [(PAGE, 0, True), (ALIAS, 0, True), (ALIAS, PTE_NX, False)],
    ids=["same address", "executable alias", "alias without execution"],
)
def test_whether_stores_to_code_are_seen(target: int, flags: int, seen: bool) -> None:
    """Why frames' translations are dropped by the machine: a store through a no-execute alias is not noticed."""
    cpu = Cpu()
    cpu.entry(ALIAS, PAGE | 0x67 | flags)
    cpu.put(PAGE, two_functions(1, 2))
    cpu.put(OTHER, two_functions(3, 4))
    assert [cpu.call(PAGE), cpu.call(PAGE + FAR)] == [1, 2]
    cpu.run(b"\xc6\x04\x25" + struct.pack("<I", target + 0xFF0) + b"\x90" + copy(OTHER, target, 0x102))
    assert cpu.call(PAGE + FAR) == (4 if seen else 2)


def test_dropped_code_is_translated_anew_by_any_address_of_its_frame() -> None:
    cpu = Cpu()
    cpu.put(PAGE, function(1))
    assert cpu.call(PAGE) == 1
    cpu.put(PAGE, function(2))
    assert cpu.call(PAGE) == 1  # bytes changed behind the engine's back
    cpu.entry(WINDOW, PAGE | 5)
    cpu.uc.ctl_remove_cache(WINDOW, WINDOW + 0xFFF)
    assert cpu.call(PAGE) == 2


def test_a_remapped_address_executes_its_new_frame() -> None:
    cpu = Cpu()
    cpu.put(PAGE, function(1))
    cpu.put(OTHER, function(2))
    assert cpu.call(ALIAS) == 1
    cpu.entry(ALIAS, OTHER | 0x67)
    cpu.flush()
    assert cpu.call(ALIAS) == 2


def test_a_flushed_permission_is_looked_up_again() -> None:
    cpu = Cpu()
    cpu.put(PAGE, function(1))
    assert cpu.call(ALIAS) == 1
    cpu.entry(ALIAS, PAGE | 0x67 | PTE_NX)
    cpu.flush()
    vectors: list[int] = []
    cpu.uc.hook_add(UC_HOOK_INTR, lambda uc, vector, user: (vectors.append(vector), uc.emu_stop()))
    cpu.call(ALIAS)
    assert vectors == [14]


STORES = ["f0480fba3205", "3e480fba3205", "488902", "f0480fba2a05", "480902", "48870a"]


@pytest.mark.parametrize("store", STORES)
def test_one_instruction_after_a_fault_is_one(store: str) -> None:
    """Translations of the address are dropped first; without that the old block runs on to its end."""
    cpu = Cpu()
    page = 0x22000
    cpu.entry(page, page | 5)
    code = bytes.fromhex(store)
    cpu.put(PAGE, code + bytes.fromhex("0f92c1 89c8 48ffc3 c3"))
    cpu.uc.reg_write(x86.UC_X86_REG_CR0, engine.CR0_PV)
    cpu.uc.reg_write(x86.UC_X86_REG_RDX, page)
    cpu.uc.hook_add(UC_HOOK_INTR, lambda uc, vector, user: uc.emu_stop())
    cpu.call(PAGE)
    at = cpu.uc.reg_read(x86.UC_X86_REG_RIP)
    assert at == PAGE
    cpu.entry(page, page | 0x67)
    cpu.flush()
    cpu.uc.ctl_remove_cache(at, at + engine.INSTRUCTION_BYTES)
    cpu.uc.emu_start(at, WINDOW, count=1)
    assert cpu.uc.reg_read(x86.UC_X86_REG_RIP) == PAGE + len(code)
    assert cpu.uc.reg_read(x86.UC_X86_REG_RBX) == 0


class Silent:
    """Handlers that expect nothing."""

    def on_syscall(self) -> None:
        raise AssertionError

    on_invalid = on_cpuid = on_syscall

    def on_interrupt(self, vector: int, error_code: int) -> None:
        raise AssertionError(vector)

    def on_port(self, port: int) -> None:
        raise AssertionError(port)


def test_an_interrupted_loop_loses_and_repeats_nothing() -> None:
    """A read-modify-write of memory beside one of a register, interrupted many times from another thread."""
    memory = Memory(64, 64)
    memory.write(1, 0, bytes.fromhex("48ff042500200000 48ffc3 ebf3"))  # 1: incq 0x2000; inc %rbx; jmp 1b
    cpu = engine.Engine(memory, Silent(), until=0x3000)
    cpu.add_hooks()
    done = threading.Event()

    def interrupt() -> None:
        while not done.wait(0.0005):
            cpu.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    at, deadline, stops = 0x1000, time.monotonic() + 20, 0
    while stops < 100 and time.monotonic() < deadline:
        cpu.run(at)
        at = cpu.read("ip")
        stops += 1
    done.set()
    thread.join()
    assert stops == 100
    assert at == 0x1000 and int.from_bytes(memory.read(2, 0, 8), "little") == cpu.read("bx") > 0


@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize("machine", engine.STOP_IF_SET)
def test_the_block_hook_of_every_host(machine: str, flag: int) -> None:
    """Its machine code, executed: it returns, or jumps to the function with the first argument kept."""
    code = engine.STOP_IF_SET[machine] + (0x5000).to_bytes(8, "little")
    host = Uc(UC_ARCH_X86, UC_MODE_64) if machine == "x86_64" else Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    host.mem_map(0, 0x8000)
    host.mem_write(0x1000, code)
    host.mem_write(0x2000, bytes([flag]))
    reached: list[int] = []
    host.hook_add(UC_HOOK_CODE, lambda uc, at, size, user: reached.append(at) if at >= 0x4000 else None)
    if machine == "x86_64":
        host.mem_write(0x3000, (0x4000).to_bytes(8, "little"))
        host.mem_write(0x4000, b"\x90")
        host.mem_write(0x5000, b"\xc3")
        registers = {x86.UC_X86_REG_RDI: 7, x86.UC_X86_REG_RCX: 0x2000, x86.UC_X86_REG_RSP: 0x3000}
        first = x86.UC_X86_REG_RDI
    else:
        host.mem_write(0x4000, bytes.fromhex("1f2003d5"))
        host.mem_write(0x5000, bytes.fromhex("c0035fd6"))
        registers = {arm.UC_ARM64_REG_X0: 7, arm.UC_ARM64_REG_X3: 0x2000, arm.UC_ARM64_REG_X30: 0x4000}
        first = arm.UC_ARM64_REG_X0
    for register, value in registers.items():
        host.reg_write(register, value)
    host.emu_start(0x1000, 0x4000 + (1 if machine == "x86_64" else 4))
    assert reached == ([0x5000, 0x4000] if flag else [0x4000])
    assert host.reg_read(first) == 7
