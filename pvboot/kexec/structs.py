"""ABI structures of a PV domain's start state, declared once.

Sources: Xen's public headers xen.h, arch-x86/xen.h, xen-x86_32.h, xen-x86_64.h; offsets measured by compiling them.
The declarations are the readable truth; the planner fills pages with the `struct` formats of `formats.py`,
and a test holds both together field by field.  All integers are little-endian.
"""

from __future__ import annotations

from typing import Any

import construct as c


def _word(width: int) -> Any:
    """`unsigned long` / `xen_pfn_t` of the guest."""
    return c.Int64ul if width == 64 else c.Int32ul


def start_info(width: int) -> Any:
    """struct start_info (1168 bytes for 64-bit guests, 1112 for 32-bit ones)."""
    word = _word(width)
    gap = c.Padding(4 if width == 64 else 0)
    return c.Struct(
        "magic" / c.Bytes(32),
        "nr_pages" / word,
        "shared_info" / word,  # machine address
        "flags" / c.Int32ul,  # SIF_*
        gap,
        "store_mfn" / word,
        "store_evtchn" / c.Int32ul,
        gap,
        "console_mfn" / word,
        "console_evtchn" / c.Int32ul,
        gap,
        "pt_base" / word,
        "nr_pt_frames" / word,
        "mfn_list" / word,
        "mod_start" / word,
        "mod_len" / word,
        "cmd_line" / c.Bytes(1024),
        "first_p2m_pfn" / word,
        "nr_p2m_frames" / word,
    )


CPU_USER_REGS_64 = c.Struct(
    *[
        name / c.Int64ul
        for name in ("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi")
    ],
    "rdi" / c.Int64ul,
    "error_code" / c.Int32ul,
    "entry_vector" / c.Int32ul,
    "rip" / c.Int64ul,
    "cs" / c.Int16ul,
    c.Padding(2),
    "saved_upcall_mask" / c.Int8ul,
    c.Padding(3),
    "rflags" / c.Int64ul,
    "rsp" / c.Int64ul,
    *[item for name in ("ss", "es", "ds", "fs", "gs") for item in (name / c.Int16ul, c.Padding(6))],
)

CPU_USER_REGS_32 = c.Struct(
    *[name / c.Int32ul for name in ("ebx", "ecx", "edx", "esi", "edi", "ebp", "eax")],
    "error_code" / c.Int16ul,
    "entry_vector" / c.Int16ul,
    "eip" / c.Int32ul,
    "cs" / c.Int16ul,
    "saved_upcall_mask" / c.Int8ul,
    c.Padding(1),
    "eflags" / c.Int32ul,
    "esp" / c.Int32ul,
    *[item for name in ("ss", "es", "ds", "fs", "gs") for item in (name / c.Int16ul, c.Padding(2))],
)


def vcpu_guest_context(width: int) -> Any:
    """struct vcpu_guest_context (5168 / 2800 bytes)."""
    word = _word(width)
    return c.Struct(
        "fpu_ctxt" / c.Bytes(512),
        "flags" / word,  # VGCF_*; its padding to 8 bytes is the upper half
        "user_regs" / (CPU_USER_REGS_64 if width == 64 else CPU_USER_REGS_32),
        "trap_ctxt" / c.Bytes(256 * (16 if width == 64 else 8)),
        "ldt_base" / word,
        "ldt_ents" / word,
        "gdt_frames" / c.Array(16, word),
        "gdt_ents" / word,
        "kernel_ss" / word,
        "kernel_sp" / word,
        "ctrlreg" / c.Array(8, word),
        "debugreg" / c.Array(8, word),
        *(
            ["event_callback_eip" / word, "failsafe_callback_eip" / word, "syscall_callback_eip" / word]
            if width == 64
            else [name / word for name in ("event_cs", "event_eip", "failsafe_cs", "failsafe_eip")]
        ),
        "vm_assist" / word,
        *([name / word for name in ("fs_base", "gs_base_kernel", "gs_base_user")] if width == 64 else []),
    )


TRAMPOLINE_DATA_64 = c.Struct(
    # mmuext_op[2]; Xen reads each element when it reaches it, the second one through the new page tables
    "new_baseptr_cmd" / c.Int32ul,
    c.Padding(4),
    "new_baseptr_mfn" / c.Int64ul,
    "new_baseptr_arg2" / c.Int64ul,
    "unpin_cmd" / c.Int32ul,
    c.Padding(4),
    "unpin_mfn" / c.Int64ul,
    "unpin_arg2" / c.Int64ul,
    "target" / c.Int64ul,
    "pte" / c.Int64ul,
    "stack" / c.Int64ul,
    "start_info" / c.Int64ul,
    "entry" / c.Int64ul,
)

TRAMPOLINE_DATA_32 = c.Struct(
    "new_baseptr_cmd" / c.Int32ul,
    "new_baseptr_mfn" / c.Int32ul,
    "new_baseptr_arg2" / c.Int32ul,
    "unpin_cmd" / c.Int32ul,
    "unpin_mfn" / c.Int32ul,
    "unpin_arg2" / c.Int32ul,
    "target" / c.Int32ul,
    "pte" / c.Int64ul,
    "stack" / c.Int32ul,
    "start_info" / c.Int32ul,
    "entry" / c.Int32ul,
)
