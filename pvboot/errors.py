"""Errors that a user may see: what is wrong, where, what was expected and what was found."""

from __future__ import annotations


class PvbootError(Exception):
    """Base of the project's own errors; `fsdrivers.errors.FsError` has the same shape.

    `code` is stable and meant for programs; `exit_code` follows the command line's contract:
    1 the answer is no, 2 wrong usage, 3 the input is damaged, hostile or unsupported, 4 network trouble.
    """

    code = "error"
    exit_code = 3

    def __init__(self, what: str, *, where: str = "", expected: str = "", found: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        facts = [f"{label} {value}" for label, value in (("expected", self.expected), ("found", self.found)) if value]
        return f"{text} ({', '.join(facts)})" if facts else text


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
