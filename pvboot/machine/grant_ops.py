"""HYPERVISOR_grant_table_op: version 1 tables, set up and mapped by the guest (Xen: xen/common/grant_table.c)."""

from __future__ import annotations

import errno

from pvboot.machine.domain import OWN_DOMAINS, Domain
from pvboot.machine.memory import GRANT_FRAMES_MAX
from pvboot.xen import constants as xen
from pvboot.xen._formats import GNTTAB_GET_VERSION, GNTTAB_QUERY_SIZE, GNTTAB_SETUP_TABLE


class GrantOps:
    """Grant table hypercalls of one domain."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._space = domain.space

    def grant_table_op(self, command: int, address: int, count: int) -> int:
        """Version 1 only, one operation a call: no back end takes grants from here yet."""
        if count != 1:
            return -errno.ENOSYS if count else 0
        if command == xen.GNTTABOP_SET_VERSION:
            wanted = self._space.read_int(address)
            self._space.write_int(address, 1)
            return 0 if wanted == 1 else -errno.EINVAL
        if command == xen.GNTTABOP_GET_VERSION:
            dom, _ = self._space.unpack(GNTTAB_GET_VERSION, address)
            self._space.write(address, GNTTAB_GET_VERSION.pack(dom, 1))
            return 0
        if command == xen.GNTTABOP_QUERY_SIZE:
            own = self._space.read_int(address, 2)
            limits = GNTTAB_QUERY_SIZE.pack(own, self._domain.grant_frames, GRANT_FRAMES_MAX, xen.GNTST_OKAY)
            self._space.write(address, limits)
            return 0
        return self._setup(address) if command == xen.GNTTABOP_SETUP_TABLE else -errno.ENOSYS

    def _setup(self, address: int) -> int:
        layout = GNTTAB_SETUP_TABLE[self._domain.width]
        own, count, _, target = self._space.unpack(layout, address)
        status = xen.GNTST_OKAY
        if own not in OWN_DOMAINS:
            status = xen.GNTST_GENERAL_ERROR
        elif (frames := self._domain.grant_table_frames(count)) is None:
            status = xen.GNTST_PERMISSION_DENIED
        else:
            self._space.write(target, self._domain.pack_words(frames))
        self._space.write(address, layout.pack(own, count, status, target))
        return 0
