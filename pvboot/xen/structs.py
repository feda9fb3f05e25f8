"""Structures of Xen's public headers for both guest widths, by the headers' names; a test compares every offset.

All are little-endian.
"""

from __future__ import annotations

from typing import Any

from construct import (
    Array,
    Bytes,
    FormatField,
    Int8sl,
    Int8ul,
    Int16sl,
    Int16ul,
    Int32sl,
    Int32ul,
    Int64ul,
    Padding,
    Struct,
    Subconstruct,
)

WORDS = {64: Int64ul, 32: Int32ul}  # xen_ulong_t, xen_pfn_t, guest handles


def c_struct(width: int, *members: Any) -> Any:
    """A C structure: padding puts each member on its natural alignment, which is 4 at most for 32-bit guests."""
    placed: list[Any] = []
    offset, alignment = 0, 1
    for member in members:
        own = min(_alignment(member), width // 8)
        gap, alignment = -offset % own, max(alignment, own)
        placed += [Padding(gap), member] if gap else [member]
        offset += gap + member.sizeof()
    return Struct(*placed, Padding(-offset % alignment))


def _alignment(member: Any) -> int:
    if isinstance(member, Struct):
        return max(map(_alignment, member.subcons))
    if isinstance(member, Subconstruct):  # a named member, an array
        return _alignment(member.subcon)
    return int(member.sizeof()) if isinstance(member, FormatField) else 1


def u32s(names: str) -> list[Any]:
    """Members of 32 bits."""
    return [name / Int32ul for name in names.split()]


def declarations(width: int) -> dict[str, Any]:
    """Every structure by its name in the headers."""
    wide = width == 64
    ulong = WORDS[width]

    def struct(*members: Any) -> Any:
        return c_struct(width, *members)

    def words(names: str) -> list[Any]:
        return [name / ulong for name in names.split()]

    def only(guests: int, members: list[Any]) -> list[Any]:
        return members if guests == width else []

    d: dict[str, Any] = {}

    # --- xen.h

    d["mmu_update"] = struct("ptr" / Int64ul, "val" / Int64ul)
    d["mmuext_op"] = struct("cmd" / Int32ul, *words("arg1 arg2"))
    d["multicall_entry"] = struct(*words("op result"), "args" / Array(6, ulong))
    d["start_info"] = struct(
        "magic" / Bytes(32),
        *words("nr_pages shared_info"),
        "flags" / Int32ul,
        "store_mfn" / ulong,
        "store_evtchn" / Int32ul,
        "console_mfn" / ulong,
        "console_evtchn" / Int32ul,
        *words("pt_base nr_pt_frames mfn_list mod_start mod_len"),
        "cmd_line" / Bytes(1024),
        *words("first_p2m_pfn nr_p2m_frames"),
    )
    d["xen_multiboot_mod_list"] = struct(*u32s("mod_start mod_end cmdline pad"))
    d["vcpu_time_info"] = struct(
        "version" / Int32ul,  # odd while being changed
        "pad0" / Int32ul,
        "tsc_timestamp" / Int64ul,
        "system_time" / Int64ul,
        "tsc_to_system_mul" / Int32ul,
        "tsc_shift" / Int8sl,
        "flags" / Int8ul,
    )
    d["vcpu_info"] = struct(
        "evtchn_upcall_pending" / Int8ul,
        "evtchn_upcall_mask" / Int8ul,
        *words("evtchn_pending_sel cr2"),
        Padding(8 if wide else 20),
        "time" / d["vcpu_time_info"],
    )
    d["shared_info"] = struct(
        "vcpu_info" / Array(32, d["vcpu_info"]),
        "evtchn_pending" / Array(width, ulong),
        "evtchn_mask" / Array(width, ulong),
        *u32s("wc_version wc_sec wc_nsec"),
        *only(64, u32s("wc_sec_hi")),
        *words("max_pfn pfn_to_mfn_frame_list_list nmi_reason p2m_cr3 p2m_vaddr p2m_generation"),
        *only(32, u32s("wc_sec_hi")),
    )

    # --- arch-x86/xen.h, xen-x86_64.h, xen-x86_32.h; registers without their prefix, r or e

    # bits 0-1 of the flags: lowest privilege that may raise the trap; bit 2: mask events
    d["trap_info"] = struct("vector" / Int8ul, "flags" / Int8ul, "cs" / Int16ul, "address" / ulong)
    half = Int32ul if wide else Int16ul
    d["cpu_user_regs"] = struct(
        *only(64, words("r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di")),
        *only(32, words("bx cx dx si di bp ax")),
        "error_code" / half,
        "entry_vector" / half,
        "ip" / ulong,
        "cs" / Int16ul,
        *only(64, [Padding(2)]),
        "saved_upcall_mask" / Int8ul,
        *words("flags sp"),
        *[item for name in ("ss", "es", "ds", "fs", "gs") for item in (name / Int16ul, Padding(width // 8 - 2))],
    )
    d["vcpu_guest_context"] = struct(
        "fpu_ctxt" / Bytes(512),
        "flags" / ulong,  # VGCF_*
        "user_regs" / d["cpu_user_regs"],
        "trap_ctxt" / Array(256, d["trap_info"]),
        *words("ldt_base ldt_ents"),
        "gdt_frames" / Array(16, ulong),
        *words("gdt_ents kernel_ss kernel_sp"),
        "ctrlreg" / Array(8, ulong),
        "debugreg" / Array(8, ulong),
        *only(64, words("event_callback_eip failsafe_callback_eip syscall_callback_eip")),
        *only(32, words("event_callback_cs event_callback_eip failsafe_callback_cs failsafe_callback_eip")),
        "vm_assist" / ulong,
        *only(64, words("fs_base gs_base_kernel gs_base_user")),
    )
    # What the iret hypercall finds on the stack; the rest of a 32-bit guest's frame is left to the processor's iret.
    d["iret_context"] = struct(
        *only(64, words("ax r11 cx flags ip cs rflags sp ss")), *only(32, words("ax ip cs flags"))
    )

    # --- event_channel.h, callback.h, memory.h, sched.h, vcpu.h, grant_table.h

    d["evtchn_bind_virq"] = struct(*u32s("virq vcpu port"))
    d["evtchn_bind_ipi"] = struct(*u32s("vcpu port"))
    d["evtchn_alloc_unbound"] = struct("dom" / Int16ul, "remote_dom" / Int16ul, "port" / Int32ul)
    # u: a union; the remote domain and its port, or the VIRQ
    d["evtchn_status"] = struct("dom" / Int16ul, *u32s("port status vcpu"), "u" / Struct(*u32s("dom port")))
    d["callback_register"] = struct("type" / Int16ul, "flags" / Int16ul, *only(32, words("cs")), "address" / ulong)
    d["xen_feature_info"] = struct(*u32s("submap_idx submap"))
    d["xen_memory_reservation"] = struct(
        *words("extent_start nr_extents"), *u32s("extent_order mem_flags"), "domid" / Int16ul
    )
    d["xen_machphys_mapping"] = struct(*words("v_start v_end max_mfn"))
    d["xen_memory_map"] = struct("nr_entries" / Int32ul, "buffer" / ulong)
    d["e820entry"] = Struct("addr" / Int64ul, "size" / Int64ul, "type" / Int32ul)  # not in a header: as the BIOS has it
    d["sched_poll"] = struct("ports" / ulong, "nr_ports" / Int32ul, "timeout" / Int64ul)
    d["vcpu_set_singleshot_timer"] = struct("timeout_abs_ns" / Int64ul, "flags" / Int32ul)
    d["vcpu_runstate_info"] = struct("state" / Int32sl, "state_entry_time" / Int64ul, "time" / Array(4, Int64ul))
    d["vcpu_register_vcpu_info"] = struct("mfn" / Int64ul, *u32s("offset rsvd"))
    d["grant_entry_v1"] = struct("flags" / Int16ul, "domid" / Int16ul, "frame" / Int32ul)
    d["gnttab_setup_table"] = struct("dom" / Int16ul, "nr_frames" / Int32ul, "status" / Int16sl, "frame_list" / ulong)
    d["gnttab_get_version"] = struct("dom" / Int16ul, "version" / Int32ul)
    d["gnttab_query_size"] = struct("dom" / Int16ul, *u32s("nr_frames max_nr_frames"), "status" / Int16sl)

    # --- io/console.h, io/xs_wire.h

    d["xencons_interface"] = struct("in" / Bytes(1024), "out" / Bytes(2048), *u32s("in_cons in_prod out_cons out_prod"))
    d["xenstore_domain_interface"] = struct(
        "req" / Bytes(1024),
        "rsp" / Bytes(1024),
        *u32s("req_cons req_prod rsp_cons rsp_prod server_features connection error"),
    )
    d["xsd_sockmsg"] = struct(*u32s("type req_id tx_id len"))
    return d


DECLARED = {width: declarations(width) for width in (64, 32)}


def by_width(name: str, fields: str = "") -> dict[int, Any]:
    """A structure, or some fields of it, in both forms."""
    return {width: (declared[name], fields) if fields else declared[name] for width, declared in DECLARED.items()}


_ALIKE = """
    mmu_update xen_multiboot_mod_list vcpu_time_info evtchn_bind_virq evtchn_bind_ipi evtchn_alloc_unbound
    evtchn_status e820entry vcpu_register_vcpu_info grant_entry_v1 gnttab_query_size xsd_sockmsg
    xen_feature_info gnttab_get_version
"""
_BY_WIDTH = """
    mmuext_op multicall_entry trap_info iret_context callback_register xen_memory_reservation xen_machphys_mapping
    xen_memory_map sched_poll vcpu_set_singleshot_timer vcpu_runstate_info gnttab_setup_table
"""
_START_CONTEXT = """
    flags user_regs.si user_regs.ip user_regs.cs user_regs.flags user_regs.sp user_regs.ss user_regs.es user_regs.ds
    user_regs.fs user_regs.gs kernel_ss kernel_sp ctrlreg.3 debugreg.6 debugreg.7 vm_assist
"""
FORMATS = {
    "RING_INDEXES": Struct(*u32s("cons prod")),  # as they stand side by side in the rings
    "WORD": {width: Struct("value" / word) for width, word in WORDS.items()},
    "VCPU_CONTEXT": by_width("vcpu_guest_context", _START_CONTEXT),  # the fields that are not zero at the start
    **{name.upper(): DECLARED[64][name] for name in _ALIKE.split()},
    **{name.upper(): by_width(name) for name in _BY_WIDTH.split()},
}
RECORDS = {"StartInfo": by_width("start_info")}
OFFSETS = {
    "MulticallEntryOffsets": by_width("multicall_entry", "result"),
    "SharedInfoOffsets": by_width("shared_info", "evtchn_pending evtchn_mask wc_version wc_sec wc_nsec wc_sec_hi"),
    "VcpuInfoOffsets": by_width("vcpu_info", "evtchn_upcall_mask evtchn_pending_sel cr2 time"),
    "ConsoleRing": (DECLARED[64]["xencons_interface"], "out in_cons out_cons"),
    "XenstoreRing": (DECLARED[64]["xenstore_domain_interface"], "rsp req_cons rsp_cons"),
}
