"""HYPERVISOR_event_channel_op: the 2-level event channel operations of a guest (Xen: xen/common/event_channel.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import Struct

from pvboot.machine.domain import OWN_DOMAINS, Domain
from pvboot.machine.errors import GuestFaultError
from pvboot.machine.events import Port
from pvboot.xen import constants as xen
from pvboot.xen._formats import EVTCHN_ALLOC_UNBOUND, EVTCHN_BIND_IPI, EVTCHN_BIND_VIRQ, EVTCHN_STATUS


class EventChannelOps:
    """Event channel hypercalls of one domain; the FIFO ABI's are -ENOSYS, which leaves guests with the 2-level one."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._space = domain.space
        self._events = domain.events
        self._handlers: dict[int, Callable[[int], int]] = {
            xen.EVTCHNOP_BIND_VIRQ: self._bind_virq,
            xen.EVTCHNOP_CLOSE: lambda address: self._events.close(self._space.read_int(address)),
            xen.EVTCHNOP_SEND: self._send,
            xen.EVTCHNOP_STATUS: self._status,
            xen.EVTCHNOP_ALLOC_UNBOUND: self._alloc_unbound,
            xen.EVTCHNOP_BIND_IPI: self._bind_ipi,
            xen.EVTCHNOP_BIND_VCPU: self._bind_vcpu,
            xen.EVTCHNOP_UNMASK: lambda address: self._events.unmask(self._space.read_int(address)),
            xen.EVTCHNOP_RESET: self._reset,
        }

    def event_channel_op(self, command: int, address: int) -> int:
        """Perform one operation on the structure at an address; 0 or -errno."""
        handler = self._handlers.get(command)
        return handler(address) if handler else -errno.ENOSYS

    def _bind_virq(self, address: int) -> int:
        virq, vcpu, _ = self._space.unpack(EVTCHN_BIND_VIRQ, address)
        return -errno.ENOENT if vcpu else self._reply(address, EVTCHN_BIND_VIRQ, virq, 0, self._events.bind_virq(virq))

    def _bind_ipi(self, address: int) -> int:
        vcpu, _ = self._space.unpack(EVTCHN_BIND_IPI, address)
        if vcpu:
            return -errno.ENOENT
        return self._reply(address, EVTCHN_BIND_IPI, 0, self._events.bind(Port(xen.EVTCHNSTAT_IPI)))

    def _alloc_unbound(self, address: int) -> int:
        own, remote, _ = self._space.unpack(EVTCHN_ALLOC_UNBOUND, address)
        if own not in OWN_DOMAINS:
            return -errno.EPERM
        port = self._events.bind(Port(xen.EVTCHNSTAT_UNBOUND, remote))
        return self._reply(address, EVTCHN_ALLOC_UNBOUND, own, remote, port)

    def _reply(self, address: int, layout: Struct, *members: int) -> int:
        """Store a structure whose last member is a new port; the port is closed again if it cannot be stored."""
        port = members[-1]
        if port < 0:
            return port
        try:
            self._space.write(address, layout.pack(*members))
        except GuestFaultError:
            self._events.close(port)
            raise
        return 0

    def _send(self, address: int) -> int:
        number = self._space.read_int(address)
        port = self._events.ports.get(number)
        if port is None or port.status == xen.EVTCHNSTAT_VIRQ:
            return -errno.EINVAL
        if port.status == xen.EVTCHNSTAT_IPI:
            self._events.raise_port(number)
        elif port.backend == "console":
            self._domain.console.serve()
        elif port.backend == "xenstore":
            self._domain.xenstore.serve()
        return 0

    def _status(self, address: int) -> int:
        own, number, *_ = self._space.unpack(EVTCHN_STATUS, address)
        if own not in OWN_DOMAINS:
            return -errno.EPERM
        if number >= self._events.port_count:
            return -errno.EINVAL
        port = self._events.ports.get(number, Port(xen.EVTCHNSTAT_CLOSED))
        status = EVTCHN_STATUS.pack(own, number, port.status, 0, port.detail, port.remote_port)
        self._space.write(address, status)
        return 0

    def _bind_vcpu(self, address: int) -> int:
        if self._space.read_int(address) not in self._events.ports:
            return -errno.EINVAL
        return -errno.ENOENT if self._space.read_int(address + 4) else 0

    def _reset(self, address: int) -> int:
        if self._space.read_int(address, 2) not in OWN_DOMAINS:
            return -errno.EPERM
        self._events.reset()
        return 0
