"""Event channels (2-level ABI) and the virtual timer."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from pvboot.machine.clock import Clock
from pvboot.machine.memory import Memory
from pvboot.machine.vcpu import Vcpu
from pvboot.xen._formats import SHARED_INFO_OFFSETS
from pvboot.xen.constants import EVTCHNSTAT_INTERDOMAIN, EVTCHNSTAT_VIRQ, NR_VIRQS, VIRQ_TIMER

DEFAULT_PERIOD_NS = 10_000_000  # Xen gives every new vCPU a 100 Hz tick
TIMER_SLOP_NS = 20_000


@dataclass(frozen=True, slots=True)
class Port:
    """A bound event channel; `detail` is the VIRQ, or the remote domain."""

    status: int
    detail: int = 0
    remote_port: int = 0
    backend: str = ""


class Events:
    """The guest's ports and their bits in shared_info."""

    def __init__(self, memory: Memory, vcpu: Vcpu) -> None:
        self._mm = memory.mm
        self._port_bits = memory.width  # ports in one selector word
        self._vcpu = vcpu
        shared = memory.shared_info_mfn << 12
        at = SHARED_INFO_OFFSETS[memory.width]
        self._pending = shared + at.evtchn_pending
        self._mask = shared + at.evtchn_mask
        self.port_count = 8 * (at.evtchn_mask - at.evtchn_pending)
        self.ports: dict[int, Port] = {}
        self._virqs: dict[int, int] = {}
        self._lowest_free = 1

    # --- bits in shared_info

    def _bit(self, port: int) -> tuple[int, int, int]:
        """Byte offset in the bitmap, bit in that byte, selector word."""
        return port >> 3, 1 << (port & 7), port // self._port_bits

    def is_pending(self, port: int) -> bool:
        """Whether the port's pending bit is set."""
        offset, bit, _ = self._bit(port)
        return bool(self._mm[self._pending + offset] & bit)

    def raise_port(self, port: int) -> None:
        """Make an event pending (Xen: evtchn_2l_set_pending)."""
        offset, bit, word = self._bit(port)
        if self._mm[self._pending + offset] & bit:
            return
        self._mm[self._pending + offset] |= bit
        if not self._mm[self._mask + offset] & bit:
            self._vcpu.select(word)

    def unmask(self, port: int) -> int:
        """EVTCHNOP_unmask."""
        if port not in self.ports:
            return -errno.EINVAL
        offset, bit, word = self._bit(port)
        if self._mm[self._mask + offset] & bit:
            self._mm[self._mask + offset] &= ~bit & 0xFF
            if self._mm[self._pending + offset] & bit:
                self._vcpu.select(word)
        return 0

    # --- ports

    def bind(self, port: Port) -> int:
        """Allocate the lowest free port number; -ENOSPC if there is none."""
        number = self._lowest_free
        while number in self.ports:
            number += 1
        if number >= self.port_count:
            return -errno.ENOSPC
        self._lowest_free = number + 1
        self.ports[number] = port
        return number

    def bind_backend(self, number: int, backend: str) -> None:
        """The toolstack's ports: connected to a back end in domain 0 before the guest starts."""
        self.ports[number] = Port(EVTCHNSTAT_INTERDOMAIN, 0, number, backend)

    def bind_virq(self, virq: int) -> int:
        """EVTCHNOP_bind_virq on vCPU 0: the port or -errno."""
        if virq >= NR_VIRQS:
            return -errno.EINVAL
        if virq in self._virqs:
            return -errno.EEXIST
        number = self.bind(Port(EVTCHNSTAT_VIRQ, virq))
        if number > 0:
            self._virqs[virq] = number
        return number

    def close(self, number: int) -> int:
        """EVTCHNOP_close; also forgets a pending event."""
        port = self.ports.pop(number, None)
        if port is None:
            return -errno.EINVAL
        if port.status == EVTCHNSTAT_VIRQ:
            self._virqs.pop(port.detail, None)
        offset, bit, _ = self._bit(number)
        self._mm[self._pending + offset] &= ~bit & 0xFF
        self._lowest_free = min(self._lowest_free, number)
        return 0

    def reset(self) -> None:
        """EVTCHNOP_reset: close everything."""
        for number in list(self.ports):
            self.close(number)

    def raise_virq(self, virq: int) -> bool:
        """Raise a VIRQ if the guest has bound it."""
        number = self._virqs.get(virq)
        if number is None:
            return False
        self.raise_port(number)
        return True


class Timer:
    """The single-shot and the periodic timer of the vCPU; both raise VIRQ_TIMER."""

    def __init__(self, clock: Clock, events: Events) -> None:
        self._clock = clock
        self._events = events
        self.deadline: int | None = None
        self.period: int | None = DEFAULT_PERIOD_NS
        self._next_tick = DEFAULT_PERIOD_NS
        self.fired = 0

    def set_deadline(self, deadline: int | None) -> None:
        """Single-shot timer at an absolute system time in ns, or none."""
        self.deadline = deadline

    def set_period(self, period: int | None) -> None:
        """Periodic timer, or none."""
        self.period = period
        if period is not None:
            self._next_tick = self._clock.now() + period

    @property
    def next_due(self) -> int | None:
        """When the next tick is due (system time, ns), or None."""
        if self.period is None:
            return self.deadline
        return self._next_tick if self.deadline is None else min(self._next_tick, self.deadline)

    def check(self) -> None:
        """Raise VIRQ_TIMER if a deadline has passed."""
        due = self.next_due
        if due is None:
            return
        now = self._clock.now()
        if now < due + TIMER_SLOP_NS:
            return
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
        if self.period is not None and now >= self._next_tick:
            self._next_tick = now + self.period
        if self._events.raise_virq(VIRQ_TIMER):
            self.fired += 1
