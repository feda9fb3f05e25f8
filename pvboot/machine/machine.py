"""The machine as its users see it: a domain to fill and a guest to run.

    machine = Machine(64, nr_pages, output=print_bytes)
    ... write frames, `toolstack_pin`, `attach_console`, `attach_xenstore`, `set_vcpu` ...
    outcome = machine.run(RunLimits(cpu_seconds=30))

The CPU engine is loaded by the first `run`; everything before works without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pvboot.kexec.vcpu import VcpuContext
from pvboot.machine.domain import CONSOLE_PORT, STORE_PORT, Domain
from pvboot.machine.errors import MachineError, RefusedError
from pvboot.machine.hypercall_page import hypercall_page
from pvboot.machine.hypercalls import Hypercalls
from pvboot.machine.outcome import Outcome, RunLimits
from pvboot.machine.xenstore_tree import preset_domain
from pvboot.xen.constants import GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE

if TYPE_CHECKING:
    from pvboot.machine.run import Runner


class Machine:
    """One PV guest with one vCPU."""

    def __init__(
        self,
        width: int,
        nr_pages: int,
        *,
        strict: bool = True,
        frame_seed: int | None = None,
        output: Callable[[bytes], None] | None = None,
        interactive: bool = False,
        name: str = "guest",
    ) -> None:
        """`frame_seed` shuffles which frames the guest gets; `interactive` lets a guest that waits for input wait."""
        self.domain = Domain(width, nr_pages, strict=strict, frame_seed=frame_seed, output=output)
        self.width = width
        self.nr_pages = nr_pages
        self.hypercalls = Hypercalls(self.domain, interactive=interactive)
        self._name = name
        self._ring_mfns = {"console": 0, "store": 0}
        self._context: VcpuContext | None = None
        self._runner: Runner | None = None

    # --- memory

    @property
    def p2m(self) -> npt.NDArray[np.uint64]:
        """PFN -> MFN as the domain was given its frames."""
        return self.domain.memory.p2m

    @property
    def m2p(self) -> npt.NDArray[np.unsignedinteger]:
        """MFN -> PFN as the guest's hypercalls have left it."""
        return self.domain.memory.m2p

    @property
    def frames(self) -> npt.NDArray[np.uint64]:
        """Machine memory, uint64[frame, 512]."""
        return self.domain.memory.frames

    @property
    def shared_info_mfn(self) -> int:
        """Frame of shared_info; start_info wants its address."""
        return self.domain.memory.shared_info_mfn

    def read(self, mfn: int, offset: int, size: int) -> bytes:
        """Bytes from a frame on."""
        return self.domain.memory.read(mfn, offset, size)

    def write(self, mfn: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Overwrite bytes from a frame on (the toolstack's access: no types are asked)."""
        self.domain.memory.write(mfn, offset, data)

    # --- the toolstack

    def toolstack_pin(self, mfn: int, level: int) -> None:
        """Pin a table of this level (1 ... 4), validating it and all below; raises RefusedError as Xen would."""
        if level not in (1, 2, 3, 4):
            raise MachineError("no such page-table level", expected="1 ... 4", found=str(level))
        result = self.domain.frames.pin(mfn, level)
        if result:
            raise RefusedError(f"pinning frame {mfn:#x} as L{level}", -result)

    def set_vcpu(self, context: VcpuContext) -> None:
        """The start context of vCPU 0; takes the type reference on its top table.  Raises RefusedError."""
        if context.width != self.width:
            raise MachineError("the context is for another width", expected=str(self.width), found=str(context.width))
        domain = self.domain
        domain.set_vm_assist(domain.vm_assist | context.vm_assist)
        result = self.hypercalls.mmu.new_base(context.cr3_mfn)
        if result:
            raise RefusedError(f"top-level table in frame {context.cr3_mfn:#x}", -result, where="vCPU context")
        domain.frames.vcpu_started = True
        domain.vcpu.kernel_stack = context.sp
        domain.vcpu.kernel_stack_selector = context.ss
        domain.vcpu.debug_registers.update({6: context.dr6, 7: context.dr7})
        self._context = context

    def attach_console(self, mfn: int) -> None:
        """Serve the console ring in this frame and seed grant entry 0.  Raises RefusedError if it cannot be mapped."""
        self._attach("console", mfn, GNTTAB_RESERVED_CONSOLE)
        self.domain.console.attach(mfn)

    def attach_xenstore(self, mfn: int) -> None:
        """Serve the xenstore ring in this frame and seed grant entry 1.  Raises RefusedError if it cannot be mapped."""
        self._attach("store", mfn, GNTTAB_RESERVED_XENSTORE)
        self.domain.xenstore.attach(mfn)

    def _attach(self, which: str, mfn: int, reference: int) -> None:
        result = self.domain.attach_ring(mfn)
        if result:
            raise RefusedError(f"mapping the {which} ring in frame {mfn:#x}", -result)
        self.domain.seed_grant(reference, mfn)
        self._ring_mfns[which] = mfn

    def fill_hypercall_page(self, mfn: int) -> None:
        """Write the hypercall stubs into a frame of the guest."""
        if not self.domain.frames.owns(mfn):
            raise MachineError("the hypercall page is not a frame of the guest", found=hex(mfn))
        self.domain.memory.write(mfn, 0, hypercall_page(self.width))

    # --- the guest's hypercalls, for an executor in its place

    def mmu_update(self, updates: npt.NDArray[np.uint64] | Iterable[tuple[int, int]]) -> int:
        """HYPERVISOR_mmu_update with (ptr, val) pairs; 0 or -errno of the first one refused."""
        if isinstance(updates, np.ndarray):
            return self.hypercalls.mmu.update_array(updates)
        return self.hypercalls.mmu.update_entries(updates)[1]

    def mmuext_op(self, ops: Iterable[tuple[int, int, int]]) -> int:
        """HYPERVISOR_mmuext_op with (cmd, arg1, arg2); 0 or -errno of the first one refused."""
        return self.hypercalls.mmu.extended_ops(ops)[1]

    def update_va_mapping(self, va: int, pte: int, flags: int) -> int:
        """HYPERVISOR_update_va_mapping in the current tables; 0 or -errno."""
        return self.hypercalls.mmu.update_va_mapping(va, pte, flags)

    # --- running

    def feed(self, data: bytes) -> None:
        """Type on the guest's console (any thread)."""
        self.domain.console.feed(data)

    def stop(self) -> None:
        """End the current run with reason "stopped" (any thread)."""
        self.domain.abort_reason = "stopped"

    def run(self, limits: RunLimits | None = None, until: bytes | None = None) -> Outcome:
        """Run the guest until it ends, shows `until` on its console, or a limit is met.

        After "until" (and "stopped", if the guest was responsive) `run` may be called again to go on.
        """
        from pvboot.machine.run import Runner

        if self._runner is None:
            if self._context is None:
                raise MachineError("the vCPU has no start context")
            preset_domain(
                self.domain.store,
                memory_kib=self.nr_pages * 4,
                store_mfn=self._ring_mfns["store"],
                store_port=STORE_PORT,
                console_mfn=self._ring_mfns["console"],
                console_port=CONSOLE_PORT,
                name=self._name,
            )
            self.domain.guest_handle = os.urandom(16)
            self._runner = Runner(self.domain, self.hypercalls, self._context)
        return self._runner.run(limits or RunLimits(), until)
