"""Errors of transfers from a server."""

from __future__ import annotations

from fsdrivers.errors import SourceError
from pvboot.errors import NetworkError


class FetchError(NetworkError, SourceError):
    """The network or a server failed.

    A `SourceError`, too: readers of disks and menus meet it where the bytes of a disk would be unreadable.
    """


class ChecksumError(FetchError):
    """The bytes that came are not the ones that were asked for."""

    code = "checksum"
    exit_code = 3


class UnlistedError(ChecksumError):
    """The list of checksums does not have the file, so the server was not asked."""

    unlisted = True
