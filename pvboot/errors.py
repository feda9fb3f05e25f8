"""Errors above the drivers; the base of all, with what, where, expected and found, is in `fsdrivers.errors`."""

from __future__ import annotations

from fsdrivers.errors import PvbootError as PvbootError


class UsageError(PvbootError):
    """The command line asks for something that makes no sense."""

    code = "usage"
    exit_code = 2


class KernelError(PvbootError):
    """The file is not a kernel that a Xen PV domain can start."""

    code = "bad-kernel"


class NotPvKernelError(KernelError):
    """A kernel, but not one for PV guests."""


class NoPaeKernelError(NotPvKernelError):
    """A 32-bit kernel without PAE."""


class KernelNotesError(KernelError):
    """A kernel whose statements to Xen contradict each other, or say what nobody knows."""


class PlanError(PvbootError):
    """No domain can be laid out or relocated from the given facts (memory too small ...)."""

    code = "no-plan"


class MenuError(PvbootError):
    """No menu, or no such entry."""

    code = "no-menu"
    exit_code = 1


class BootError(PvbootError):
    """An entry or a guest failed to boot."""

    code = "boot-failed"
    exit_code = 1


class NetworkError(PvbootError):
    """The network or a server failed."""

    code = "network"
    exit_code = 4
    unlisted = False  # whether the file was not asked for, because the list of checksums does not have it
