"""Errors of the embedded machine."""

from __future__ import annotations

import errno

from pvboot.errors import BootError


class RefusedError(BootError):
    """The hypervisor refuses what the toolstack (or an executor in its place) asked for; `number` is the errno."""

    code = "refused-by-hypervisor"

    def __init__(self, what: str, number: int, *, where: str = "") -> None:
        super().__init__(what, where=where, found=errno.errorcode.get(number, str(number)))
        self.number = number


class MachineError(BootError):
    """The machine itself cannot be set up or can no longer be used."""

    code = "machine"


class GuestFaultError(Exception):
    """A guest-virtual address that the guest handed over cannot be accessed (inside the machine only: -EFAULT)."""

    def __init__(self, address: int, *, write: bool = False) -> None:
        super().__init__(f"{'write' if write else 'read'} at {address:#x}")
        self.address = address
        self.write = write


class GuestCrashError(Exception):
    """The guest did what makes Xen crash the domain (no trap handler, bad stack ...); ends the run."""


class EngineFaultError(Exception):
    """The CPU engine cannot go on (inside the machine only; ends the run)."""
