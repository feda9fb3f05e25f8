"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final, NamedTuple
from fsdrivers.records import Record

RING_INDEXES: Final = Struct("<2I")  # cons, prod
WORD: Final = {
    64: Struct("<Q"),  # value
    32: Struct("<I"),  # value
}
VCPU_CONTEXT: Final = {
    # flags, user_regs_si, user_regs_ip, user_regs_cs, user_regs_flags, user_regs_sp, user_regs_ss, user_regs_es,
    # user_regs_ds, user_regs_fs, user_regs_gs, kernel_ss, kernel_sp, ctrlreg_3, debugreg_6, debugreg_7, vm_assist
    64: Struct("<512xQ104xQ16xQH6x2QH6xH6xH6xH6xH4254x2Q24xQ80x2Q24xQ24x"),
    # flags, user_regs_si, user_regs_ip, user_regs_cs, user_regs_flags, user_regs_sp, user_regs_ss, user_regs_es,
    # user_regs_ds, user_regs_fs, user_regs_gs, kernel_ss, kernel_sp, ctrlreg_3, debugreg_6, debugreg_7, vm_assist
    32: Struct("<512xI12xI16xIH2x2IH2xH2xH2xH2xH2126x2I12xI40x2I16xI"),
}
MMU_UPDATE: Final = Struct("<2Q")  # ptr, val
XEN_MULTIBOOT_MOD_LIST: Final = Struct("<4I")  # mod_start, mod_end, cmdline, pad
# version, pad0, tsc_timestamp, system_time, tsc_to_system_mul, tsc_shift, flags
VCPU_TIME_INFO: Final = Struct("<2I2QIbB2x")
EVTCHN_BIND_VIRQ: Final = Struct("<3I")  # virq, vcpu, port
EVTCHN_BIND_IPI: Final = Struct("<2I")  # vcpu, port
EVTCHN_ALLOC_UNBOUND: Final = Struct("<2HI")  # dom, remote_dom, port
EVTCHN_STATUS: Final = Struct("<H2x5I")  # dom, port, status, vcpu, u_dom, u_port
E820ENTRY: Final = Struct("<2QI")  # addr, size, type
VCPU_REGISTER_VCPU_INFO: Final = Struct("<Q2I")  # mfn, offset, rsvd
GRANT_ENTRY_V1: Final = Struct("<2HI")  # flags, domid, frame
GNTTAB_QUERY_SIZE: Final = Struct("<H2x2Ih2x")  # dom, nr_frames, max_nr_frames, status
XSD_SOCKMSG: Final = Struct("<4I")  # type, req_id, tx_id, len
XEN_FEATURE_INFO: Final = Struct("<2I")  # submap_idx, submap
GNTTAB_GET_VERSION: Final = Struct("<H2xI")  # dom, version
MMUEXT_OP: Final = {
    64: Struct("<I4x2Q"),  # cmd, arg1, arg2
    32: Struct("<3I"),  # cmd, arg1, arg2
}
MULTICALL_ENTRY: Final = {
    64: Struct("<8Q"),  # op, result, args_0, args_1, args_2, args_3, args_4, args_5
    32: Struct("<8I"),  # op, result, args_0, args_1, args_2, args_3, args_4, args_5
}
TRAP_INFO: Final = {
    64: Struct("<2BH4xQ"),  # vector, flags, cs, address
    32: Struct("<2BHI"),  # vector, flags, cs, address
}
IRET_CONTEXT: Final = {
    64: Struct("<9Q"),  # ax, r11, cx, flags, ip, cs, rflags, sp, ss
    32: Struct("<4I"),  # ax, ip, cs, flags
}
CALLBACK_REGISTER: Final = {
    64: Struct("<2H4xQ"),  # type, flags, address
    32: Struct("<2H2I"),  # type, flags, cs, address
}
XEN_MEMORY_RESERVATION: Final = {
    64: Struct("<2Q2IH6x"),  # extent_start, nr_extents, extent_order, mem_flags, domid
    32: Struct("<4IH2x"),  # extent_start, nr_extents, extent_order, mem_flags, domid
}
XEN_MACHPHYS_MAPPING: Final = {
    64: Struct("<3Q"),  # v_start, v_end, max_mfn
    32: Struct("<3I"),  # v_start, v_end, max_mfn
}
XEN_MEMORY_MAP: Final = {
    64: Struct("<I4xQ"),  # nr_entries, buffer
    32: Struct("<2I"),  # nr_entries, buffer
}
SCHED_POLL: Final = {
    64: Struct("<QI4xQ"),  # ports, nr_ports, timeout
    32: Struct("<2IQ"),  # ports, nr_ports, timeout
}
VCPU_SET_SINGLESHOT_TIMER: Final = {
    64: Struct("<QI4x"),  # timeout_abs_ns, flags
    32: Struct("<QI"),  # timeout_abs_ns, flags
}
VCPU_RUNSTATE_INFO: Final = {
    64: Struct("<i4x5Q"),  # state, state_entry_time, time_0, time_1, time_2, time_3
    32: Struct("<i5Q"),  # state, state_entry_time, time_0, time_1, time_2, time_3
}
GNTTAB_SETUP_TABLE: Final = {
    64: Struct("<H2xIh6xQ"),  # dom, nr_frames, status, frame_list
    32: Struct("<H2xIh2xI"),  # dom, nr_frames, status, frame_list
}


class StartInfo(Record):
    magic: bytes
    nr_pages: int
    shared_info: int
    flags: int
    store_mfn: int
    store_evtchn: int
    console_mfn: int
    console_evtchn: int
    pt_base: int
    nr_pt_frames: int
    mfn_list: int
    mod_start: int
    mod_len: int
    cmd_line: bytes
    first_p2m_pfn: int
    nr_p2m_frames: int


START_INFO: Final = {
    64: StartInfo.variant(Struct("<32s2QI4xQI4xQI4x5Q1024s2Q")),
    32: StartInfo.variant(Struct("<32s12I1024s2I")),
}


class MulticallEntryOffsets(NamedTuple):
    SIZE: int
    result: int


MULTICALL_ENTRY_OFFSETS: Final = {
    64: MulticallEntryOffsets(SIZE=64, result=8),
    32: MulticallEntryOffsets(SIZE=32, result=4),
}


class SharedInfoOffsets(NamedTuple):
    SIZE: int
    evtchn_pending: int
    evtchn_mask: int
    wc_version: int
    wc_sec: int
    wc_nsec: int
    wc_sec_hi: int


SHARED_INFO_OFFSETS: Final = {
    64: SharedInfoOffsets(
        SIZE=3136, evtchn_pending=2048, evtchn_mask=2560, wc_version=3072, wc_sec=3076, wc_nsec=3080, wc_sec_hi=3084
    ),
    32: SharedInfoOffsets(
        SIZE=2344, evtchn_pending=2048, evtchn_mask=2176, wc_version=2304, wc_sec=2308, wc_nsec=2312, wc_sec_hi=2340
    ),
}


class VcpuInfoOffsets(NamedTuple):
    SIZE: int
    evtchn_upcall_mask: int
    evtchn_pending_sel: int
    cr2: int
    time: int


VCPU_INFO_OFFSETS: Final = {
    64: VcpuInfoOffsets(SIZE=64, evtchn_upcall_mask=1, evtchn_pending_sel=8, cr2=16, time=32),
    32: VcpuInfoOffsets(SIZE=64, evtchn_upcall_mask=1, evtchn_pending_sel=4, cr2=8, time=32),
}


class ConsoleRing:
    SIZE = 3088
    out = 1024
    in_cons = 3072
    out_cons = 3080


class XenstoreRing:
    SIZE = 2076
    rsp = 1024
    req_cons = 2048
    rsp_cons = 2056
