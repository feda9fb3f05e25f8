"""The CPU: the only module that knows unicorn.

What is particular to this engine (version 2.1.4) is kept here:
- A hook replaces the delivery of an exception, so the engine never clears its record of the previous one and would
  turn the next fault into #DF: after every fault that record is reset in a saved context (`_acknowledge`).  Where it
  lies in the saved context is found by a probe at start-up, and so is the error code.
- In the hook of a `syscall` the engine adds the instruction's length to RIP afterwards, even to a RIP written there;
  other hooks use a written RIP as it is (`ip_bias`).
- `in` and `out` do not check the privilege level; their hooks stand for the empty bus that Xen shows to a guest.
- Stopping from another thread may hit the middle of an instruction: only `abandon` does it, and the guest cannot
  continue after that.  Everything else stops from inside a hook.  `interrupt` asks the hook of every block of code for
  that; in Python it would cost more than the guest itself, so it is a few bytes of machine code.
- The `until` address is looked up through the guest's tables, so it lies in a page of the machine's own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol

import unicorn as _unicorn
from unicorn import unicorn_const as uc_const
from unicorn import x86_const
from unicorn.unicorn_py3.unicorn import uclib

from pvboot.machine.errors import EngineFaultError, MachineError
from pvboot.machine.memory import Memory

# The binding carries no usable type information.
unicorn: Any = _unicorn

EFER = 0xC000_0080
EFER_LONG_MODE = 0xD01  # SCE, LME, LMA, NXE
EFER_PAE = 0x800
CR0_PV = 0x8005_0033
# PSE, PAE, MCE, OSFXSR, OSXMMEXCPT.  Not PGE: guests mark user pages global and Xen flushes those when it must;
# without PGE every load of cr3 flushes all, which is always right.
CR4_ENGINE = 0x670
CR0_TASK_SWITCHED = 8
SYSCALL_BYTES = 2
INSTRUCTION_BYTES = 15  # at most
# The request "drop the translations of a range", with two arguments, as uc_ctl takes it.
DROP_CODE = uc_const.UC_CTL_TB_REMOVE_CACHE | 2 << 26 | uc_const.UC_CTL_IO_WRITE << 30
CPU_MODEL = x86_const.UC_CPU_X86_NEHALEM  # the newest whose features all need neither XSAVE nor VEX: see cpuid.py
NO_EXCEPTION = 0xFFFFFFFF

WORD_NAMES = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
EXTENDED_NAMES = tuple(f"r{number}" for number in range(8, 16))
SEGMENT_NAMES = ("cs", "ss", "ds", "es", "fs", "gs")


class Handlers(Protocol):
    """The handlers of the guest's exits."""

    def on_syscall(self) -> None:
        """The guest executed `syscall`."""

    def on_interrupt(self, vector: int, error_code: int) -> None:
        """An exception, or a software interrupt (RIP then points behind it)."""

    def on_invalid(self) -> None:
        """An instruction the engine does not know, or ud2."""

    def on_cpuid(self) -> None:
        """The guest executed `cpuid`; RIP is advanced by the engine."""

    def on_port(self, port: int) -> None:
        """The guest has used an I/O port."""


BLOCK_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
# callback(engine, address, size, flag): return if the byte at `flag` is 0, else go to the address that follows, with
# the same first argument.  By the host's architecture, for the calling convention of Linux.
STOP_IF_SET = {
    "x86_64": bytes.fromhex("803900 7501 c3 ff2500000000"),  # cmpb $0, (%rcx); jne 1f; ret; 1: jmp *0(%rip)
    "aarch64": bytes.fromhex("64004039 44000035 c0035fd6 50000058 00021fd6"),
    # ldrb w4, [x3]; cbnz w4, 1f; ret; 1: ldr x16, 2f; br x16; 2:
}


# Asked for while the module is loaded: a confined process may not.
HOST = os.uname().machine if sys.platform == "linux" else ""


def native_stop(stop_function: int) -> mmap.mmap | None:
    """The callback as machine code that calls `stop_function`; None if this host needs one in Python."""
    code = STOP_IF_SET.get(HOST)
    if code is None:
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(code + stop_function.to_bytes(8, sys.byteorder))
    if HOST == "aarch64":
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        ctypes.CDLL("libgcc_s.so.1").__clear_cache(ctypes.c_void_p(start), ctypes.c_void_p(start + len(code) + 8))
    return page


class RegisterBatch:
    """A fixed set of registers, read or written by one call into the engine."""

    def __init__(self, handle: Any, identifiers: Iterable[int]) -> None:
        numbers = list(identifiers)
        self._handle = handle
        self._count = len(numbers)
        self._ids = (ctypes.c_int * self._count)(*numbers)
        self._values = (ctypes.c_uint64 * self._count)()
        base = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * self._count)(*(base + 8 * index for index in range(self._count)))

    def read(self) -> list[int]:
        """Current values, in the order of the names."""
        uclib.uc_reg_read_batch(self._handle, self._ids, self._pointers, self._count)
        return list(self._values)

    def write(self, *values: int) -> None:
        """Set all registers of the batch."""
        self._values[:] = list(values)
        uclib.uc_reg_write_batch(self._handle, self._ids, self._pointers, self._count)


def register_ids(width: int) -> dict[str, int]:
    """The engine's number of every register by a name without width prefix ("ax", "ip", "flags" ...)."""
    prefix = "R" if width == 64 else "E"
    ids = {name: getattr(x86_const, f"UC_X86_REG_{prefix}{name.upper()}") for name in WORD_NAMES}
    ids["ip"] = getattr(x86_const, f"UC_X86_REG_{prefix}IP")
    ids["flags"] = getattr(x86_const, f"UC_X86_REG_{prefix}FLAGS")
    names = [*SEGMENT_NAMES, "cr0", "cr2", "cr3", "cr4"]
    if width == 64:
        names += ["fs_base", "gs_base", *EXTENDED_NAMES]
    ids.update({name: getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in names})
    return ids


@lru_cache(maxsize=1)
def probe_context() -> tuple[int, int]:
    """Byte offsets in a saved context of the previous exception's number and of the error code.

    Two faults with known error codes tell where the error code is kept; the record of the previous exception is the
    field that, set back to -1, keeps a second fault from arriving as a double fault.
    """
    probe = _Probe()
    before = probe.context_bytes()
    vector, first = probe.fault(0x7FFB)
    _, second = _Probe().fault(0x6FFB)
    if vector != 13:
        raise MachineError("the CPU engine does not report faults as expected", expected="13", found=str(vector))
    places = range(0, len(before) - 3, 4)
    codes = [at for at in places if (_dword(first, at), _dword(second, at)) == (0x7FF8, 0x6FF8)]
    records = [at for at in places if (_dword(before, at), _dword(first, at)) == (NO_EXCEPTION, 13)]
    records = [at for at in records if _Probe().survives(at)]
    if len(codes) != 1 or len(records) != 1:
        raise MachineError(
            "the CPU engine's saved context is not understood",
            expected="one place for the error code and one for the last exception",
            found=f"{codes} and {records}",
        )
    return records[0], codes[0]


def _dword(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


class _Probe:
    """A bare engine that can be made to fault."""

    CODE = 0x1000

    def __init__(self) -> None:
        self._uc = unicorn.Uc(uc_const.UC_ARCH_X86, uc_const.UC_MODE_64)
        self._uc.mem_map(0, 0x4000)
        self._vectors: list[int] = []
        self._after = b""
        self._uc.hook_add(uc_const.UC_HOOK_INTR, self._on_interrupt)

    def context_bytes(self) -> bytes:
        context = self._uc.context_save()
        return ctypes.string_at(ctypes.cast(context.context, ctypes.c_void_p), context.size)

    def _on_interrupt(self, uc: Any, vector: int, user: object) -> None:
        self._vectors.append(vector)
        self._after = self.context_bytes()
        uc.emu_stop()

    def fault(self, selector: int) -> tuple[int, bytes]:
        """Load an impossible task register: vector met and the context saved in the hook."""
        self._uc.mem_write(self.CODE, b"\x66\xb8" + selector.to_bytes(2, "little") + b"\x0f\x00\xd8\x90")
        self._vectors = []
        self._uc.emu_start(self.CODE, self.CODE + 7)
        return (self._vectors or [-1])[0], self._after

    def survives(self, offset: int) -> bool:
        """Does setting this field to -1 after a fault make the next one arrive as itself?"""
        self.fault(0x7FFB)
        context = self._uc.context_save()
        base = ctypes.cast(context.context, ctypes.c_void_p).value
        assert base is not None
        ctypes.c_int32.from_address(base + offset).value = -1
        self._uc.context_restore(context)
        return self.fault(0x7FFB)[0] == 13


class Engine:
    """One virtual CPU over the machine's memory."""

    def __init__(self, memory: Memory, handlers: Handlers, until: int) -> None:
        self.width = memory.width
        mode = uc_const.UC_MODE_64 if self.width == 64 else uc_const.UC_MODE_32
        self._uc = unicorn.Uc(uc_const.UC_ARCH_X86, mode)
        self._uc.ctl_set_cpu_model(CPU_MODEL)
        # The buffer is kept alive as long as the engine.
        self._buffer = ctypes.c_char.from_buffer(memory.mm)
        self._uc.mem_map_ptr(0, memory.size_bytes, uc_const.UC_PROT_ALL, ctypes.addressof(self._buffer))
        self._handlers = handlers
        self._until = until
        self.ids = register_ids(self.width)
        self.ip_bias = 0
        self.failure: BaseException | None = None
        self._interrupted = ctypes.c_uint8()
        self.abandoned = False
        self.handle = self._uc._uch
        self._one = ctypes.c_uint64()
        self._one_pointer = ctypes.byref(self._one)
        record, code = probe_context()
        self._context = self._uc.context_save()
        base = ctypes.cast(self._context.context, ctypes.c_void_p).value
        assert base is not None
        self._last_exception = ctypes.c_int32.from_address(base + record)
        self._error_code = ctypes.c_uint32.from_address(base + code)

    # --- registers

    def batch(self, *names: str) -> RegisterBatch:
        """Fast access to several registers at once."""
        return RegisterBatch(self.handle, (self.ids[name] for name in names))

    def read(self, name: str) -> int:
        """One register."""
        self._one.value = 0
        uclib.uc_reg_read(self.handle, self.ids[name], self._one_pointer)
        return int(self._one.value)

    def write(self, name: str, value: int) -> None:
        """Set one register (not the instruction pointer: see `jump`)."""
        self._one.value = value
        uclib.uc_reg_write(self.handle, self.ids[name], self._one_pointer)

    def jump(self, address: int) -> None:
        """Continue at this address when the hook returns."""
        self.write("ip", (address - self.ip_bias) & ((1 << self.width) - 1))

    def registers(self) -> dict[str, int]:
        """All registers by name, for a report."""
        return {name: self.read(name) for name in self.ids}

    def set_root(self, address: int) -> None:
        """Load cr3 with a machine address; drops all translations."""
        self.write("cr3", address)

    def flush_tlb(self) -> None:
        """Drop all translations."""
        self._uc.ctl(uc_const.UC_CTL_TLB_FLUSH, uc_const.UC_CTL_IO_WRITE)

    def drop_code(self, address: int, size: int) -> None:
        """Drop what was translated from code at a virtual address, at most to the end of its page."""
        if uclib.uc_ctl(self.handle, DROP_CODE, ctypes.c_uint64(address), ctypes.c_uint64(address + size - 1)):
            raise MachineError("the CPU engine cannot drop translated code", found=hex(address))

    def drop_all_code(self) -> None:
        """Drop all translated code."""
        self._uc.ctl_flush_tb()

    def set_task_switched(self, on: bool) -> None:
        """CR0.TS: the next floating-point instruction faults."""
        self.write("cr0", CR0_PV | CR0_TASK_SWITCHED if on else CR0_PV)

    # --- setting up

    def tsc(self, code_address: int) -> int:
        """The time stamp counter as guests read it (runs `rdtsc` at a machine address; before paging is on)."""
        self._uc.mem_write(code_address, b"\x0f\x31\x90")
        self._uc.emu_start(code_address, code_address + 2)
        return self.read("dx") << 32 | self.read("ax")

    def enable_paging(self, root_address: int, gdt_address: int, gdt_limit: int) -> None:
        """Protected mode with paging, descriptor table and the hypervisor's ring 0 segments."""
        self.write("cr4", CR4_ENGINE)
        self._uc.msr_write(EFER, EFER_LONG_MODE if self.width == 64 else EFER_PAE)
        self.set_root(root_address)
        self._uc.reg_write(x86_const.UC_X86_REG_GDTR, (0, gdt_address, gdt_limit, 0))
        self.write("cr0", CR0_PV)

    def add_hooks(self) -> None:
        """Take over system calls, exceptions and cpuid."""
        add = self._uc.hook_add
        if self.width == 64:
            add(uc_const.UC_HOOK_INSN, self._on_syscall, None, 1, 0, x86_const.UC_X86_INS_SYSCALL)
        add(uc_const.UC_HOOK_INTR, self._on_interrupt)
        add(uc_const.UC_HOOK_INSN_INVALID, self._on_invalid)
        add(uc_const.UC_HOOK_INSN, self._on_cpuid, None, 1, 0, x86_const.UC_X86_INS_CPUID)
        add(uc_const.UC_HOOK_INSN, self._on_in, None, 1, 0, x86_const.UC_X86_INS_IN)
        add(uc_const.UC_HOOK_INSN, self._on_out, None, 1, 0, x86_const.UC_X86_INS_OUT)
        self._add_block_hook()

    def _add_block_hook(self) -> None:
        """Let every block begin by looking whether `interrupt` was called."""
        code = native_stop(ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value or 0)
        if code is None:
            self._block_hook: Any = BLOCK_CALLBACK(lambda *arguments: self._interrupted.value and self._uc.emu_stop())
            address = ctypes.cast(self._block_hook, ctypes.c_void_p)
        else:
            self._block_hook = code
            address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        whole = (ctypes.c_uint64(1), ctypes.c_uint64(0))
        flag = ctypes.byref(self._interrupted)
        kind = ctypes.c_int(uc_const.UC_HOOK_BLOCK)
        status = uclib.uc_hook_add(self.handle, ctypes.byref(ctypes.c_size_t()), kind, address, flag, *whole)
        if status:
            raise MachineError("the CPU engine refuses a hook", found=f"status {status}")

    # --- running

    def run(self, address: int, count: int = 0) -> None:
        """Execute from a virtual address until something stops the engine, or for `count` instructions.

        Raises what a handler raised, else EngineFaultError if the engine cannot go on.
        """
        self._interrupted.value = 0
        error: Exception | None = None
        try:
            self._uc.emu_start(address, self._until, count=count)
        except unicorn.UcError as err:
            error = err
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        if error is not None:
            raise EngineFaultError(str(error)) from error

    def step(self, address: int) -> None:
        """Execute one instruction; raises as `run` does.

        The block in which the engine stopped before would run on to its end: drop it.
        """
        self.drop_code(address, INSTRUCTION_BYTES)
        self.run(address, count=1)

    def snapshot(self) -> Any:
        """All registers, to come back to with `restore`."""
        return self._uc.context_save()

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot (outside hooks)."""
        self._uc.context_restore(snapshot)

    def stop(self) -> None:
        """Stop after the current instruction; from inside a hook only."""
        self._uc.emu_stop()

    def interrupt(self) -> None:
        """Stop before the next block of code begins (any thread).  The guest's state is exact then."""
        self._interrupted.value = 1

    def abandon(self) -> None:
        """Stop from another thread, for good: the guest's state is not exact afterwards."""
        self.abandoned = True
        self._uc.emu_stop()

    def _guarded(self, handler: Callable[..., None], *arguments: int) -> None:
        try:
            handler(*arguments)
        except BaseException as error:
            # An exception that leaves a callback is lost in the C code between here and `run`.
            self.failure = self.failure or error
            self._uc.emu_stop()

    def _acknowledge(self) -> int:
        """Reset the engine's record of the last exception; the error code of the current one."""
        uclib.uc_context_save(self.handle, self._context.context)
        self._last_exception.value = -1
        uclib.uc_context_restore(self.handle, self._context.context)
        return int(self._error_code.value)

    def _on_syscall(self, uc: Any, user: object) -> None:
        self.ip_bias = SYSCALL_BYTES
        self._guarded(self._handlers.on_syscall)
        self.ip_bias = 0

    def _on_interrupt(self, uc: Any, vector: int, user: object) -> None:
        self._guarded(self._interrupt, vector)

    def _interrupt(self, vector: int) -> None:
        # A software interrupt leaves no record, and int 0x82 is the 32-bit guest's hot path.
        code = self._acknowledge() if vector < 32 else 0
        self._handlers.on_interrupt(vector, code)

    def _on_invalid(self, uc: Any, user: object) -> bool:
        self._guarded(self._invalid)
        return True

    def _invalid(self) -> None:
        self._acknowledge()
        self._handlers.on_invalid()

    def _on_in(self, uc: Any, port: int, size: int, user: object) -> int:
        self._guarded(self._handlers.on_port, port)
        # There are no devices: all ones, as from an empty bus.
        return (1 << 8 * size) - 1

    def _on_out(self, uc: Any, port: int, size: int, value: int, user: object) -> None:
        self._guarded(self._handlers.on_port, port)

    def _on_cpuid(self, uc: Any, user: object) -> int:
        self._guarded(self._handlers.on_cpuid)
        return 1
