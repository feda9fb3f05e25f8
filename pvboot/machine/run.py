"""Starting the CPU and keeping it running: the loop around the engine, limits, and the report at the end."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from pvboot.kexec.vcpu import VcpuContext
from pvboot.machine.clock import measure
from pvboot.machine.domain import Domain, Ending
from pvboot.machine.engine import Engine
from pvboot.machine.errors import EngineFaultError, GuestCrashError, GuestFaultError, MachineError
from pvboot.machine.hypercalls import Hypercalls
from pvboot.machine.hypervisor import (
    ENTRY_FRAME_OFFSET,
    GDT_LIMIT,
    RING0_CODE,
    RING0_DATA,
    TSC_CODE_OFFSET,
    UNTIL_OFFSET,
)
from pvboot.machine.kernel_log import kernel_log
from pvboot.machine.outcome import Outcome, Report, RunLimits
from pvboot.machine.tables import GUEST
from pvboot.machine.traps import Traps
from pvboot.machine.watcher import Watcher
from pvboot.xen._formats import SHARED_INFO_OFFSETS
from pvboot.xen.paging import PTE_DIRTY, PTE_RW

STACK_WORDS = 16
RESUMABLE = ("until", "stopped")


class Runner:
    """One guest on one engine."""

    def __init__(self, domain: Domain, hypercalls: Hypercalls, context: VcpuContext) -> None:
        self.domain = domain
        self.traps = Traps(domain, hypercalls)
        self._until_va = domain.hypervisor.entry_va + UNTIL_OFFSET
        self.engine = Engine(domain.memory, self.traps, self._until_va)
        self._start_clock()
        self.engine.enable_paging(domain.root_address(), domain.hypervisor.gdt_va, GDT_LIMIT)
        self._enter(context)
        self.traps.connect(self.engine)
        self.engine.add_hooks()
        domain.cpu = self.engine
        self._finished = False
        self._used_cpu = 0.0

    # --- starting

    def _start_clock(self) -> None:
        """Measure the TSC against the host's clock and publish the factors; system time starts at zero.

        The factors stay as they are: the guest's 64-bit arithmetic serves for longer than any run.
        """
        domain = self.domain
        code = (domain.hypervisor.entry_mfn << 12) + TSC_CODE_OFFSET
        self.engine.tsc(code)  # the first run translates
        scale, origin_ns = measure(lambda: self.engine.tsc(code))
        domain.clock.start(origin_ns)
        domain.vcpu.write_time(scale.base, 0, scale.multiplier, scale.shift)
        at = SHARED_INFO_OFFSETS[domain.width]
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        clock = {
            at.wc_version: 2,
            at.wc_sec: seconds & 0xFFFFFFFF,
            at.wc_nsec: nanoseconds,
            at.wc_sec_hi: seconds >> 32,
        }
        for offset, value in clock.items():
            domain.memory.write(domain.memory.shared_info_mfn, offset, value.to_bytes(4, "little"))

    def _enter(self, context: VcpuContext) -> None:
        """Prepare the entry page's iret to start the guest: the engine cannot lower its privilege otherwise."""
        domain, engine = self.domain, self.engine
        flags = context.rflags | 0x202  # Xen forces interrupts on: masking is by upcall_mask only
        ring = 3 if domain.wide else 1
        frame = (context.ip, context.cs | ring, flags, context.sp, context.ss | ring)
        domain.memory.write(domain.hypervisor.entry_mfn, ENTRY_FRAME_OFFSET, domain.pack_words(frame))
        if not domain.wide:
            for name in ("ds", "es", "fs", "gs"):
                engine.write(name, context.ds)
            engine.write("cs", RING0_CODE)
            engine.write("ss", RING0_DATA)
        for name in ("ax", "bx", "cx", "dx", "di", "bp"):
            engine.write(name, 0)
        engine.write("si", context.si)
        engine.write("sp", domain.hypervisor.entry_va + ENTRY_FRAME_OFFSET)
        self._resume_at = domain.hypervisor.entry_va

    # --- running

    def run(self, limits: RunLimits, until: bytes | None) -> Outcome:
        """See `Machine.run`."""
        domain = self.domain
        if self._finished:
            raise MachineError("the guest has ended and cannot run again")
        domain.ending = None
        domain.abort_reason = ""
        domain.end_at(until)
        started = time.thread_time()
        used_before = self._used_cpu
        domain.cpu_seconds = lambda: used_before + time.thread_time() - started
        domain.console_cpu_seconds = used_before
        domain.slept_seconds = 0.0
        watcher = Watcher(domain, self.traps, self.engine, limits)
        watcher.start()
        try:
            self._loop()
        finally:
            watcher.finish()
            self._used_cpu = domain.cpu_seconds()
        ending = domain.ending
        assert ending is not None
        self._finished = self._finished or domain.call_unfinished or ending.reason not in RESUMABLE
        return self._outcome(ending)

    def _loop(self) -> None:
        domain = self.domain
        while domain.ending is None:
            try:
                self.engine.run(self._resume_at)
                if domain.ending is None:
                    self._between(self.engine.read("ip"))
            except (GuestCrashError, GuestFaultError) as crash:
                domain.ending = _crash(crash)
            except EngineFaultError as fault:
                domain.ending = domain.ending or Ending(domain.abort_reason or "fault", None, str(fault))
            self._resume_at = self.engine.read("ip")

    def _between(self, address: int) -> None:
        """The engine has stopped and the guest is to go on: do what could not be done inside a hook."""
        domain = self.domain
        if domain.abort_reason:
            domain.ending = Ending(domain.abort_reason)
            self._finished = self._finished or self.engine.abandoned
        elif address == self._until_va:
            raise GuestCrashError("the guest jumped into the hypervisor's entry page")
        elif self.traps.wants_step is not None:
            self._step()
        else:
            domain.serve_backends()
            self.traps.deliver_events()

    def _step(self) -> None:
        """Let the CPU do one store to a page table on a copy of it, then apply the changed entries with their checks.

        If an entry is refused, or the instruction meets another fault, it has not happened and the guest gets the
        first fault.
        """
        domain, traps = self.domain, self.traps
        assert traps.wants_step is not None
        address, code = traps.wants_step
        memory = domain.memory
        leaf = domain.space.leaf(address)
        assert leaf is not None
        slot, entry = leaf
        table = domain.space.machine_address(address) >> 12
        scratch = domain.hypervisor.scratch_mfn
        before = self.engine.snapshot()
        memory.frames[scratch] = memory.frames[table]
        memory.words[slot] = scratch << 12 | (entry & 0xFFF0_0000_0000_0FFF) | PTE_RW | PTE_DIRTY
        domain.flush()
        traps.step_failed = False
        try:
            self.engine.step(self.engine.read("ip"))
        finally:
            memory.words[slot] = entry
            domain.flush()
            traps.wants_step = None
        if traps.step_failed or not self._apply(table, scratch):
            self.engine.restore(before)
            traps.deliver_page_fault(address, code)

    def _apply(self, table: int, scratch: int) -> bool:
        frames = self.domain.memory.frames
        done: list[tuple[int, int]] = []
        for index in np.flatnonzero(frames[table] != frames[scratch]):
            address, old = (table << 12) + 8 * int(index), int(frames[table, index])
            if self.domain.frames.update_entry(address, int(frames[scratch, index])):
                for earlier in reversed(done):
                    self.domain.frames.update_entry(*earlier)
                return False
            done.append((address, old))
        return True

    # --- the end

    def _outcome(self, ending: Ending) -> Outcome:
        domain = self.domain
        counters = dict(domain.counters)
        counters.update(domain.frames.counters)
        counters["timer events"] = domain.timer.fired
        counters["frames of changed code"] = domain.code.dropped
        counters["xenstore requests"] = domain.xenstore.requests
        outcome = Outcome(
            reason=ending.reason,
            code=ending.code,
            detail=ending.detail,
            cpu_seconds=self._used_cpu,
            counters=counters,
            first_hypercall=domain.first_hypercall_cpu_seconds,
            first_console=domain.first_console_cpu_seconds,
            console_tail=bytes(domain.console_tail),
        )
        if outcome.ok or ending.reason == "stopped":
            return outcome
        return replace(outcome, report=self.report())

    def report(self) -> Report:
        """Registers, last hypercalls, page walk, stack and kernel log of the stopped guest."""
        domain = self.domain
        fault = self.traps.last_fault
        root = domain.vcpu.kernel_root if domain.vcpu.in_kernel else domain.vcpu.user_root
        return Report(
            registers=self.engine.registers(),
            in_kernel=domain.vcpu.in_kernel,
            hypercalls=tuple(domain.recent),
            fault_address=fault,
            fault_walk=tuple(domain.space.walk(fault, root)) if fault is not None else (),
            stack=self._stack(),
            kernel_log=kernel_log(domain.memory.frames, self._guest_order()),
        )

    def _stack(self) -> tuple[int, ...]:
        size = self.domain.word_bytes
        try:
            data = self.domain.space.prefix(self.engine.read("sp"), STACK_WORDS * size)
        except GuestFaultError:
            return ()
        return tuple(int.from_bytes(data[at : at + size], "little") for at in range(0, len(data) - size + 1, size))

    def _guest_order(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The guest's frames in the order of the pseudo-physical numbers it gives them now."""
        owned = np.flatnonzero(self.domain.frames.owner == GUEST)
        return owned[np.argsort(self.domain.memory.m2p[owned], kind="stable")]


def _crash(cause: GuestCrashError | GuestFaultError) -> Ending:
    """The end of a guest whose trap cannot be taken: it may have unmapped the very code that it runs."""
    text = f"memory that a trap needs is not mapped: {cause}" if isinstance(cause, GuestFaultError) else str(cause)
    return Ending("crash", None, text)
