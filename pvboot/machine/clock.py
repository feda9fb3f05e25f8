"""Time as the guest sees it: nanoseconds since the machine started, read through the TSC."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pvboot.machine.errors import MachineError

CALIBRATION_SECONDS = 0.05
FEWEST_READINGS = 8
MOST_READINGS = 2000
SHARP_ENOUGH_NS = 200_000


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


@dataclass(frozen=True, slots=True)
class Reading:
    """A TSC value and the host's clock when it was read; the true moment is at most `width_ns` away."""

    tsc: int
    time_ns: int
    width_ns: int


def read_sharply(read_tsc: Callable[[], int], clock: Callable[[], int] = time.monotonic_ns) -> Reading:
    """The sharpest of several readings.

    The host may take the processor away between the two clocks; a guest whose clock runs faster than the one that its
    timers are served by then waits for ever longer.  So readings go on until one had no such gap.
    """
    best: Reading | None = None
    for count in range(1, MOST_READINGS + 1):
        before = clock()
        tsc = read_tsc()
        after = clock()
        if best is None or after - before < best.width_ns:
            best = Reading(tsc, (before + after) // 2, after - before)
        if count >= FEWEST_READINGS and best.width_ns <= SHARP_ENOUGH_NS:
            break
    assert best is not None
    return best


def measure(
    read_tsc: Callable[[], int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] = time.sleep,
) -> tuple[TscScale, int]:
    """The factors of a running TSC, and the host's clock (ns) at their base.  Raises `MachineError` if it stands."""
    first = read_sharply(read_tsc, clock)
    sleep(CALIBRATION_SECONDS)
    second = read_sharply(read_tsc, clock)
    if second.tsc <= first.tsc or second.time_ns <= first.time_ns:
        raise MachineError("the CPU engine's time stamp counter does not advance")
    frequency = (second.tsc - first.tsc) * 1e9 / (second.time_ns - first.time_ns)
    return scale_for(frequency, second.tsc), second.time_ns


class Clock:
    """System time in ns; starts when the machine first runs."""

    def __init__(self) -> None:
        self._origin = time.monotonic_ns()

    def start(self, origin_ns: int) -> None:
        """Let system time have been zero when the host's clock showed `origin_ns`."""
        self._origin = origin_ns

    def now(self) -> int:
        """System time, ns."""
        return time.monotonic_ns() - self._origin
