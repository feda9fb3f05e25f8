"""Entries into the hypervisor: system calls, exceptions, and the frames that carry them on to the guest.

Frames are those of Xen's create_bounce_frame (xen/arch/x86/x86_64/entry.S, compat/entry.S) and of the iret hypercall.
"""

from __future__ import annotations

from pvboot.machine.cpuid import cpuid
from pvboot.machine.domain import Domain
from pvboot.machine.engine import Engine
from pvboot.machine.errors import GuestCrashError, GuestFaultError
from pvboot.machine.hypercalls import Hypercalls
from pvboot.machine.pagewrite import COMPARE_EXCHANGE, EXCHANGE, EXCHANGE_ADD, PageWrite, compute, decode
from pvboot.machine.privileged import PrivilegedInstructions
from pvboot.xen import constants as xen
from pvboot.xen._formats import IRET_CONTEXT
from pvboot.xen.paging import PTE_FRAME, PTE_RW

VECTOR_INVALID, VECTOR_NO_FPU, VECTOR_PROTECTION, VECTOR_PAGE_FAULT = 6, 7, 13, 14
WITH_ERROR_CODE = frozenset((8, 10, 11, 12, 13, 14, 17))
HYPERCALL_VECTOR = 0x82
EXCEPTION_VECTORS = 32

ERROR_PRESENT, ERROR_WRITE, ERROR_USER, ERROR_RESERVED = 1, 2, 4, 8
FLAG_INTERRUPTS = 0x200
FLAG_ALWAYS = 2
FLAGS_IOPL = 0x3000
FLAGS_CLEARED_FOR_HANDLER = 0x100 | 0x4000 | 0x10000 | 0x20000 | 0x40000  # TF, NT, RF, VM, AC
FLAGS_FROM_GUEST = 0x3F4FD7 & ~FLAGS_IOPL & ~0x20000

IRET = xen.HYPERCALL_NUMBERS["iret"]
CPUID_MARKER = b"\x0f\x0bxen\x0f\xa2"  # ud2, "xen", cpuid: Xen's forced emulation prefix


class Traps:
    """Handles every exit of the CPU for one domain; state between exits is in the domain's vCPU."""

    def __init__(self, domain: Domain, hypercalls: Hypercalls) -> None:
        self.domain = domain
        self.vcpu = domain.vcpu
        self.hypercalls = hypercalls
        self.boundaries = 0  # how often events were looked at: the watching thread uses it
        self.wants_step: tuple[int, int] | None = None  # a store to a table the run loop must step: address, error
        self.step_failed = False
        self.last_fault: int | None = None

    def connect(self, engine: Engine) -> None:
        """Use this CPU."""
        self.engine = engine
        self.privileged = PrivilegedInstructions(self.domain, engine, self.hypercalls.mmu)
        if self.domain.wide:
            self._call = engine.batch("ax", "di", "si", "dx", "r10", "r8", "sp", "ip", "flags", "r9")
            self._state = engine.batch("sp", "ip", "flags", "cx", "r11")
            self._return = engine.batch("ax", "sp", "cx", "r11", "flags", "ip")
        else:
            self._call = engine.batch("ax", "bx", "cx", "dx", "si", "di", "bp")
            self._state = engine.batch("sp", "ip", "flags")
            self._return = engine.batch("ax", "sp", "flags", "ip")
        self._registers = engine.batch("sp", "flags", "ip")

    # --- frames

    def bounce(self, handler: int, code: int | None, *, mask: bool, state: list[int] | None = None) -> None:
        """Make the guest continue in a handler, with a frame of where it was.

        `state` replaces the CPU's sp, ip, flags (and cx, r11) when those are not up to date.
        """
        state = self._state.read() if state is None else state
        in_kernel, saved_mask = self.vcpu.in_kernel, self.vcpu.mask
        frame, top = self._frame_of(state, saved_mask, code)
        stack = (top - len(frame)) & self.domain.word_mask
        try:
            self.domain.space.write(stack, frame)  # the address space is always the kernel's
        except GuestFaultError as fault:
            raise GuestCrashError(f"no stack to deliver a trap on: {fault}") from fault
        if not in_kernel:
            self._enter_kernel()
        if mask:
            self.vcpu.mask = 1
        flags = (state[2] & ~FLAGS_CLEARED_FOR_HANDLER & ~FLAGS_IOPL) | FLAG_INTERRUPTS | FLAG_ALWAYS
        self._registers.write(stack, flags, self._target(handler))

    def _target(self, address: int) -> int:
        return (address - self.engine.ip_bias) & self.domain.word_mask

    def _frame_of(self, state: list[int], saved_mask: int, code: int | None) -> tuple[bytes, int]:
        """The frame for a handler, and where the stack begins that it is pushed to."""
        pointer, address, flags = state[:3]
        flags = (flags & ~FLAG_INTERRUPTS) | (0 if saved_mask else FLAG_INTERRUPTS)
        error = [] if code is None else [code]
        vcpu = self.vcpu
        if not self.domain.wide:
            words = [*error, address, xen.FLAT_RING1_CS | saved_mask << 16, flags]
            return self.domain.pack_words(words), pointer
        if vcpu.in_kernel:
            top, selectors = pointer, (xen.FLAT_RING3_CS64 & ~3, xen.FLAT_RING3_SS64 & ~3)
        else:
            top, selectors = vcpu.kernel_stack, (vcpu.user_code_selector, vcpu.user_stack_selector)
        cx, r11 = state[3:]
        words = [cx, r11, *error, address, selectors[0] | saved_mask << 32, flags, pointer, selectors[1]]
        return self.domain.pack_words(words), top & ~15

    def _enter_kernel(self) -> None:
        self.vcpu.in_kernel = True
        self.engine.write("gs_base", self.vcpu.kernel_gs_base)
        self.engine.set_root(self.vcpu.kernel_root << 12)

    def _enter_user(self) -> None:
        if not self.vcpu.user_root:
            raise GuestCrashError("return to user mode without a user page table")
        self.vcpu.in_kernel = False
        self.engine.write("gs_base", self.vcpu.user_gs_base)
        self.engine.set_root(self.vcpu.user_root << 12)

    # --- events

    def deliver_events(self, state: list[int] | None = None) -> bool:
        """Let the timer and typed input make events, then an upcall if one is due; whether it was."""
        domain = self.domain
        self.boundaries += 1
        domain.timer.check()
        if domain.console.has_input:
            domain.console.serve()
        if not self.vcpu.pending:
            return False
        callback = self.vcpu.callbacks.get(xen.CALLBACKTYPE_EVENT)
        if callback is None or not callback.address:
            return False
        domain.counters["upcalls"] += 1
        self.bounce(callback.address, None, mask=True, state=state)
        return True

    # --- system calls

    def on_syscall(self) -> None:
        """`syscall`: a hypercall of the kernel, or a system call of a user program for the kernel."""
        ax, di, si, dx, r10, r8, sp, ip, flags, r9 = self._call.read()
        number = ax & 0xFFFFFFFF
        if not self.vcpu.in_kernel:
            self._user_syscall(sp, ip + 2, flags)
        elif number == IRET:
            self.domain.counters["iret"] += 1
            self._iret64(sp)
        else:
            result = self._hypercall(number, (di, si, dx, r10, r8, r9))
            self.engine.write("ax", result & 0xFFFF_FFFF_FFFF_FFFF)
            if self.domain.ending is None:
                # The CPU would return behind the instruction with rcx and r11 as `syscall` leaves them.
                self.deliver_events([sp, ip + 2, flags, ip + 2, flags])
        self._leave()

    def _leave(self) -> bool:
        """At the end of every exit: obey the watching thread.  The guest's state is exact here."""
        return bool(self.domain.abort_reason) and self.domain.check_abort()

    def _hypercall(self, number: int, arguments: tuple[int, ...]) -> int:
        domain = self.domain
        if domain.first_hypercall_cpu_seconds is None:
            domain.first_hypercall_cpu_seconds = domain.cpu_seconds()
        return self.hypercalls.call(number, arguments)

    def _user_syscall(self, sp: int, after: int, flags: int) -> None:
        self.domain.counters["user system calls"] += 1
        callback = self.vcpu.callbacks.get(xen.CALLBACKTYPE_SYSCALL)
        if callback is None or not callback.address:
            self._deliver(VECTOR_INVALID, None, [sp, after - 2, flags, after, flags])
            return
        self.bounce(callback.address, None, mask=callback.masks_events, state=[sp, after, flags, after, flags])

    def _iret_frame(self, sp: int) -> tuple[int, ...]:
        try:
            return self.domain.space.unpack(IRET_CONTEXT[self.domain.width], sp)
        except GuestFaultError as fault:
            raise GuestCrashError(f"iret without a frame: {fault}") from fault

    def _guest_flags(self, flags: int) -> int:
        """The flags that an iret may set; the interrupt flag is the guest's event mask instead."""
        self.vcpu.mask = 0 if flags & FLAG_INTERRUPTS else 1
        return (flags & FLAGS_FROM_GUEST) | FLAG_INTERRUPTS | FLAG_ALWAYS

    def _iret64(self, sp: int) -> None:
        ax, r11, cx, how, ip, code_selector, flags, new_sp, stack_selector = self._iret_frame(sp)
        if how & xen.VGCF_IN_SYSCALL:
            cx, r11 = ip, flags
        flags = self._guest_flags(flags)
        if code_selector & 3 == 3:
            self._check_user_selectors(code_selector, stack_selector)
            self._enter_user()
        if not self.deliver_events([new_sp, ip, flags, cx, r11]):
            self._return.write(ax, new_sp, cx, r11, flags, self._target(ip))
        else:
            self.engine.write("ax", ax)

    def _check_user_selectors(self, code_selector: int, stack_selector: int) -> None:
        if code_selector & 0xFFFF not in (xen.FLAT_RING3_CS64, 0x33):
            self.domain.counters["returns to foreign code segments"] += 1
            raise GuestCrashError(f"return to user code selector {code_selector:#x}: only 64-bit code runs here")
        self.vcpu.user_code_selector = code_selector & 0xFFFF
        self.vcpu.user_stack_selector = stack_selector & 0xFFFF

    def _hypercall32(self) -> None:
        ax, bx, cx, dx, si, di, bp = self._call.read()
        if ax == IRET:
            self.domain.counters["iret"] += 1
            self._iret32()
            return
        result = self._hypercall(ax, (bx, cx, dx, si, di, bp))
        self.engine.write("ax", result & 0xFFFF_FFFF)
        if self.domain.ending is None:
            self.deliver_events()

    def _iret32(self) -> None:
        sp = self.engine.read("sp")
        ax, ip, code_selector, flags = self._iret_frame(sp)
        if code_selector & 3 != 1:
            raise GuestCrashError(f"return to code selector {code_selector:#x}: 32-bit user programs do not run here")
        flags = self._guest_flags(flags)
        sp += IRET_CONTEXT[32].size
        if self.deliver_events([sp, ip, flags]):
            self.engine.write("ax", ax)
        else:
            self._return.write(ax, sp, flags, self._target(ip))

    # --- exceptions

    def on_interrupt(self, vector: int, error_code: int) -> None:
        """An exception of the guest, or a software interrupt."""
        if vector == HYPERCALL_VECTOR and not self.domain.wide:
            self._hypercall32()
        else:
            self._exception(vector, error_code)
        self._leave()

    def _exception(self, vector: int, error_code: int) -> None:
        self.domain.counters[f"trap {vector}"] += 1
        if self.wants_step is not None:
            # Either the engine has come here once more before stopping, or the stepped store meets another fault:
            # then the run loop gives the first one to the guest.
            self.step_failed = True
            self.engine.stop()
            return
        if vector == VECTOR_PAGE_FAULT:
            self._page_fault(error_code)
        elif vector == VECTOR_PROTECTION:
            self._protection_fault(error_code)
        elif vector >= EXCEPTION_VECTORS:
            self._software_interrupt(vector)
        else:
            if vector == VECTOR_NO_FPU:
                self.vcpu.task_switched = False
                self.engine.set_task_switched(False)
            self._deliver(vector, error_code if vector in WITH_ERROR_CODE else None)

    def _deliver(self, vector: int, code: int | None, state: list[int] | None = None) -> None:
        handler = self.vcpu.traps.get(vector)
        if handler is None or not handler.address:
            where = self.engine.read("ip")
            detail = f", address {self.last_fault:#x}" if vector == VECTOR_PAGE_FAULT and self.last_fault else ""
            mode = "kernel" if self.vcpu.in_kernel else "user"
            trap = f"trap {vector} in {mode} mode at {where:#x}, error code {code}{detail}"
            raise GuestCrashError(f"no handler for {trap}")
        self.bounce(handler.address, code, mask=handler.masks_events, state=state)

    def _software_interrupt(self, vector: int) -> None:
        """`int n`: the guest's handler if the privilege in its trap table allows it, else #GP at the instruction."""
        handler = self.vcpu.traps.get(vector)
        needed = 3 if not self.vcpu.in_kernel else 0
        if handler is not None and handler.address and handler.privilege >= needed:
            self._deliver(vector, None)
            return
        state = self._state.read()
        state[1] -= 2
        self._deliver(VECTOR_PROTECTION, vector * 8 + 2, state)

    def _protection_fault(self, code: int) -> None:
        if self.vcpu.in_kernel and not code:
            ip = self._state.read()[1]
            try:
                after = self.privileged.emulate(ip)
            except GuestFaultError:
                after = None
            if after is not None:
                self.engine.jump(after)
                self.deliver_events()
                return
        self._deliver(VECTOR_PROTECTION, code)

    def _page_fault(self, code: int) -> None:
        address = self.engine.read("cr2")
        self.last_fault = address
        in_kernel = self.vcpu.in_kernel
        code = code & ~ERROR_USER if in_kernel else code | ERROR_USER
        wanted = ERROR_PRESENT | ERROR_WRITE
        if in_kernel and code & (wanted | ERROR_RESERVED) == wanted and self._is_table_write(address):
            self._table_write(address, code)
            return
        self.deliver_page_fault(address, code)

    def deliver_page_fault(self, address: int, code: int) -> None:
        """Give a page fault to the guest."""
        self.vcpu.fault_address = address
        self._deliver(VECTOR_PAGE_FAULT, code)

    def _is_table_write(self, address: int) -> bool:
        leaf = self.domain.space.leaf(address)
        if leaf is None or not self.domain.space.is_guest_address(address):
            return False
        entry = leaf[1]
        return not entry & PTE_RW and self.domain.frames.is_l1((entry & PTE_FRAME) >> 12)

    # --- stores to page tables

    def _table_write(self, address: int, code: int) -> None:
        self.domain.counters["page-table stores"] += 1
        ip = self._state.read()[1]
        store = decode(self.domain.space.prefix(ip, 15).ljust(24, b"\0"), wide=self.domain.wide)
        if store is None or address & (store.size - 1):
            self.domain.counters["page-table stores stepped"] += 1
            self.wants_step = (address, code)
            self.engine.stop()
            return
        if self._store(store, self.domain.space.machine_address(address)):
            self.engine.jump(ip + store.length)
            self.deliver_events()
        else:
            self.deliver_page_fault(address, code)

    def _store(self, store: PageWrite, target: int) -> bool:
        """Perform a decoded store at a machine address; False if the new entry is refused."""
        engine = self.engine
        slot = target & ~7
        shift = 8 * (target & 7)
        mask = (1 << 8 * store.size) - 1
        word = self.domain.memory.words[slot >> 3]
        old = word >> shift & mask
        before = engine.read("flags")
        operand = engine.read(store.register) & mask if store.register else store.immediate
        accumulator = engine.read("ax") & mask if store.kind == COMPARE_EXCHANGE else 0
        new, flags = compute(store, old, operand, accumulator, before)
        if new != old and self.domain.frames.update_entry(slot, word & ~(mask << shift) | new << shift):
            return False
        if flags != before:
            engine.write("flags", flags)
        if store.kind in (EXCHANGE, EXCHANGE_ADD):
            engine.write(store.register, old)
        elif store.kind == COMPARE_EXCHANGE and accumulator != old:
            engine.write("ax", old)
        return True

    # --- instructions

    def on_invalid(self) -> None:
        """#UD, or Xen's forced emulation prefix in front of cpuid."""
        ip = self._state.read()[1]
        if self.vcpu.in_kernel and self.domain.space.prefix(ip, len(CPUID_MARKER)) == CPUID_MARKER:
            self._answer_cpuid()
            self.engine.jump(ip + len(CPUID_MARKER))
        else:
            self.domain.counters[f"trap {VECTOR_INVALID}"] += 1
            self._deliver(VECTOR_INVALID, None)
        self._leave()

    def on_port(self, port: int) -> None:
        """Count the access; nothing is behind any port."""
        self.domain.counters["port accesses"] += 1
        self._leave()

    def on_cpuid(self) -> None:
        """cpuid, in any mode."""
        self._answer_cpuid()
        self._leave()

    def _answer_cpuid(self) -> None:
        self.domain.counters["cpuid"] += 1
        values = cpuid(self.engine.read("ax") & 0xFFFFFFFF, self.engine.read("cx") & 0xFFFFFFFF)
        for name, value in zip(("ax", "bx", "cx", "dx"), values, strict=True):
            self.engine.write(name, value)
