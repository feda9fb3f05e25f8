"""Event channels and timers."""

from __future__ import annotations

import errno

import pytest

from pvboot.machine.clock import Clock
from pvboot.machine.events import Events, Port, Timer
from pvboot.machine.memory import Memory
from pvboot.machine.vcpu import Vcpu
from pvboot.xen._formats import SHARED_INFO_OFFSETS, VCPU_INFO_OFFSETS, WORD
from pvboot.xen.constants import EVTCHNSTAT_IPI, EVTCHNSTAT_UNBOUND


class Channel:
    """Events of a small memory, with the guest's view of shared_info."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.memory = Memory(width, 16)
        self.vcpu = Vcpu(self.memory)
        self.events = Events(self.memory, self.vcpu)
        self.word = WORD[width]
        self.at = SHARED_INFO_OFFSETS[width]
        self.selector_at = VCPU_INFO_OFFSETS[width].evtchn_pending_sel
        self.shared = self.memory.shared_info_mfn << 12

    def mask(self, port: int, masked: bool) -> None:
        at = self.shared + self.at.evtchn_mask + port // 8
        bit = 1 << port % 8
        self.memory.mm[at] = self.memory.mm[at] | bit if masked else self.memory.mm[at] & ~bit & 0xFF

    def clear_pending(self, port: int) -> None:
        self.memory.mm[self.shared + self.at.evtchn_pending + port // 8] &= ~(1 << port % 8) & 0xFF

    def selector(self) -> int:
        return int(self.word.unpack_from(self.memory.mm, self.vcpu.info + self.selector_at)[0])


@pytest.fixture(params=[64, 32])
def channel(request: pytest.FixtureRequest) -> Channel:
    return Channel(request.param)


def test_raising_selects_the_word_and_the_upcall(channel: Channel) -> None:
    port = channel.width + 3  # in the second word
    channel.events.raise_port(port)
    assert channel.events.is_pending(port) and not channel.events.is_pending(port + 1)
    assert channel.selector() == 2 and channel.vcpu.upcall_pending and channel.vcpu.pending
    channel.vcpu.mask = 1
    assert not channel.vcpu.pending


def test_a_masked_port_stays_silent_until_unmasked(channel: Channel) -> None:
    port = channel.events.bind(Port(EVTCHNSTAT_IPI))
    channel.mask(port, True)
    channel.events.raise_port(port)
    assert channel.events.is_pending(port) and not channel.vcpu.upcall_pending
    assert channel.events.unmask(port) == 0
    assert channel.vcpu.upcall_pending and channel.selector() == 1


def test_a_pending_port_is_not_raised_twice(channel: Channel) -> None:
    channel.events.raise_port(5)
    channel.memory.mm[channel.vcpu.info] = 0
    channel.events.raise_port(5)
    assert not channel.vcpu.upcall_pending
    channel.clear_pending(5)
    channel.word.pack_into(channel.memory.mm, channel.vcpu.info + channel.selector_at, 0)
    channel.events.raise_port(5)
    assert channel.vcpu.upcall_pending


def test_ports_are_given_lowest_first_and_reused(channel: Channel) -> None:
    events = channel.events
    events.bind_backend(1, "xenstore")
    events.bind_backend(2, "console")
    assert [events.bind(Port(EVTCHNSTAT_UNBOUND)) for _ in range(3)] == [3, 4, 5]
    assert events.close(4) == 0 and events.close(4) == -errno.EINVAL
    assert events.bind(Port(EVTCHNSTAT_IPI)) == 4
    assert events.unmask(77) == -errno.EINVAL


def test_ports_run_out(channel: Channel) -> None:
    count = channel.events.port_count
    numbers = [channel.events.bind(Port(EVTCHNSTAT_IPI)) for _ in range(count)]
    assert numbers[-2:] == [count - 1, -errno.ENOSPC]
    channel.events.raise_port(count - 1)
    assert channel.selector() >> (channel.width - 1) == 1
    channel.events.reset()
    assert not channel.events.ports and channel.events.bind(Port(EVTCHNSTAT_IPI)) == 1


def test_virqs_are_bound_once(channel: Channel) -> None:
    events = channel.events
    port = events.bind_virq(0)
    assert events.bind_virq(0) == -errno.EEXIST and events.bind_virq(24) == -errno.EINVAL
    assert events.raise_virq(0) and events.is_pending(port)
    events.close(port)
    assert not events.raise_virq(0) and not events.is_pending(port)
    assert events.bind_virq(0) > 0


def test_a_moved_vcpu_info_keeps_events(channel: Channel) -> None:
    channel.events.raise_port(9)
    channel.vcpu.mask = 1
    target = (channel.memory.guest_base + 3) << 12 | 0x140
    channel.vcpu.move_info(target)
    assert channel.vcpu.upcall_pending and channel.vcpu.mask == 1
    assert channel.selector() == (1 << channel.width) - 1  # everything is looked at again


class FixedClock(Clock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0

    def now(self) -> int:
        return self.moment


def timer_with_port() -> tuple[FixedClock, Timer, Channel, int]:
    channel, clock = Channel(64), FixedClock()
    timer = Timer(clock, channel.events)
    timer.set_period(None)
    return clock, timer, channel, channel.events.bind_virq(0)


def test_single_shot_fires_once() -> None:
    clock, timer, channel, port = timer_with_port()
    timer.set_deadline(1_000_000)
    clock.moment = 999_999
    timer.check()
    assert not channel.events.is_pending(port) and timer.next_due == 1_000_000
    clock.moment = 1_100_000
    timer.check()
    assert channel.events.is_pending(port) and timer.next_due is None
    channel.clear_pending(port)
    timer.check()
    assert not channel.events.is_pending(port) and timer.fired == 1


def test_periodic_fires_again_and_again() -> None:
    clock, timer, channel, port = timer_with_port()
    timer.set_period(10_000_000)
    for tick in range(1, 4):
        clock.moment = tick * 10_100_000
        timer.check()
        assert channel.events.is_pending(port)
        channel.clear_pending(port)
    assert timer.fired == 3


def test_new_vcpus_tick_at_100_hz() -> None:
    channel, clock = Channel(64), FixedClock()
    timer = Timer(clock, channel.events)
    assert timer.next_due == 10_000_000
