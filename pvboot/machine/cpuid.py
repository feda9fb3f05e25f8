"""The guest's `cpuid`: the processor model that the engine is set to (`CPU_MODEL`), and Xen's leaves.

glibc refuses to run on a processor of unknown make, so the vendor is the model's: Intel.  Family and model decide which
model-specific registers a kernel then reads.  Features are those of the model less what the machine does not provide:
no APIC, MTRR, PSE, XSAVE.
"""

from __future__ import annotations

import struct

XEN_VERSION = 4 << 16 | 17

VENDOR = b"GenuineIntel"
BRAND = b"pvboot embedded PV machine".ljust(48, b"\0")
SIGNATURE = 0x000106A3  # family 6, model 26: Nehalem
APIC_ID_BYTES = 0x00000800  # CLFLUSH line of 64 bytes

# Leaf 1: SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT, hypervisor / FPU, TSC, MSR, PAE, CX8, CMOV, CLFLUSH, MMX, FXSR,
# SSE, SSE2.
FEATURES_1C = 1 << 0 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 23 | 1 << 31
FEATURES_1D = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 15 | 1 << 19 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26
# Leaf 0x80000001: LAHF / SYSCALL, NX, LM.
FEATURES_81C = 1 << 0
FEATURES_81D = 1 << 11 | 1 << 20 | 1 << 29
ADDRESS_BITS = 0x3028  # 48 virtual, 40 physical


def _cache(kind: int, level: int, ways: int, sets: int) -> tuple[int, ...]:
    """A subleaf of leaf 4; kind 1 data, 2 instructions, 3 both; lines of 64 bytes, for this one processor."""
    return 1 << 8 | level << 5 | kind, (ways - 1) << 22 | 63, sets - 1, 0


CACHE_LEAF = 4
CACHES = (_cache(1, 1, 8, 64), _cache(2, 1, 4, 128), _cache(3, 2, 8, 512), _cache(3, 3, 16, 8192))
USE_CACHE_LEAF = 0xFF01  # leaf 2: one round of descriptors; the only one refers to leaf 4

# A vendor's name stands in ebx, edx, ecx.
_VENDOR_REGISTERS = struct.unpack("<III", VENDOR[:4] + VENDOR[8:] + VENDOR[4:8])
# Leaf -> eax, ebx, ecx, edx.
LEAVES: dict[int, tuple[int, ...]] = {
    0: (CACHE_LEAF, *_VENDOR_REGISTERS),
    1: (SIGNATURE, APIC_ID_BYTES, FEATURES_1C, FEATURES_1D),
    2: (USE_CACHE_LEAF, 0, 0, 0),
    0x80000000: (0x80000008, 0, 0, 0),
    0x80000001: (0, 0, FEATURES_81C, FEATURES_81D),
    **{0x80000002 + part: struct.unpack_from("<IIII", BRAND, 16 * part) for part in range(3)},
    0x80000008: (ADDRESS_BITS, 0, 0, 0),
    0x40000000: (0x40000002, *struct.unpack("<III", b"XenVMMXenVMM")),
    0x40000001: (XEN_VERSION, 0, 0, 0),
}


def cpuid(leaf: int, subleaf: int = 0) -> tuple[int, ...]:
    """eax, ebx, ecx, edx of a leaf; zero where nothing is offered."""
    if leaf == CACHE_LEAF and subleaf < len(CACHES):
        return CACHES[subleaf]
    return LEAVES.get(leaf, (0, 0, 0, 0))
