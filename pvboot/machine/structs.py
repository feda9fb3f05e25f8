"""Xen's PV structures as the machine reads and writes them, declared once for both guest widths.

The readable truth; the run-time formats of `abi.py` are held to it by a test.  Sources: Xen's public headers
(xen.h, arch-x86/xen.h, arch-x86/xen-x86_{32,64}.h, vcpu.h, event_channel.h, memory.h, sched.h, grant_table.h,
callback.h, io/console.h, io/xs_wire.h).  A 64-bit member is 8-byte aligned for 64-bit guests and 4-byte aligned for
32-bit ones.
"""

from __future__ import annotations

from typing import Any

from construct import Array, Bytes, Int8sl, Int8ul, Int16sl, Int16ul, Int32sl, Int32ul, Int64ul, Padding, Struct


def word(width: int) -> Any:
    """`xen_ulong_t`, a pointer, or a guest handle."""
    return Int64ul if width == 64 else Int32ul


def pad(width: int, size64: int, size32: int = 0) -> Any:
    """Padding before a member that is aligned differently for the two widths."""
    return Padding(size64 if width == 64 else size32)


def declarations(width: int) -> dict[str, Any]:
    """Every structure by the name of the format in `abi.Abi` that must agree with it."""
    ulong = word(width)
    return {
        "trap_info": Struct(
            "vector" / Int8ul,
            "flags" / Int8ul,  # bits 0-1: lowest privilege that may raise it; bit 2: mask events
            "cs" / Int16ul,
            pad(width, 4),
            "address" / ulong,
        ),
        "mmuext_op": Struct("cmd" / Int32ul, pad(width, 4), "arg1" / ulong, "arg2" / ulong),
        "multicall_entry": Struct("op" / ulong, "result" / ulong, "args" / Array(6, ulong)),
        "callback_register": Struct(
            "type" / Int16ul,
            "flags" / Int16ul,
            # xen_callback_t: the address alone, or selector and address
            *([Padding(4)] if width == 64 else ["cs" / Int32ul]),
            "address" / ulong,
        ),
        "memory_reservation": Struct(
            "extent_start" / ulong,
            "nr_extents" / ulong,
            "extent_order" / Int32ul,
            "mem_flags" / Int32ul,
            "domid" / Int16ul,
            pad(width, 6, 2),
        ),
        "machphys_mapping": Struct("v_start" / ulong, "v_end" / ulong, "max_mfn" / ulong),
        "memory_map": Struct("nr_entries" / Int32ul, pad(width, 4), "buffer" / ulong),
        "singleshot_timer": Struct("timeout_abs_ns" / Int64ul, "flags" / Int32ul, pad(width, 4)),
        "runstate_info": Struct(
            "state" / Int32sl, pad(width, 4), "state_entry_time" / Int64ul, "time" / Array(4, Int64ul)
        ),
        "sched_poll": Struct("ports" / ulong, "nr_ports" / Int32ul, pad(width, 4), "timeout" / Int64ul),
        "grant_setup_table": Struct(
            "dom" / Int16ul,
            Padding(2),
            "nr_frames" / Int32ul,
            "status" / Int16sl,
            pad(width, 6, 2),
            "frame_list" / ulong,
        ),
    }


# The same for both widths, by the name of the format in `abi`.
COMMON: dict[str, Any] = {
    "MMU_UPDATE": Struct("ptr" / Int64ul, "val" / Int64ul),
    "EVTCHN_BIND_VIRQ": Struct("virq" / Int32ul, "vcpu" / Int32ul, "port" / Int32ul),
    "EVTCHN_BIND_IPI": Struct("vcpu" / Int32ul, "port" / Int32ul),
    "EVTCHN_ALLOC_UNBOUND": Struct("dom" / Int16ul, "remote_dom" / Int16ul, "port" / Int32ul),
    "EVTCHN_STATUS": Struct(
        "dom" / Int16ul,
        Padding(2),
        "port" / Int32ul,
        "status" / Int32ul,
        "vcpu" / Int32ul,
        "detail" / Int32ul,  # union: unbound.dom, interdomain.dom, pirq, virq
        "interdomain_port" / Int32ul,
    ),
    "VCPU_REGISTER_INFO": Struct("mfn" / Int64ul, "offset" / Int32ul, "rsvd" / Int32ul),
    "VCPU_TIME": Struct(
        "version" / Int32ul,  # odd while being changed
        "pad0" / Int32ul,
        "tsc_timestamp" / Int64ul,
        "system_time" / Int64ul,
        "tsc_to_system_mul" / Int32ul,
        "tsc_shift" / Int8sl,
        "flags" / Int8ul,
        Padding(2),
    ),
    "GRANT_ENTRY_V1": Struct("flags" / Int16ul, "domid" / Int16ul, "frame" / Int32ul),
    "GRANT_QUERY_SIZE": Struct(
        "dom" / Int16ul, Padding(2), "nr_frames" / Int32ul, "max_nr_frames" / Int32ul, "status" / Int16sl, Padding(2)
    ),
    "E820_ENTRY": Struct("addr" / Int64ul, "size" / Int64ul, "type" / Int32ul),
}


def vcpu_info(width: int) -> Any:
    """struct vcpu_info: 64 bytes for both widths."""
    ulong = word(width)
    return Struct(
        "evtchn_upcall_pending" / Int8ul,
        "evtchn_upcall_mask" / Int8ul,
        pad(width, 6, 2),
        "evtchn_pending_sel" / ulong,
        "cr2" / ulong,
        pad(width, 8, 20),
        "time" / COMMON["VCPU_TIME"],
    )


def shared_info(width: int) -> Any:
    """struct shared_info."""
    ulong = word(width)
    high = "wc_sec_hi" / Int32ul
    return Struct(
        "vcpu_info" / Array(32, vcpu_info(width)),
        "evtchn_pending" / Array(width, ulong),
        "evtchn_mask" / Array(width, ulong),
        "wc_version" / Int32ul,
        "wc_sec" / Int32ul,
        "wc_nsec" / Int32ul,
        *([high] if width == 64 else []),
        "max_pfn" / ulong,
        "pfn_to_mfn_frame_list_list" / ulong,
        "nmi_reason" / ulong,
        "p2m_cr3" / ulong,
        "p2m_vaddr" / ulong,
        "p2m_generation" / ulong,
        *([] if width == 64 else [high]),
    )


CONSOLE_RING = Struct(
    "in" / Bytes(1024),
    "out" / Bytes(2048),
    "in_cons" / Int32ul,
    "in_prod" / Int32ul,
    "out_cons" / Int32ul,
    "out_prod" / Int32ul,
)

XENSTORE_RING = Struct(
    "req" / Bytes(1024),
    "rsp" / Bytes(1024),
    "req_cons" / Int32ul,
    "req_prod" / Int32ul,
    "rsp_cons" / Int32ul,
    "rsp_prod" / Int32ul,
)

XENSTORE_MESSAGE = Struct("type" / Int32ul, "req_id" / Int32ul, "tx_id" / Int32ul, "len" / Int32ul)
