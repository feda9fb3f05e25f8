"""HYPERVISOR_vcpu_op, set_timer_op: the one vCPU, its vcpu_info, runstate and timers (Xen: xen/common/domain.c)."""

from __future__ import annotations

import errno

from pvboot.machine.domain import Domain
from pvboot.xen import constants as xen
from pvboot.xen._formats import (
    VCPU_INFO_OFFSETS,
    VCPU_REGISTER_VCPU_INFO,
    VCPU_RUNSTATE_INFO,
    VCPU_SET_SINGLESHOT_TIMER,
)
from pvboot.xen.paging import PAGE_SIZE, PTE_RW

PERIOD_MIN_NS = 1_000_000


class VcpuOps:
    """vCPU hypercalls of one domain."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._space = domain.space
        self._vcpu = domain.vcpu

    def vcpu_op(self, command: int, vcpu: int, address: int) -> int:
        """Operations on vCPU 0; no other exists."""
        if vcpu:
            return -errno.ENOENT
        if command == xen.VCPUOP_IS_UP:
            return 1
        if command == xen.VCPUOP_DOWN:
            self._domain.end("halted", detail="the guest took its only vCPU down")
            return 0
        if command == xen.VCPUOP_GET_RUNSTATE_INFO:
            self._space.write(address, self._runstate())
            return 0
        if command == xen.VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA:
            area = self._space.read_int(address, self._domain.word_bytes)
            if area:
                self._space.write(area, self._runstate())
            return 0
        if command == xen.VCPUOP_REGISTER_VCPU_INFO:
            return self._register_vcpu_info(address)
        return self._vcpu_timer_op(command, address)

    def _vcpu_timer_op(self, command: int, address: int) -> int:
        timer = self._domain.timer
        if command == xen.VCPUOP_SET_PERIODIC_TIMER:
            period = self._space.read_int(address, 8)
            if period < PERIOD_MIN_NS:
                return -errno.EINVAL
            timer.set_period(period)
        elif command == xen.VCPUOP_STOP_PERIODIC_TIMER:
            timer.set_period(None)
        elif command == xen.VCPUOP_SET_SINGLESHOT_TIMER:
            deadline, flags = self._space.unpack(VCPU_SET_SINGLESHOT_TIMER[self._domain.width], address)
            if flags & xen.VCPU_SSHOTTMR_FUTURE and deadline < self._domain.clock.now():
                return -errno.ETIME
            timer.set_deadline(deadline)
        elif command == xen.VCPUOP_STOP_SINGLESHOT_TIMER:
            timer.set_deadline(None)
        else:
            return -errno.ENOSYS
        return 0

    def _runstate(self) -> bytes:
        """Running since now: nobody competes for the CPU."""
        now = self._domain.clock.now()
        return VCPU_RUNSTATE_INFO[self._domain.width].pack(0, now, now, 0, 0, 0)

    def _register_vcpu_info(self, address: int) -> int:
        mfn, offset, _ = self._space.unpack(VCPU_REGISTER_VCPU_INFO, address)
        if self._vcpu.info_registered or offset > PAGE_SIZE - VCPU_INFO_OFFSETS[self._domain.width].SIZE:
            return -errno.EINVAL
        # The hypervisor keeps a writable reference for good.
        if not self._domain.frames.owns(mfn) or self._domain.frames.get_mapping(mfn, PTE_RW):
            return -errno.EINVAL
        self._vcpu.move_info(mfn << 12 | offset)
        return 0

    def set_timer(self, deadline: int) -> int:
        """Single-shot timer; 0 stops it."""
        self._domain.timer.set_deadline(deadline or None)
        return 0
