"""The errors of unpacking."""

from __future__ import annotations

from fsdrivers.errors import PvbootError


class UnpackError(PvbootError):
    """The packed data is damaged; `at` is the byte of the packed stream near which that was noticed."""

    code = "bad-archive"

    def __init__(self, what: str, at: int, *, expected: str = "", found: str = "") -> None:
        super().__init__(what, expected=expected, found=found)
        self.at = at


class CutError(UnpackError):
    """The packed data ends early."""


class TooLargeError(UnpackError):
    """The data unpacks to more than the limit."""
