"""Time as the guest sees it: nanoseconds since the machine started, read through the TSC."""

from __future__ import annotations

import time
from dataclasses import dataclass

MONOTONIC_SAMPLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class TscScale:
    """vcpu_time_info's factors: ns = ((tsc - base) << shift) * multiplier >> 32."""

    base: int
    multiplier: int
    shift: int


def scale_for(frequency_hz: float, base: int) -> TscScale:
    """The factors for a TSC frequency, multiplier normalised to 32 bits (Xen: set_time_scale)."""
    ratio = 1e9 / frequency_hz
    shift = 0
    while ratio >= 1.0:
        ratio /= 2
        shift += 1
    while ratio < 0.5:
        ratio *= 2
        shift -= 1
    return TscScale(base, min(int(ratio * (1 << 32)), 0xFFFFFFFF), shift)


class Clock:
    """System time in ns; starts when the machine first runs."""

    def __init__(self) -> None:
        self._origin = time.monotonic_ns()

    def start(self) -> None:
        """Let system time be zero now."""
        self._origin = time.monotonic_ns()

    def now(self) -> int:
        """System time, ns."""
        return time.monotonic_ns() - self._origin
