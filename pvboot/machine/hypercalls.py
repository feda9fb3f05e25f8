"""The hypercall table, and the hypercalls that have no file of their own (iret is with the traps).

A handler gets the argument words and returns the result word; what cannot be read or written ends as -EFAULT in the
dispatcher.  A number that is not in the table is -ENOSYS and counted.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from pvboot.machine.channel_ops import EventChannelOps
from pvboot.machine.cpuid import XEN_VERSION
from pvboot.machine.domain import Call, Domain
from pvboot.machine.errors import GuestFaultError
from pvboot.machine.grant_ops import GrantOps
from pvboot.machine.mmu import Mmu
from pvboot.machine.vcpu import Handler
from pvboot.machine.vcpu_ops import VcpuOps
from pvboot.xen import constants as xen
from pvboot.xen._formats import (
    CALLBACK_REGISTER,
    MULTICALL_ENTRY,
    MULTICALL_ENTRY_OFFSETS,
    SCHED_POLL,
    TRAP_INFO,
    XEN_FEATURE_INFO,
)
from pvboot.xen.paging import PAGE_SIZE

Hypercall = Callable[..., int]

# What Xen reports to a PV domU; PAE_PGDIR_ABOVE_4GB comes to it once the guest has turned the assist on.
FEATURES = (
    1 << xen.XENFEAT_MMU_PT_UPDATE_PRESERVE_AD
    | 1 << xen.XENFEAT_HIGHMEM_ASSIST
    | 1 << xen.XENFEAT_GNTTAB_MAP_AVAIL_BITS
    | 1 << xen.XENFEAT_MEMORY_OP_VNODE_SUPPORTED
    | 1 << xen.XENFEAT_DIRECT_MAPPED
)
DEBUG_REGISTERS = (0, 1, 2, 3, 6, 7)
POLL_PORTS_MAX = 128
CONSOLE_IO_MAX = 1 << 16

SLEEP_STEP_SECONDS = 0.01


class Hypercalls:
    """Handlers for one domain."""

    def __init__(self, domain: Domain, *, interactive: bool = False) -> None:
        self._domain = domain
        self._space = domain.space
        self._vcpu = domain.vcpu
        self._events = domain.events
        self._width = domain.width
        self.mmu = Mmu(domain)
        self._vcpu_ops = VcpuOps(domain)
        self._channel_ops = EventChannelOps(domain)
        self._grant_ops = GrantOps(domain)
        self.interactive = interactive
        self._in_multicall = False
        self._table = self._make_table()

    def _make_table(self) -> dict[int, tuple[str, int, Hypercall]]:
        """Number -> name, how many argument words the handler takes, handler.

        Arguments are words, "d" marks those of 64 bits, which a 32-bit guest passes as two.
        """
        mmu, wide = self.mmu, self._domain.wide
        handlers: dict[str, tuple[str, Hypercall]] = {
            "set_trap_table": ("w", self.set_trap_table),
            "mmu_update": ("wwww", mmu.mmu_update),
            "set_gdt": ("ww", mmu.set_gdt),
            "stack_switch": ("ww", self.stack_switch),
            "set_callbacks": ("www", self.set_callbacks) if wide else ("wwww", self.set_callbacks32),
            "fpu_taskswitch": ("w", self.fpu_taskswitch),
            "set_debugreg": ("ww", self.set_debugreg),
            "get_debugreg": ("w", self.get_debugreg),
            "update_descriptor": ("dd", mmu.update_descriptor),
            "memory_op": ("ww", mmu.memory_op),
            "multicall": ("ww", self.multicall),
            "update_va_mapping": ("wdw", mmu.update_va_mapping),
            "set_timer_op": ("d", self._vcpu_ops.set_timer),
            "xen_version": ("ww", self.xen_version),
            "console_io": ("www", self.console_io),
            "grant_table_op": ("www", self._grant_ops.grant_table_op),
            "vm_assist": ("ww", self.set_vm_assist),
            "vcpu_op": ("www", self._vcpu_ops.vcpu_op),
            "mmuext_op": ("wwww", mmu.mmuext_op),
            "sched_op": ("ww", self.sched_op),
            "callback_op": ("ww", self.callback_op),
            "event_channel_op": ("ww", self._channel_ops.event_channel_op),
            "physdev_op": ("ww", self.physdev_op),
        }
        if wide:
            handlers["set_segment_base"] = ("ww", self.set_segment_base)
        table = {}
        for name, (shape, handler) in handlers.items():
            words = [2 if kind == "d" and not wide else 1 for kind in shape]
            joined = handler if max(words) == 1 else _joining(handler, words)
            table[xen.HYPERCALL_NUMBERS[name]] = (name, sum(words), joined)
        return table

    def call(self, number: int, arguments: tuple[int, ...]) -> int:
        """Perform one hypercall; the result as a signed number."""
        domain = self._domain
        entry = self._table.get(number)
        if entry is None:
            name = xen.HYPERCALL_NAMES.get(number, f"hypercall {number}" if number < 64 else "hypercall")
            domain.counters[f"unknown {name}"] += 1
            result = -errno.ENOSYS
        else:
            name, arity, handler = entry
            try:
                result = handler(*arguments[:arity])
            except GuestFaultError:
                result = -errno.EFAULT
        domain.counters[name] += 1
        domain.recent.append(Call(name, arguments, result))
        return result

    def multicall(self, address: int, count: int) -> int:
        """A list of hypercalls, each with its own result."""
        if self._in_multicall:
            return -errno.EINVAL
        layout, offset = MULTICALL_ENTRY[self._width], MULTICALL_ENTRY_OFFSETS[self._width].result
        self._in_multicall = True
        try:
            for index in range(count & 0xFFFFFFFF):
                if self._domain.ending is not None or (index and not index & 63 and self._domain.abort_call()):
                    return 0
                at = address + index * layout.size
                number, _, *arguments = self._space.unpack(layout, at)
                result = self.call(number, tuple(arguments))
                self._space.write_int(at + offset, result & self._domain.word_mask, self._domain.word_bytes)
        finally:
            self._in_multicall = False
        return 0

    # --- traps, callbacks, stacks

    def set_trap_table(self, address: int) -> int:
        """Register trap handlers; a null table forgets them all."""
        if not address:
            self._vcpu.traps.clear()
            return 0
        layout = TRAP_INFO[self._width]
        for index in range(257):
            vector, flags, selector, handler = self._space.unpack(layout, address + index * layout.size)
            if not handler:
                break
            self._vcpu.traps[vector] = Handler(handler, selector, bool(flags & xen.TI_MASKS_EVENTS), flags & 3)
        return 0

    def set_callbacks(self, event: int, failsafe: int, syscall: int) -> int:
        """The old way to register the three callbacks (64-bit)."""
        self._vcpu.callbacks[xen.CALLBACKTYPE_SYSCALL] = Handler(syscall, 0, False)
        return self.set_callbacks32(0, event, 0, failsafe)

    def set_callbacks32(self, event_cs: int, event: int, failsafe_cs: int, failsafe: int) -> int:
        """The old way to register the two callbacks (32-bit)."""
        self._vcpu.callbacks[xen.CALLBACKTYPE_EVENT] = Handler(event, event_cs, True)
        self._vcpu.callbacks[xen.CALLBACKTYPE_FAILSAFE] = Handler(failsafe, failsafe_cs, False)
        return 0

    def callback_op(self, command: int, address: int) -> int:
        """CALLBACKOP_register and _unregister."""
        selector = handler = 0
        if command == xen.CALLBACKOP_REGISTER:
            kind, flags, *selectors, handler = self._space.unpack(CALLBACK_REGISTER[self._width], address)
            selector = selectors[0] if selectors else 0
        elif command == xen.CALLBACKOP_UNREGISTER:
            kind, flags = self._space.read_ints(address, 2, 2)
        else:
            return -errno.ENOSYS
        kinds = {xen.CALLBACKTYPE_EVENT, xen.CALLBACKTYPE_FAILSAFE, xen.CALLBACKTYPE_NMI, xen.CALLBACKTYPE_SYSENTER}
        if self._domain.wide:
            kinds |= {xen.CALLBACKTYPE_SYSCALL, xen.CALLBACKTYPE_SYSCALL32}
        if kind not in kinds:
            return -errno.ENOSYS
        if command == xen.CALLBACKOP_UNREGISTER:
            if kind != xen.CALLBACKTYPE_NMI:
                return -errno.EINVAL  # Xen lets only the NMI callback go
            self._vcpu.callbacks.pop(kind, None)
            return 0
        masks = bool(flags & xen.CALLBACKF_MASK_EVENTS) or kind == xen.CALLBACKTYPE_EVENT
        self._vcpu.callbacks[kind] = Handler(handler, selector, masks)
        return 0

    def stack_switch(self, selector: int, pointer: int) -> int:
        """The stack on which traps from user mode arrive."""
        self._vcpu.kernel_stack_selector = selector
        self._vcpu.kernel_stack = pointer
        return 0

    def set_segment_base(self, which: int, base: int) -> int:
        """FS base, user GS base, kernel GS base, or the user's GS selector."""
        if which != xen.SEGBASE_GS_USER_SEL and not self._space.is_guest_address(base):
            return -errno.EINVAL
        if which == xen.SEGBASE_FS:
            self._domain.cpu.write("fs_base", base)
        elif which == xen.SEGBASE_GS_USER:
            self._vcpu.user_gs_base = base
        elif which == xen.SEGBASE_GS_KERNEL:
            self._vcpu.kernel_gs_base = base
            self._domain.cpu.write("gs_base", base)
        elif which != xen.SEGBASE_GS_USER_SEL:
            return -errno.EINVAL
        return 0

    def fpu_taskswitch(self, on: int) -> int:
        """Set or clear the guest's CR0.TS."""
        self._vcpu.task_switched = bool(on)
        self._domain.cpu.set_task_switched(bool(on))
        return 0

    def set_debugreg(self, register: int, value: int) -> int:
        """Stored only: the machine sets no hardware breakpoints."""
        if register not in DEBUG_REGISTERS:
            return -errno.EINVAL
        self._vcpu.debug_registers[register] = value
        return 0

    def get_debugreg(self, register: int) -> int:
        """The stored value."""
        if register not in DEBUG_REGISTERS:
            return -errno.EINVAL
        return self._vcpu.debug_registers.get(register, 0)

    def set_vm_assist(self, command: int, kind: int) -> int:
        """Enable or disable a guest assist."""
        if command not in (xen.VMASST_CMD_ENABLE, xen.VMASST_CMD_DISABLE):
            return -errno.ENOSYS
        if kind > xen.VMASST_TYPE_RUNSTATE_UPDATE_FLAG:
            return -errno.ENOSYS
        assists = self._domain.vm_assist & ~(1 << kind)
        self._domain.set_vm_assist(assists | 1 << kind if command == xen.VMASST_CMD_ENABLE else assists)
        return 0

    # --- information

    def xen_version(self, command: int, address: int) -> int:
        """Version, names, features."""
        if command == xen.XENVER_VERSION:
            return XEN_VERSION
        if command == xen.XENVER_GET_FEATURES:
            return self._features(address)
        if command == xen.XENVER_PAGESIZE:
            return PAGE_SIZE
        if command == xen.XENVER_PLATFORM_PARAMETERS:
            self._space.write_int(address, self._domain.hypervisor.m2p_va, self._domain.word_bytes)
            return 0
        texts = {
            xen.XENVER_EXTRAVERSION: b".0-pvboot".ljust(16, b"\0"),
            xen.XENVER_COMPILE_INFO: b"python".ljust(64, b"\0") + b"pvboot".ljust(16, b"\0") + bytes(64),
            xen.XENVER_CAPABILITIES: f"{xen.GUEST_TYPES[self._width]} ".encode().ljust(1024, b"\0"),
            xen.XENVER_CHANGESET: b"unavailable".ljust(64, b"\0"),
            xen.XENVER_GUEST_HANDLE: self._domain.guest_handle,
            xen.XENVER_COMMANDLINE: bytes(1024),
        }
        if command not in texts:
            return -errno.ENOSYS
        self._space.write(address, texts[command])
        return 0

    def _features(self, address: int) -> int:
        features = 0
        submap, _ = self._space.unpack(XEN_FEATURE_INFO, address)
        if submap == 0:  # the only one there is
            features = FEATURES | self._domain.frames.extended_cr3 << xen.XENFEAT_PAE_PGDIR_ABOVE_4GB
        self._space.write(address, XEN_FEATURE_INFO.pack(submap, features))
        return 0

    def console_io(self, command: int, count: int, address: int) -> int:
        """The emergency console: early output of kernels before their ring driver runs."""
        if command != xen.CONSOLEIO_WRITE:
            return 0
        count &= 0xFFFFFFFF
        for offset in range(0, count, CONSOLE_IO_MAX):
            if offset and self._domain.abort_call():
                break
            self._domain.console_output(self._space.read(address + offset, min(count - offset, CONSOLE_IO_MAX)))
        return 0

    def physdev_op(self, command: int, address: int) -> int:
        """I/O privilege is granted in name only: every port access traps anyway."""
        return 0 if command in (xen.PHYSDEVOP_SET_IOPL, xen.PHYSDEVOP_SET_IOBITMAP) else -errno.ENOSYS

    # --- scheduling

    def sched_op(self, command: int, address: int) -> int:
        """Yield, block, poll, shut down."""
        domain = self._domain
        if command == xen.SCHEDOP_YIELD:
            domain.serve_backends()
            return 0
        if command == xen.SCHEDOP_BLOCK:
            self._vcpu.mask = 0
            self._sleep(lambda: self._vcpu.upcall_pending, None)
            return 0
        if command == xen.SCHEDOP_SHUTDOWN:
            code = self._space.read_int(address)
            domain.serve_backends()
            domain.end(xen.SHUTDOWN_REASONS.get(code, "crash"), code)
            return 0
        return self._poll(address) if command == xen.SCHEDOP_POLL else -errno.ENOSYS

    def _poll(self, address: int) -> int:
        ports_address, count, timeout = self._space.unpack(SCHED_POLL[self._width], address)
        if count > POLL_PORTS_MAX:
            return -errno.EINVAL
        ports = self._space.read_ints(ports_address, count, 4)
        if any(port >= self._events.port_count for port in ports):
            return -errno.EINVAL
        self._sleep(lambda: any(map(self._events.is_pending, ports)), timeout or None)
        return 0

    def _sleep(self, awake: Callable[[], bool], timeout: int | None) -> None:
        """Serve back ends and timer until something has happened, or until the absolute time `timeout` (ns).

        With nothing that could ever happen the guest is halted.
        """
        self._domain.counters["sleeps"] += 1
        with self._domain.asleep():
            self._wait(awake, timeout)

    def _wait(self, awake: Callable[[], bool], timeout: int | None) -> None:
        domain = self._domain
        while not domain.check_abort():
            domain.serve_backends()
            domain.timer.check()
            if awake() or domain.ending is not None:
                return
            now = domain.clock.now()
            if timeout is not None and now >= timeout:
                return
            due = [moment for moment in (domain.timer.next_due, timeout) if moment is not None]
            if not due and not self.interactive:
                domain.end("halted", detail="blocked, and nothing is left that could wake the guest")
                return
            wait = max((min(due) - now) / 1e9, 0) + 0.00002 if due else SLEEP_STEP_SECONDS
            time.sleep(min(wait, SLEEP_STEP_SECONDS))


def _joining(handler: Hypercall, words: list[int]) -> Hypercall:
    """A handler for the same arguments given as words: 1 each, or 2 (low, high) for those of 64 bits."""

    def call(*arguments: int) -> int:
        left = iter(arguments)
        return handler(*(next(left) | next(left) << 32 if count == 2 else next(left) for count in words))

    return call
