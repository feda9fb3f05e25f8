"""HYPERVISOR_grant_table_op: version 1 tables, set up and mapped by the guest (Xen: xen/common/grant_table.c)."""

from __future__ import annotations

import errno

from pvboot.machine import abi as xen
from pvboot.machine.domain import Domain
from pvboot.machine.memory import GRANT_FRAMES_MAX
from pvboot.machine.mmu import OWN_DOMAINS

SETUP_TABLE, QUERY_SIZE, SET_VERSION, GET_VERSION = 2, 6, 8, 10
STATUS_GENERAL_ERROR = -1
STATUS_NO_SPACE = -8


class GrantOps:
    """Grant table hypercalls of one domain."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._space = domain.space
        self._abi = domain.abi

    def grant_table_op(self, command: int, address: int, count: int) -> int:
        """Version 1 only, one operation a call: no back end takes grants from here yet."""
        if count != 1:
            return -errno.ENOSYS if count else 0
        if command == SET_VERSION:
            wanted = int.from_bytes(self._space.read(address, 4), "little")
            self._space.write(address, (1).to_bytes(4, "little"))
            return 0 if wanted == 1 else -errno.EINVAL
        if command == GET_VERSION:
            self._space.write(address + 4, (1).to_bytes(4, "little"))
            return 0
        if command == QUERY_SIZE:
            own, _, _, _ = self._space.unpack(xen.GRANT_QUERY_SIZE, address)
            limits = (own, self._domain.grant_frames, GRANT_FRAMES_MAX, 0)
            self._space.write(address, xen.GRANT_QUERY_SIZE.pack(*limits))
            return 0
        if command == SETUP_TABLE:
            return self._setup(address)
        return -errno.ENOSYS

    def _setup(self, address: int) -> int:
        layout = self._abi.grant_setup_table
        own, count, _, target = self._space.unpack(layout, address)
        status = 0
        if own not in OWN_DOMAINS:
            status = STATUS_GENERAL_ERROR
        else:
            frames = self._domain.grant_table_frames(count)
            if frames is None:
                status = STATUS_NO_SPACE
            else:
                self._space.write(target, b"".join(map(self._abi.word.pack, frames)))
        self._space.write(address, layout.pack(own, count, status, target))
        return 0
