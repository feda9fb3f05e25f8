"""The hypercall table, and the hypercalls that have no file of their own (iret is with the traps).

A handler gets the argument words and returns the result word; what cannot be read or written ends as -EFAULT in the
dispatcher.  A number that is not in the table is -ENOSYS and counted.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from pvboot.machine import abi as xen
from pvboot.machine.channel_ops import EventChannelOps
from pvboot.machine.cpuid import XEN_VERSION_MAJOR, XEN_VERSION_MINOR
from pvboot.machine.domain import Call, Domain
from pvboot.machine.errors import GuestFaultError
from pvboot.machine.grant_ops import GrantOps
from pvboot.machine.mmu import Mmu
from pvboot.machine.vcpu import Callback, TrapHandler
from pvboot.machine.vcpu_ops import VcpuOps

Handler = Callable[..., int]

# XENFEAT_* as Xen reports them to a PV domU: mmu_pt_update_preserve_ad, highmem_assist, gnttab_map_avail_bits,
# memory_op_vnode_supported, linux_rsdp_unrestricted; and, once the assist is on, pae_pgdir_above_4gb.
FEATURES = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 13 | 1 << 17
FEATURE_PAE_ABOVE_4GB = 1 << 4
VM_ASSIST_PAE_EXTENDED_CR3 = 3
VM_ASSIST_MAX = 5

SHUTDOWN_REASONS = {0: "poweroff", 1: "reboot", 2: "suspend", 3: "crash", 4: "watchdog"}
SCHED_YIELD, SCHED_BLOCK, SCHED_SHUTDOWN, SCHED_POLL = range(4)
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
        self._abi = domain.abi
        self.mmu = Mmu(domain)
        self._vcpu_ops = VcpuOps(domain)
        self._channel_ops = EventChannelOps(domain)
        self._grant_ops = GrantOps(domain)
        self.interactive = interactive
        self._in_multicall = False
        self._table = self._make_table()

    def _make_table(self) -> dict[int, tuple[str, int, Handler]]:
        """Number -> name, how many arguments the handler takes, handler."""
        mmu, wide = self.mmu, self._domain.wide
        handlers: dict[str, tuple[int, Handler]] = {
            "set_trap_table": (1, self.set_trap_table),
            "mmu_update": (4, mmu.mmu_update),
            "set_gdt": (2, mmu.set_gdt),
            "stack_switch": (2, self.stack_switch),
            "set_callbacks": (3, self.set_callbacks) if wide else (4, self.set_callbacks32),
            "fpu_taskswitch": (1, self.fpu_taskswitch),
            "set_debugreg": (2, self.set_debugreg),
            "get_debugreg": (1, self.get_debugreg),
            "update_descriptor": (2, mmu.update_descriptor) if wide else (4, mmu.update_descriptor_halves),
            "memory_op": (2, mmu.memory_op),
            "multicall": (2, self.multicall),
            "update_va_mapping": (3, mmu.update_va_mapping) if wide else (4, mmu.update_va_mapping_halves),
            "set_timer_op": (1, self._vcpu_ops.set_timer) if wide else (2, self._vcpu_ops.set_timer32),
            "xen_version": (2, self.xen_version),
            "console_io": (3, self.console_io),
            "grant_table_op": (3, self._grant_ops.grant_table_op),
            "vm_assist": (2, self.set_vm_assist),
            "vcpu_op": (3, self._vcpu_ops.vcpu_op),
            "mmuext_op": (4, mmu.mmuext_op),
            "sched_op": (2, self.sched_op),
            "callback_op": (2, self.callback_op),
            "event_channel_op": (2, self._channel_ops.event_channel_op),
            "physdev_op": (2, self.physdev_op),
        }
        if wide:
            handlers["set_segment_base"] = (2, self.set_segment_base)
        numbers = {name: number for number, name in xen.HYPERCALL_NAMES.items()}
        return {numbers[name]: (name, arity, handler) for name, (arity, handler) in handlers.items()}

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
        layout = self._abi.multicall_entry
        size = self._abi.word_bytes
        self._in_multicall = True
        try:
            for index in range(count & 0xFFFFFFFF):
                if self._domain.ending is not None or (index and not index & 63 and self._domain.cut_short()):
                    return 0
                at = address + index * layout.size
                number, _, *arguments = self._space.unpack(layout, at)
                result = self.call(number, tuple(arguments))
                self._space.write(at + size, self._abi.result.pack(_wrap(result, self._abi.width)))
        finally:
            self._in_multicall = False
        return 0

    # --- traps, callbacks, stacks

    def set_trap_table(self, address: int) -> int:
        """Register trap handlers; a null table forgets them all."""
        if not address:
            self._vcpu.traps.clear()
            return 0
        layout = self._abi.trap_info
        for index in range(257):
            vector, flags, selector, handler = self._space.unpack(layout, address + index * layout.size)
            if not handler:
                break
            masks = bool(flags & xen.TRAP_MASKS_EVENTS)
            self._vcpu.traps[vector] = TrapHandler(handler, selector, flags & 3, masks)
        return 0

    def set_callbacks(self, event: int, failsafe: int, syscall: int) -> int:
        """The old way to register the three callbacks (64-bit)."""
        self._vcpu.callbacks[xen.CALLBACK_EVENT] = Callback(event, 0, True)
        self._vcpu.callbacks[xen.CALLBACK_FAILSAFE] = Callback(failsafe, 0, False)
        self._vcpu.callbacks[xen.CALLBACK_SYSCALL] = Callback(syscall, 0, False)
        return 0

    def set_callbacks32(self, event_cs: int, event: int, failsafe_cs: int, failsafe: int) -> int:
        """The old way to register the two callbacks (32-bit)."""
        self._vcpu.callbacks[xen.CALLBACK_EVENT] = Callback(event, event_cs, True)
        self._vcpu.callbacks[xen.CALLBACK_FAILSAFE] = Callback(failsafe, failsafe_cs, False)
        return 0

    def callback_op(self, command: int, address: int) -> int:
        """CALLBACKOP_register and _unregister."""
        if command == 0:
            kind, flags, *where = self._space.unpack(self._abi.callback_register, address)
            selector, handler = (0, where[0]) if self._domain.wide else (where[0], where[1])
        elif command == 1:
            kind, flags, selector, handler = *self._read_halves(address), 0, 0
        else:
            return -errno.ENOSYS
        kinds = [xen.CALLBACK_EVENT, xen.CALLBACK_FAILSAFE, xen.CALLBACK_NMI, xen.CALLBACK_SYSENTER]
        if self._domain.wide:
            kinds += [xen.CALLBACK_SYSCALL, xen.CALLBACK_SYSCALL32]
        if kind not in kinds:
            return -errno.ENOSYS
        if command == 1:
            if kind != xen.CALLBACK_NMI:
                return -errno.EINVAL  # Xen lets only the NMI callback go
            self._vcpu.callbacks.pop(kind, None)
            return 0
        masks = bool(flags & xen.CALLBACK_MASKS_EVENTS) or kind == xen.CALLBACK_EVENT
        self._vcpu.callbacks[kind] = Callback(handler, selector, masks)
        return 0

    def _read_halves(self, address: int) -> tuple[int, int]:
        data = self._space.read(address, 4)
        return int.from_bytes(data[:2], "little"), int.from_bytes(data[2:], "little")

    def stack_switch(self, selector: int, pointer: int) -> int:
        """The stack on which traps from user mode arrive."""
        self._vcpu.kernel_stack_selector = selector
        self._vcpu.kernel_stack = pointer
        return 0

    def set_segment_base(self, which: int, base: int) -> int:
        """FS base, user GS base, kernel GS base, or the user's GS selector."""
        if which < 3 and not self._space.is_guest_address(base):
            return -errno.EINVAL
        if which == 0:
            self._domain.cpu.write("fs_base", base)
        elif which == 1:
            self._vcpu.user_gs_base = base
        elif which == 2:
            self._vcpu.kernel_gs_base = base
            self._domain.cpu.write("gs_base", base)
        elif which != 3:
            return -errno.EINVAL
        return 0

    def fpu_taskswitch(self, on: int) -> int:
        """Set or clear the guest's CR0.TS."""
        self._vcpu.task_switched = bool(on)
        self._domain.cpu.set_task_switched(bool(on))
        return 0

    def set_debugreg(self, register: int, value: int) -> int:
        """Stored only: the machine sets no hardware breakpoints."""
        if register not in (0, 1, 2, 3, 6, 7):
            return -errno.EINVAL
        self._vcpu.debug_registers[register] = value
        return 0

    def get_debugreg(self, register: int) -> int:
        """The stored value."""
        if register not in (0, 1, 2, 3, 6, 7):
            return -errno.EINVAL
        return self._vcpu.debug_registers.get(register, 0)

    def set_vm_assist(self, command: int, kind: int) -> int:
        """Enable or disable a guest assist."""
        if command not in (0, 1) or kind > VM_ASSIST_MAX:
            return -errno.ENOSYS
        bit = 1 << kind
        self._domain.vm_assist = self._domain.vm_assist | bit if command == 0 else self._domain.vm_assist & ~bit
        self._domain.frames.extended_cr3 = bool(self._domain.vm_assist >> VM_ASSIST_PAE_EXTENDED_CR3 & 1)
        return 0

    # --- information

    def xen_version(self, command: int, address: int) -> int:
        """Version, names, features."""
        if command == 0:
            return XEN_VERSION_MAJOR << 16 | XEN_VERSION_MINOR
        if command == 6:
            return self._features(address)
        if command == 7:
            return xen.PAGE_BYTES
        if command == 5:
            self._space.write(address, self._abi.word.pack(self._domain.hypervisor.m2p_va))
            return 0
        texts = {
            1: b".0-pvboot".ljust(16, b"\0"),
            2: b"python".ljust(64, b"\0") + b"pvboot".ljust(16, b"\0") + bytes(64),
            3: (self._abi.capability + b" ").ljust(1024, b"\0"),
            4: b"unavailable".ljust(64, b"\0"),
            8: self._domain.guest_handle,
            9: bytes(1024),
        }
        if command not in texts:
            return -errno.ENOSYS
        self._space.write(address, texts[command])
        return 0

    def _features(self, address: int) -> int:
        index = int.from_bytes(self._space.read(address, 4), "little")
        features = 0
        if index == 0:
            features = FEATURES
            if self._domain.frames.extended_cr3:
                features |= FEATURE_PAE_ABOVE_4GB
        self._space.write(address + 4, features.to_bytes(4, "little"))
        return 0

    def console_io(self, command: int, count: int, address: int) -> int:
        """The emergency console: early output of kernels before their ring driver runs."""
        if command != 0:
            return 0
        count &= 0xFFFFFFFF
        for offset in range(0, count, CONSOLE_IO_MAX):
            if offset and self._domain.cut_short():
                break
            self._domain.console_output(self._space.read(address + offset, min(count - offset, CONSOLE_IO_MAX)))
        return 0

    def physdev_op(self, command: int, address: int) -> int:
        """I/O privilege is granted in name only: every port access traps anyway."""
        return 0 if command in (6, 7) else -errno.ENOSYS

    # --- scheduling

    def sched_op(self, command: int, address: int) -> int:
        """Yield, block, poll, shut down."""
        domain = self._domain
        if command == SCHED_YIELD:
            domain.serve_backends()
            return 0
        if command == SCHED_BLOCK:
            self._vcpu.mask = 0
            self._sleep(lambda: self._vcpu.upcall_pending, None)
            return 0
        if command == SCHED_SHUTDOWN:
            code = int.from_bytes(self._space.read(address, 4), "little")
            domain.serve_backends()
            domain.end(SHUTDOWN_REASONS.get(code, "crash"), code)
            return 0
        if command == SCHED_POLL:
            ports_address, count, timeout = self._space.unpack(self._abi.sched_poll, address)
            if count > POLL_PORTS_MAX:
                return -errno.EINVAL
            data = self._space.read(ports_address, 4 * count) if count else b""
            ports = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
            if any(port >= self._abi.port_count for port in ports):
                return -errno.EINVAL
            self._sleep(lambda: any(map(self._events.is_pending, ports)), timeout or None)
            return 0
        return -errno.ENOSYS

    def _sleep(self, awake: Callable[[], bool], timeout: int | None) -> None:
        """Serve back ends and timer until something has happened, or until the absolute time `timeout` (ns).

        With nothing that could ever happen the guest is halted.
        """
        self._domain.counters["sleeps"] += 1
        with self._domain.asleep():
            self._wait(awake, timeout)

    def _wait(self, awake: Callable[[], bool], timeout: int | None) -> None:
        domain = self._domain
        while not domain.give_up_if_told():
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


def _wrap(value: int, width: int) -> int:
    """A result as the signed word that fits the guest's register."""
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value
