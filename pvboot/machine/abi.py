"""Numbers and run-time formats of Xen's PV interface for both guest widths.

The readable declarations of the structures are in `structs.py`; the formats here are what the hot paths use, and a
test holds the two together.  Sources: Xen's public headers xen.h, arch-x86/xen*.h, vcpu.h, event_channel.h,
memory.h, sched.h, grant_table.h, callback.h, version.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

VCPU_INFO_BYTES = 64
SHARED_INFO_PENDING = 2048

MMU_UPDATE = Struct("<QQ")  # the same for both widths
EVTCHN_BIND_VIRQ = Struct("<III")
EVTCHN_BIND_IPI = Struct("<II")
EVTCHN_ALLOC_UNBOUND = Struct("<HHI")
EVTCHN_STATUS = Struct("<H2xIIIII")
VCPU_REGISTER_INFO = Struct("<QII")
VCPU_TIME = Struct("<IIQQIbB2x")
GRANT_ENTRY_V1 = Struct("<HHI")
GRANT_QUERY_SIZE = Struct("<H2xIIh2x")
E820_ENTRY = Struct("<QQI")


@dataclass(frozen=True, slots=True)
class Abi:
    """Formats and offsets that depend on the guest's width (64, or 32 for 32-bit PAE)."""

    width: int
    word: Struct
    port_bits: int  # ports in one selector word
    port_count: int
    # shared_info and vcpu_info offsets, bytes
    shared_mask: int
    shared_wallclock: int
    shared_wallclock_high: int
    vcpu_pending_sel: int
    vcpu_cr2: int
    vcpu_time: int
    # structures
    trap_info: Struct
    mmuext_op: Struct
    multicall_entry: Struct
    callback_register: Struct
    memory_reservation: Struct
    machphys_mapping: Struct
    memory_map: Struct
    singleshot_timer: Struct
    runstate_info: Struct
    sched_poll: Struct
    grant_setup_table: Struct

    @property
    def word_bytes(self) -> int:
        """Size of `xen_ulong_t` and of a guest pointer."""
        return self.width // 8

    @property
    def word_mask(self) -> int:
        """All ones of a word."""
        return (1 << self.width) - 1


ABI64 = Abi(
    width=64,
    word=Struct("<Q"),
    port_bits=64,
    port_count=4096,
    shared_mask=2560,
    shared_wallclock=3072,
    shared_wallclock_high=3084,
    vcpu_pending_sel=8,
    vcpu_cr2=16,
    vcpu_time=32,
    trap_info=Struct("<BBH4xQ"),
    mmuext_op=Struct("<I4xQQ"),
    multicall_entry=Struct("<8Q"),
    callback_register=Struct("<HH4xQ"),
    memory_reservation=Struct("<QQIIH6x"),
    machphys_mapping=Struct("<QQQ"),
    memory_map=Struct("<I4xQ"),
    singleshot_timer=Struct("<QI4x"),
    runstate_info=Struct("<i4xQQQQQ"),
    sched_poll=Struct("<QI4xQ"),
    grant_setup_table=Struct("<H2xIh6xQ"),
)

ABI32 = Abi(
    width=32,
    word=Struct("<I"),
    port_bits=32,
    port_count=1024,
    shared_mask=2176,
    shared_wallclock=2304,
    shared_wallclock_high=2340,
    vcpu_pending_sel=4,
    vcpu_cr2=8,
    vcpu_time=32,
    trap_info=Struct("<BBHI"),
    mmuext_op=Struct("<III"),
    multicall_entry=Struct("<8I"),
    callback_register=Struct("<HHII"),
    memory_reservation=Struct("<IIIIH2x"),
    machphys_mapping=Struct("<III"),
    memory_map=Struct("<II"),
    singleshot_timer=Struct("<QI"),
    runstate_info=Struct("<iQQQQQ"),
    sched_poll=Struct("<IIQ"),
    grant_setup_table=Struct("<H2xIh2xI"),
)


def abi_for(width: int) -> Abi:
    """The formats of a 64-bit or 32-bit PAE guest."""
    return {64: ABI64, 32: ABI32}[width]
