"""The start state of vCPU 0 (`vcpu_guest_context` of Xen's public headers, the parts a PV guest starts with)."""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.xen.constants import (
    FLAT_RING1_CS,
    FLAT_RING1_DS,
    FLAT_RING3_CS64,
    FLAT_RING3_SS64,
    VGCF_IN_KERNEL,
    VGCF_ONLINE,
)
from pvboot.xen.paging import pfn_to_cr3


@dataclass(frozen=True, slots=True)
class VcpuContext:
    """Registers with which vCPU 0 starts; selectors as Xen's flat ones, `cr3_mfn` unfolded.

    `si` is rsi/esi (virtual address of start_info); all other general registers are zero.
    """

    width: int
    ip: int
    sp: int
    si: int
    cr3_mfn: int
    vm_assist: int = 0
    rflags: int = 0x200
    vgcf_flags: int = VGCF_IN_KERNEL | VGCF_ONLINE
    dr6: int = 0xFFFF0FF0
    dr7: int = 0x400

    @property
    def cs(self) -> int:
        """Code selector."""
        return FLAT_RING3_CS64 if self.width == 64 else FLAT_RING1_CS

    @property
    def ss(self) -> int:
        """Stack selector, also `kernel_ss`."""
        return FLAT_RING3_SS64 if self.width == 64 else FLAT_RING1_DS

    @property
    def ds(self) -> int:
        """ds, es, fs and gs."""
        return 0 if self.width == 64 else FLAT_RING1_DS

    @property
    def cr3(self) -> int:
        """Control register 3 as the context structure holds it."""
        return pfn_to_cr3(self.width, self.cr3_mfn)
