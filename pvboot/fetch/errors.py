"""The errors of transfers."""

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
    """The file received does not have the checksum demanded."""

    code = "checksum"
    exit_code = 3


class UnlistedError(ChecksumError):
    """The file is not in the list of checksums, so it is not even requested."""

    unlisted = True
