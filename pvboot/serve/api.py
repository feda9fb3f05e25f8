"""The types between the server's parts: who asks, what is served, and who is told about it.

Paths are absolute, separated by "/", without ".", ".." or empty components, their bytes UTF-8 or surrogate escapes:
protocol loops decode and normalise them with `paths.clean` before anybody else sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fsdrivers.api import Extent


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks: `protocol` is "tftp", "http" or "https", `address` without brackets or scope, `agent` HTTP's
    User-Agent.  `claims` is what the request says about its sender ("mac", "uuid", "hostname"); it proves nothing."""

    protocol: str
    address: str
    port: int = 0
    agent: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)


class ServedFile(Protocol):
    """An open file: what is sent, as runs of descriptors (sendfile, pread, mmap apply) or bytes."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def mtime(self) -> float | None:
        """Seconds since 1970, None if the content is made for the asker."""

    @property
    def etag(self) -> str:
        """A strong validator without quotes; changes whenever a byte may have changed."""

    @property
    def content_type(self) -> str:
        """MIME type."""

    def extents(self) -> Sequence[Extent]:
        """The whole file, neighbours joined, adding up to `size`; valid until `close`."""

    def close(self) -> None:
        """Give back what it holds; every file that was opened is closed exactly once."""


@dataclass(frozen=True, slots=True)
class ServedDirectory:
    """A directory: (name, is_directory, size in bytes) of each of its entries, sorted by name."""

    entries: tuple[tuple[str, bool, int], ...]


class Content(Protocol):
    """Everything that can be asked for.  Called from several threads at once; may block for the time of a disk."""

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        """Raises `fsdrivers.errors.NotFound` and the other `FsError`s, `pvboot.errors.PvbootError`."""


class Journal(Protocol):
    """Told about every transfer; called from the protocol loops, so it never blocks and never raises."""

    def begin(self, who: Requester, path: str, size: int) -> int:
        """A transfer starts; gives its number."""

    def advance(self, number: int, sent: int) -> None:
        """`sent` bytes so far (not more often than a few times a second for each transfer)."""

    def end(self, number: int, outcome: str, sent: int) -> None:
        """`outcome` is "done", "aborted" (the client left), "timeout" or "error: ..."."""

    def refuse(self, who: Requester, path: str, reason: str) -> None:
        """A request came to nothing."""

    def count(self, name: str, amount: int = 1) -> None:
        """Something worth counting: a metric's name without the prefix ("tftp_resends" ...)."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request that is no file: `path` as above, header names in lower case."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    who: Requester


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers; the HTTP loop adds length, date and connection headers."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


# Answers the paths that are its own and gives None for all others, which are then looked for in the content.
# Called in a thread: it may block.
Handler = Callable[[Request], Response | None]
