"""Run-time offsets of the start-state structures: `struct` formats that a test holds to `structs.py`.

Importing `construct` costs more than planning a small domain, so the planner does without it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

START_INFO_FIELDS: Final = (
    "magic",
    "nr_pages",
    "shared_info",
    "flags",
    "store_mfn",
    "store_evtchn",
    "console_mfn",
    "console_evtchn",
    "pt_base",
    "nr_pt_frames",
    "mfn_list",
    "mod_start",
    "mod_len",
    "cmd_line",
    "first_p2m_pfn",
    "nr_p2m_frames",
)
START_INFO: Final = {64: struct.Struct("<32sQQI4xQI4xQI4xQQQQQ1024sQQ"), 32: struct.Struct("<32sIIIIIIIIIIII1024sII")}


@dataclass(frozen=True, slots=True)
class VcpuOffsets:
    """Byte offsets of the fields of vcpu_guest_context that are not zero at the start."""

    size: int
    word: str  # struct code of unsigned long
    flags: int
    si: int
    ip: int
    cs: int
    rflags: int
    sp: int
    ss: int
    es: int
    ds: int
    fs: int
    gs: int
    kernel_ss: int
    kernel_sp: int
    ctrlreg: int
    debugreg: int
    vm_assist: int


VCPU: Final = {
    64: VcpuOffsets(
        size=5168,
        word="Q",
        flags=512,
        si=624,
        ip=648,
        cs=656,
        rflags=664,
        sp=672,
        ss=680,
        es=688,
        ds=696,
        fs=704,
        gs=712,
        kernel_ss=4968,
        kernel_sp=4976,
        ctrlreg=4984,
        debugreg=5048,
        vm_assist=5136,
    ),
    32: VcpuOffsets(
        size=2800,
        word="I",
        flags=512,
        si=528,
        ip=548,
        cs=552,
        rflags=556,
        sp=560,
        ss=564,
        es=568,
        ds=572,
        fs=576,
        gs=580,
        kernel_ss=2708,
        kernel_sp=2712,
        ctrlreg=2716,
        debugreg=2748,
        vm_assist=2796,
    ),
}

TRAMPOLINE_DATA: Final = {64: struct.Struct("<I4xQQI4xQQQQQQQ"), 32: struct.Struct("<IIIIIIIQIII")}

SHARED_INFO_NR_VCPUS: Final = 32
SHARED_INFO_VCPU_STRIDE: Final = 64
SHARED_INFO_UPCALL_MASK: Final = 1  # offset of evtchn_upcall_mask in a vcpu_info
