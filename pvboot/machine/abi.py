"""Numbers and run-time formats of Xen's PV interface for both guest widths.

The readable declarations of the structures are in `structs.py`; the formats here are what the hot paths use, and a
test holds the two together.  Sources: Xen's public headers xen.h, arch-x86/xen*.h, vcpu.h, event_channel.h,
memory.h, sched.h, grant_table.h, callback.h, version.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

PAGE_BYTES = 4096
PAGE_SHIFT = 12
WORDS_PER_FRAME = 512

# Page-table entry bits.
PTE_PRESENT = 1 << 0
PTE_RW = 1 << 1
PTE_USER = 1 << 2
PTE_ACCESSED = 1 << 5
PTE_DIRTY = 1 << 6
PTE_SUPERPAGE = 1 << 7
PTE_GLOBAL = 1 << 8
PTE_GUEST_KERNEL = 1 << 52
PTE_NX = 1 << 63
PTE_ADDRESS = 0x000F_FFFF_FFFF_F000

# Where the hypervisor lives in a guest's address space.
M2P_VA64 = 0xFFFF_8000_0000_0000
HYPERVISOR_START64 = 0xFFFF_8000_0000_0000
HYPERVISOR_END64 = 0xFFFF_8800_0000_0000
FIRST_XEN_L4_SLOT = 256
LAST_XEN_L4_SLOT = 271
M2P_VA32 = 0xF580_0000
FIRST_XEN_L2_SLOT32 = (M2P_VA32 >> 21) & 511

RESERVED_GDT_PAGES = 14
GDT_ENTRIES_GUEST = RESERVED_GDT_PAGES * 512

VCPU_INFO_BYTES = 64
LEGACY_VCPUS = 32
SHARED_INFO_PENDING = 2048

TRAP_MASKS_EVENTS = 1 << 2
CALLBACK_MASKS_EVENTS = 1 << 0

CALLBACK_EVENT = 0
CALLBACK_FAILSAFE = 1
CALLBACK_SYSCALL = 2
CALLBACK_NMI = 4
CALLBACK_SYSENTER = 5
CALLBACK_SYSCALL32 = 7

VIRQ_TIMER = 0
VIRQ_COUNT = 24

HYPERCALL_NAMES: dict[int, str] = {
    0: "set_trap_table",
    1: "mmu_update",
    2: "set_gdt",
    3: "stack_switch",
    4: "set_callbacks",
    5: "fpu_taskswitch",
    6: "sched_op_compat",
    7: "platform_op",
    8: "set_debugreg",
    9: "get_debugreg",
    10: "update_descriptor",
    12: "memory_op",
    13: "multicall",
    14: "update_va_mapping",
    15: "set_timer_op",
    16: "event_channel_op_compat",
    17: "xen_version",
    18: "console_io",
    19: "physdev_op_compat",
    20: "grant_table_op",
    21: "vm_assist",
    22: "update_va_mapping_otherdomain",
    23: "iret",
    24: "vcpu_op",
    25: "set_segment_base",
    26: "mmuext_op",
    27: "xsm_op",
    28: "nmi_op",
    29: "sched_op",
    30: "callback_op",
    31: "xenoprof_op",
    32: "event_channel_op",
    33: "physdev_op",
    34: "hvm_op",
    35: "sysctl",
    36: "domctl",
    37: "kexec_op",
    38: "tmem_op",
    39: "argo_op",
    40: "xenpmu_op",
    41: "dm_op",
    42: "hypfs_op",
}
IRET = 23

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
    capability: bytes
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
    # hypercall results are signed words
    result: Struct

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
    capability=b"xen-3.0-x86_64",
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
    result=Struct("<q"),
)

ABI32 = Abi(
    width=32,
    word=Struct("<I"),
    port_bits=32,
    port_count=1024,
    capability=b"xen-3.0-x86_32p",
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
    result=Struct("<i"),
)


def abi_for(width: int) -> Abi:
    """The formats of a 64-bit or 32-bit PAE guest."""
    return {64: ABI64, 32: ABI32}[width]
