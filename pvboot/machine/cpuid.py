"""The guest's `cpuid`: an unknown vendor with the features that the engine really has, and Xen's leaves.

An unknown vendor keeps kernels out of vendor-specific probing of leaves and MSRs that do not exist here.
"""

from __future__ import annotations

import struct

XEN_VERSION = 4 << 16 | 17

VENDOR = b"PVBootMachin"
BRAND = b"pvboot embedded PV machine".ljust(48, b"\0")
SIGNATURE = 0x00600F12
APIC_ID_BYTES = 0x00000800  # CLFLUSH line of 64 bytes

# Leaf 1: SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT, hypervisor / FPU, TSC, MSR, PAE, CX8, CMOV, CLFLUSH, MMX, FXSR,
# SSE, SSE2.  No XSAVE, PCID, APIC, MTRR.
FEATURES_1C = 1 << 0 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 23 | 1 << 31
FEATURES_1D = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 15 | 1 << 19 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26
# Leaf 0x80000001: LAHF / FPU, TSC, MSR, PAE, CX8, SYSCALL, CMOV, NX, MMX, FXSR, LM.
FEATURES_81C = 1 << 0
FEATURES_81D = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 11 | 1 << 15 | 1 << 20 | 1 << 23 | 1 << 24 | 1 << 29
ADDRESS_BITS = 0x3028  # 48 virtual, 40 physical


# A vendor's name stands in ebx, edx, ecx.
_VENDOR_REGISTERS = struct.unpack("<III", VENDOR[:4] + VENDOR[8:] + VENDOR[4:8])
# Leaf -> eax, ebx, ecx, edx.
LEAVES: dict[int, tuple[int, ...]] = {
    0: (1, *_VENDOR_REGISTERS),
    1: (SIGNATURE, APIC_ID_BYTES, FEATURES_1C, FEATURES_1D),
    0x80000000: (0x80000008, *_VENDOR_REGISTERS),
    0x80000001: (SIGNATURE, 0, FEATURES_81C, FEATURES_81D),
    **{0x80000002 + part: struct.unpack_from("<IIII", BRAND, 16 * part) for part in range(3)},
    0x80000008: (ADDRESS_BITS, 0, 0, 0),
    0x40000000: (0x40000002, *struct.unpack("<III", b"XenVMMXenVMM")),
    0x40000001: (XEN_VERSION, 0, 0, 0),
}


def cpuid(leaf: int) -> tuple[int, ...]:
    """eax, ebx, ecx, edx of a leaf; zero where nothing is offered."""
    return LEAVES.get(leaf, (0, 0, 0, 0))
