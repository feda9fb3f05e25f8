"""Segment descriptors a PV guest may load (Xen: xen/arch/x86/pv/descriptor-tables.c, check_descriptor)."""

from __future__ import annotations

import errno

import numpy as np
import numpy.typing as npt

PRESENT = 1 << 47
CODE_OR_DATA = 1 << 44
SYSTEM_TYPE = 0xF << 40
LONG_MODE = 1 << 53
ACCESSED = 1 << 40
DPL_SHIFT = 45
DPL_MASK = 3 << DPL_SHIFT


def fix_descriptor(descriptor: int, *, wide: bool) -> int | None:
    """The descriptor with a privilege level the guest may have, or None if it is refused.

    Code and data segments pass with their level raised to the guest's ring; all other present ones are refused.
    Xen also takes call gates; here they could lead to the machine's own ring 0 segment, and no known guest uses them.
    """
    if not descriptor & PRESENT:
        return descriptor
    if not descriptor & CODE_OR_DATA:
        return descriptor if not descriptor & SYSTEM_TYPE else None
    if not wide and descriptor & LONG_MODE:
        return None
    lowest = 3 if wide else 1
    level = max((descriptor & DPL_MASK) >> DPL_SHIFT, lowest)
    # Marked accessed, so that loading it never writes: the guest's view of its descriptors is read-only.
    return descriptor & ~DPL_MASK | level << DPL_SHIFT | ACCESSED


def fix_descriptor_frame(frame: npt.NDArray[np.uint64], *, wide: bool) -> int:
    """Check and fix all descriptors of a frame in place; 0 or -EINVAL (then nothing is changed)."""
    present = np.flatnonzero(frame & np.uint64(PRESENT))
    fixed = []
    for index in present:
        descriptor = fix_descriptor(int(frame[index]), wide=wide)
        if descriptor is None:
            return -errno.EINVAL
        fixed.append(descriptor)
    frame[present] = np.array(fixed, dtype=np.uint64)
    return 0
