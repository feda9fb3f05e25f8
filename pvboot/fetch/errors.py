"""What can go wrong between us and a server."""

from __future__ import annotations

from fsdrivers.errors import SourceError
from pvboot.errors import NetworkError


class FetchError(NetworkError, SourceError):
    """The network or a server failed.

    A `SourceError`, too: readers of disks and menus meet it where the bytes of a disk would be unreadable.
    """

    code = "network"
    exit_code = 4


class ChecksumError(FetchError):
    """What came is not what was asked for."""

    code = "checksum"
    exit_code = 3


class UnlistedError(ChecksumError):
    """The list of checksums does not know the file, so it was not even asked for."""

    unlisted = True
