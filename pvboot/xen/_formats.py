"""Written by `make generate` from structs.py; edit that."""

from struct import Struct
from typing import Final, NamedTuple

from fsdrivers.records import Record

# value
WORD: Final = {64: Struct("<Q"), 32: Struct("<I")}
# flags, user_regs_si, user_regs_ip, user_regs_cs, user_regs_flags, user_regs_sp, user_regs_ss, user_regs_es,
# user_regs_ds, user_regs_fs, user_regs_gs, kernel_ss, kernel_sp, ctrlreg_3, debugreg_6, debugreg_7, vm_assist
VCPU_CONTEXT: Final = {
    64: Struct("<512xQ104xQ16xQH6x2QH6xH6xH6xH6xH4254x2Q24xQ80x2Q24xQ24x"),
    32: Struct("<512xI12xI16xIH2x2IH2xH2xH2xH2xH2126x2I12xI40x2I16xI"),
}
# ptr, val
MMU_UPDATE: Final = Struct("<2Q")
# mod_start, mod_end, cmdline, pad
XEN_MULTIBOOT_MOD_LIST: Final = Struct("<4I")
# version, pad0, tsc_timestamp, system_time, tsc_to_system_mul, tsc_shift, flags
VCPU_TIME_INFO: Final = Struct("<2I2QIbB2x")
# virq, vcpu, port
EVTCHN_BIND_VIRQ: Final = Struct("<3I")
# vcpu, port
EVTCHN_BIND_IPI: Final = Struct("<2I")
# dom, remote_dom, port
EVTCHN_ALLOC_UNBOUND: Final = Struct("<2HI")
# dom, port, status, vcpu, u_dom, u_port
EVTCHN_STATUS: Final = Struct("<H2x5I")
# addr, size, type
E820ENTRY: Final = Struct("<2QI")
# mfn, offset, rsvd
VCPU_REGISTER_VCPU_INFO: Final = Struct("<Q2I")
# flags, domid, frame
GRANT_ENTRY_V1: Final = Struct("<2HI")
# dom, nr_frames, max_nr_frames, status
GNTTAB_QUERY_SIZE: Final = Struct("<H2x2Ih2x")
# type, req_id, tx_id, len
XSD_SOCKMSG: Final = Struct("<4I")
# cmd, arg1, arg2
MMUEXT_OP: Final = {64: Struct("<I4x2Q"), 32: Struct("<3I")}
# op, result, args_0, args_1, args_2, args_3, args_4, args_5
MULTICALL_ENTRY: Final = {64: Struct("<8Q"), 32: Struct("<8I")}
# vector, flags, cs, address
TRAP_INFO: Final = {64: Struct("<2BH4xQ"), 32: Struct("<2BHI")}
IRET_CONTEXT: Final = {
    # ax, r11, cx, flags, ip, cs, rflags, sp, ss
    64: Struct("<9Q"),
    # ax, ip, cs, flags
    32: Struct("<4I"),
}
CALLBACK_REGISTER: Final = {
    # type, flags, address
    64: Struct("<2H4xQ"),
    # type, flags, cs, address
    32: Struct("<2H2I"),
}
# extent_start, nr_extents, extent_order, mem_flags, domid
XEN_MEMORY_RESERVATION: Final = {64: Struct("<2Q2IH6x"), 32: Struct("<4IH2x")}
# v_start, v_end, max_mfn
XEN_MACHPHYS_MAPPING: Final = {64: Struct("<3Q"), 32: Struct("<3I")}
# nr_entries, buffer
XEN_MEMORY_MAP: Final = {64: Struct("<I4xQ"), 32: Struct("<2I")}
# ports, nr_ports, timeout
SCHED_POLL: Final = {64: Struct("<QI4xQ"), 32: Struct("<2IQ")}
# timeout_abs_ns, flags
VCPU_SET_SINGLESHOT_TIMER: Final = {64: Struct("<QI4x"), 32: Struct("<QI")}
# state, state_entry_time, time_0, time_1, time_2, time_3
VCPU_RUNSTATE_INFO: Final = {64: Struct("<i4x5Q"), 32: Struct("<i5Q")}
# dom, nr_frames, status, frame_list
GNTTAB_SETUP_TABLE: Final = {64: Struct("<H2xIh6xQ"), 32: Struct("<H2xIh2xI")}


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


class _StartInfo0(StartInfo):
    SIZE = 1168
    LAYOUT = Struct("<32s2QI4xQI4xQI4x5Q1024s2Q")


class _StartInfo1(StartInfo):
    SIZE = 1112
    LAYOUT = Struct("<32s12I1024s2I")


START_INFO: Final[dict[int, type[StartInfo]]] = {64: _StartInfo0, 32: _StartInfo1}


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
