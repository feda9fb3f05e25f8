"""HYPERVISOR_event_channel_op: the 2-level event channel operations of a guest (Xen: xen/common/event_channel.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pvboot.machine import abi as xen
from pvboot.machine.domain import Domain
from pvboot.machine.errors import GuestFaultError
from pvboot.machine.events import STATUS_CLOSED, STATUS_INTERDOMAIN, STATUS_IPI, STATUS_UNBOUND, STATUS_VIRQ, Port
from pvboot.machine.mmu import OWN_DOMAINS


class EventChannelOps:
    """Event channel hypercalls of one domain; the FIFO ABI's are -ENOSYS, which leaves guests with the 2-level one."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._space = domain.space
        self._events = domain.events
        self._handlers: dict[int, Callable[[int], int]] = {
            1: self._bind_virq,
            3: self._close,
            4: self._send,
            5: self._status,
            6: self._alloc_unbound,
            7: self._bind_ipi,
            8: self._bind_vcpu,
            9: self._unmask,
            10: self._reset,
        }

    def event_channel_op(self, command: int, address: int) -> int:
        """Perform one operation on the structure at an address; 0 or -errno."""
        handler = self._handlers.get(command)
        return handler(address) if handler else -errno.ENOSYS

    def _port_at(self, address: int) -> int:
        return int.from_bytes(self._space.read(address, 4), "little")

    def _bind_virq(self, address: int) -> int:
        virq, vcpu, _ = self._space.unpack(xen.EVTCHN_BIND_VIRQ, address)
        if vcpu:
            return -errno.ENOENT
        port = self._events.bind_virq(virq)
        return self._store_port(port, address + 8)

    def _bind_ipi(self, address: int) -> int:
        vcpu, _ = self._space.unpack(xen.EVTCHN_BIND_IPI, address)
        if vcpu:
            return -errno.ENOENT
        return self._store_port(self._events.bind(Port(STATUS_IPI)), address + 4)

    def _alloc_unbound(self, address: int) -> int:
        own, remote, _ = self._space.unpack(xen.EVTCHN_ALLOC_UNBOUND, address)
        if own not in OWN_DOMAINS:
            return -errno.EPERM
        return self._store_port(self._events.bind(Port(STATUS_UNBOUND, remote)), address + 4)

    def _store_port(self, port: int, address: int) -> int:
        if port < 0:
            return port
        try:
            self._space.write(address, port.to_bytes(4, "little"))
        except GuestFaultError:
            self._events.close(port)
            raise
        return 0

    def _close(self, address: int) -> int:
        return self._events.close(self._port_at(address))

    def _send(self, address: int) -> int:
        number = self._port_at(address)
        port = self._events.ports.get(number)
        if port is None:
            return -errno.EINVAL
        if port.status == STATUS_IPI:
            self._events.raise_port(number)
        elif port.status == STATUS_VIRQ:
            return -errno.EINVAL
        elif port.backend == "console":
            self._domain.console.serve()
        elif port.backend == "xenstore":
            self._domain.xenstore.serve()
        return 0

    def _status(self, address: int) -> int:
        own, number, *_ = self._space.unpack(xen.EVTCHN_STATUS, address)
        if own not in OWN_DOMAINS:
            return -errno.EPERM
        if number >= self._domain.abi.port_count:
            return -errno.EINVAL
        port = self._events.ports.get(number, Port(STATUS_CLOSED))
        detail, extra = port.detail, 0
        if port.status == STATUS_INTERDOMAIN:
            detail, extra = port.detail, port.remote_port
        self._space.write(address, xen.EVTCHN_STATUS.pack(own, number, port.status, 0, detail, extra))
        return 0

    def _bind_vcpu(self, address: int) -> int:
        number = self._port_at(address)
        if number not in self._events.ports:
            return -errno.EINVAL
        return -errno.ENOENT if self._port_at(address + 4) else 0

    def _unmask(self, address: int) -> int:
        return self._events.unmask(self._port_at(address))

    def _reset(self, address: int) -> int:
        own = int.from_bytes(self._space.read(address, 2), "little")
        if own not in OWN_DOMAINS:
            return -errno.EPERM
        self._events.reset()
        return 0
