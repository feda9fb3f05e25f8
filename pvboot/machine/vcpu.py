"""The hypervisor's record of the one virtual CPU beside its registers, and its vcpu_info."""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.machine.memory import Memory
from pvboot.xen._formats import VCPU_INFO_OFFSETS, VCPU_TIME_INFO, WORD
from pvboot.xen.constants import XEN_LEGACY_MAX_VCPUS


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered trap or callback handler; `privilege` is the lowest one that may raise the trap by `int`."""

    address: int
    selector: int
    masks_events: bool
    privilege: int = 0


class Vcpu:
    """State of virtual CPU 0.  `info` is the machine address of its vcpu_info."""

    def __init__(self, memory: Memory) -> None:
        self._mm = memory.mm
        self._word = WORD[memory.width]
        self._word_mask = (1 << memory.width) - 1
        self._at = VCPU_INFO_OFFSETS[memory.width]
        self._mask_at = self._at.evtchn_upcall_mask
        self._shared = memory.shared_info_mfn << 12
        self.info = self._shared
        self.info_registered = False
        self.traps: dict[int, Handler] = {}
        self.callbacks: dict[int, Handler] = {}
        self.in_kernel = True
        self.kernel_stack = 0
        self.kernel_stack_selector = 0
        self.user_code_selector = 0
        self.user_stack_selector = 0
        self.kernel_gs_base = 0
        self.user_gs_base = 0
        self.kernel_root = 0
        self.user_root = 0
        self.debug_registers = {6: 0xFFFF0FF0, 7: 0x400}
        self.cr4 = 0x20
        self.task_switched = False
        self.msrs: dict[int, int] = {}

    @property
    def pending(self) -> bool:
        """An upcall is due: events pending and not masked."""
        return self._mm[self.info] != 0 and self._mm[self.info + self._mask_at] == 0

    @property
    def mask(self) -> int:
        """evtchn_upcall_mask."""
        return self._mm[self.info + self._mask_at]

    @mask.setter
    def mask(self, value: int) -> None:
        self._mm[self.info + self._mask_at] = value

    @property
    def upcall_pending(self) -> bool:
        """evtchn_upcall_pending, whether masked or not."""
        return self._mm[self.info] != 0

    def raise_upcall(self) -> None:
        """Set evtchn_upcall_pending (one byte: also safe from another thread)."""
        self._mm[self.info] = 1

    def select(self, word: int) -> None:
        """Mark one word of event bits in the selector and raise the upcall."""
        address = self.info + self._at.evtchn_pending_sel
        (selector,) = self._word.unpack_from(self._mm, address)
        if not selector >> word & 1:
            self._word.pack_into(self._mm, address, selector | 1 << word)
            self._mm[self.info] = 1

    def select_all(self) -> None:
        """Mark every word: after vcpu_info has moved nothing may be lost."""
        self._word.pack_into(self._mm, self.info + self._at.evtchn_pending_sel, self._word_mask)
        self._mm[self.info] = 1

    @property
    def fault_address(self) -> int:
        """arch.cr2."""
        return int(self._word.unpack_from(self._mm, self.info + self._at.cr2)[0])

    @fault_address.setter
    def fault_address(self, address: int) -> None:
        self._word.pack_into(self._mm, self.info + self._at.cr2, address & self._word_mask)

    def write_time(self, tsc: int, system_time: int, multiplier: int, shift: int) -> None:
        """Publish vcpu_time_info: ns = system_time + ((tsc - timestamp) << shift) * multiplier >> 32."""
        address = self.info + self._at.time
        version = (VCPU_TIME_INFO.unpack_from(self._mm, address)[0] + 2) & 0xFFFFFFFE
        VCPU_TIME_INFO.pack_into(self._mm, address, version, 0, tsc, system_time, multiplier, shift, 1)

    def move_info(self, address: int) -> None:
        """Continue with a vcpu_info at another machine address, keeping its contents."""
        self._mm[address : address + self._at.SIZE] = self._mm[self.info : self.info + self._at.SIZE]
        self.info = address
        self.info_registered = True
        self.select_all()

    def mask_all(self) -> None:
        """The start state of a domain: events masked for every vCPU of shared_info."""
        for vcpu in range(XEN_LEGACY_MAX_VCPUS):
            self._mm[self._shared + vcpu * self._at.SIZE + self._at.evtchn_upcall_mask] = 1
