"""The types between the server's parts: requesters, what is served to them, and the journal of it.

Paths are absolute, separated by "/", without ".", ".." or empty components, their bytes UTF-8 or surrogate escapes:
protocol loops decode and normalise them with `paths.clean` before anybody else sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fsdrivers.api import Extent


@dataclass(frozen=True, slots=True)
class Requester:
    """The sender of a request: `protocol` is "tftp", "http" or "https", `address` without brackets or scope ("" over a
    Unix socket), `agent` HTTP's User-Agent.  `claims` is what the request says about its sender ("mac", "uuid",
    "hostname"); it proves nothing."""

    protocol: str
    address: str
    port: int = 0
    agent: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)


class ServedFile(Protocol):
    """An open file: runs of descriptors (for sendfile, pread, mmap) or bytes."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def mtime(self) -> float | None:
        """Seconds since 1970, None if the content is made for the requester."""

    @property
    def etag(self) -> str:
        """A strong validator without quotes; changes whenever a byte may have changed."""

    @property
    def content_type(self) -> str:
        """MIME type."""

    def extents(self) -> Sequence[Extent]:
        """The whole file, neighbours joined, adding up to `size`; valid until `close`."""

    def close(self) -> None:
        """Give back what the file holds; every file that was opened is closed exactly once."""


@dataclass(frozen=True, slots=True)
class ServedDirectory:
    """A directory: (name, is_directory, size in bytes) of each of its entries, sorted by name."""

    entries: tuple[tuple[str, bool, int], ...]


class Content(Protocol):
    """All that guests can ask for.  Called from several threads at once; may block for the time of a disk."""

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        """Open what a path stands for.  Raises `NotFound` and other `FsError`s, `PvbootError`."""


class Journal(Protocol):
    """Notes every transfer; called from the protocol loops, so it never blocks and never raises."""

    def begin(self, who: Requester, path: str, size: int) -> int:
        """Note the start of a transfer; return its number."""

    def advance(self, number: int, sent: int) -> None:
        """Note `sent` bytes so far (not more often than a few times a second for each transfer)."""

    def end(self, number: int, outcome: str, sent: int) -> None:
        """Note the end: `outcome` is "done", "aborted" (the client left), "timeout" or "error: ..."."""

    def refuse(self, who: Requester, path: str, reason: str) -> None:
        """Note a request that was refused or failed."""

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter: a metric's name without its prefix ("tftp_resends" ...)."""
