"""The guest's clock and the one its timers are served by are the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.machine.clock import MOST_READINGS, measure, read_sharply, scale_for
from pvboot.machine.errors import MachineError


class Host:
    """A host whose clock runs on with every look at it, and that takes the processor away now and then."""

    def __init__(self, hz: float, stalls: dict[int, int]) -> None:
        self.hz, self.stalls = hz, stalls
        self.ns, self.looks = 10**9, 0

    def _pass(self) -> None:
        self.looks += 1
        self.ns += 3_000 + self.stalls.get(self.looks, 0)

    def clock(self) -> int:
        self._pass()
        return self.ns

    def tsc(self) -> int:
        self._pass()
        return int(self.ns * self.hz / 1e9)

    def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


@given(
    hz=st.sampled_from([24e6, 1e9, 2.594e9, 5.1e9]),
    stalls=st.dictionaries(st.integers(1, 40), st.integers(10**6, 10**10), max_size=12),
)
def test_a_host_that_stalls_does_not_falsify_the_clock(hz: float, stalls: dict[int, int]) -> None:
    host = Host(hz, stalls)
    scale, origin = measure(host.tsc, clock=host.clock, sleep=host.sleep)
    true = scale_for(hz, scale.base)
    assert scale.multiplier / 2**32 * 2.0**scale.shift == pytest.approx(
        true.multiplier / 2**32 * 2.0**true.shift, rel=1e-3
    )
    assert abs(scale.base * 1e9 / hz - origin) < 50_000


def test_a_host_that_always_stalls_is_measured_as_well_as_can_be() -> None:
    stalls = random.Random(4)
    host = Host(1e9, {look: stalls.randrange(10**6, 10**7) for look in range(1, 4 * MOST_READINGS)})
    reading = read_sharply(host.tsc, host.clock)
    assert abs(reading.tsc - reading.time_ns) <= reading.width_ns


def test_a_counter_that_stands_is_refused() -> None:
    with pytest.raises(MachineError, match="does not advance"):
        measure(lambda: 5, sleep=lambda _seconds: None)


@given(st.floats(1e6, 1e11))
def test_the_factors_give_nanoseconds(hz: float) -> None:
    scale = scale_for(hz, 0)
    assert 1 << 31 <= scale.multiplier < 1 << 32
    ticks = int(hz * 10)
    shifted = ticks << scale.shift if scale.shift >= 0 else ticks >> -scale.shift
    assert (shifted * scale.multiplier >> 32) == pytest.approx(1e10, rel=1e-6)
