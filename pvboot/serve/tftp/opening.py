"""Opening the file of a request, which may block, in a few threads beside the loop."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from fsdrivers.api import Extent
from fsdrivers.errors import IsADirectory, PathError
from pvboot.errors import PvbootError
from pvboot.serve.api import Content, Requester, ServedDirectory, ServedFile
from pvboot.serve.tftp import packets
from pvboot.serve.tftp.source import FileReader

log = logging.getLogger(__name__)

Token = TypeVar("Token")


@dataclass(frozen=True, slots=True)
class Opened:
    """A file to be sent and its reader; close the file once."""

    file: ServedFile
    reader: FileReader


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: a TFTP error code, a short text for the client and the whole reason for the journal."""

    code: int
    text: str
    reason: str


class _Converted:
    """A file as netascii, in memory; its extents are its own."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def extents(self) -> Sequence[Extent]:
        return [Extent(self.size, data=self._data)] if self.size else []


def open_file(content: Content, path: str, who: Requester, mode: str, netascii_bytes: int) -> Opened | Refused:
    """Look a path up and make its file ready to be sent; never raises."""
    try:
        found = content.open(path, who)
    except PvbootError as err:
        return _refusal(err)
    except Exception as err:
        log.exception("opening %r failed", path)
        return Refused(packets.UNDEFINED, "server error", f"{type(err).__name__}: {err}")
    if isinstance(found, ServedDirectory):
        return Refused(packets.ACCESS_VIOLATION, "is a directory", "is a directory")
    try:
        reader = FileReader(found)
        if mode == "netascii":
            if reader.size > netascii_bytes:
                text = f"netascii is for files up to {netascii_bytes} bytes: use octet"
                found.close()
                return Refused(packets.UNDEFINED, text, text)
            reader = FileReader(_Converted(netascii(reader.read_all())))
        return Opened(found, reader)
    except PvbootError as err:
        found.close()
        return _refusal(err)
    except Exception as err:
        log.exception("reading %r failed", path)
        found.close()
        return Refused(packets.UNDEFINED, "server error", f"{type(err).__name__}: {err}")


def _refusal(err: PvbootError) -> Refused:
    """Return the refusal for an error, without `where`: it names files of the server's."""
    if isinstance(err, PathError) and not isinstance(err, IsADirectory):
        return Refused(packets.NOT_FOUND, "file not found", str(err))
    if err.code in (IsADirectory.code, "bad-path"):
        return Refused(packets.ACCESS_VIOLATION, err.what, str(err))
    return Refused(packets.UNDEFINED, err.what, str(err))


def netascii(data: bytes) -> bytes:
    """Convert bytes to netascii (RFC 764 by RFC 1350): line ends to CR LF, a CR of its own to CR NUL."""
    return data.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")


class Opener(Generic[Token]):
    """Opens files in threads; the results wait until the loop fetches them by `take`.

    `wake` is called from the threads.  After `close` nothing is kept: a file that is opened later is closed at once.
    """

    def __init__(self, threads: int, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[tuple[Token, Callable[[], Opened | Refused]] | None] = SimpleQueue()
        self._results: deque[tuple[Token, Opened | Refused]] = deque()
        self._closed = False
        # Daemons, and no ThreadPoolExecutor: a disk that never answers must not keep the process from ending.
        self._threads = [threading.Thread(target=self._work, name="tftp-open", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, token: Token, work: Callable[[], Opened | Refused]) -> None:
        """Have `work` done; its result comes back with `token`."""
        self._jobs.put((token, work))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            token, work = job
            if not self._closed:
                self._keep(token, work())

    def _keep(self, token: Token, result: Opened | Refused) -> None:
        with self._lock:
            if not self._closed:
                self._results.append((token, result))
                self._wake()
                return
        if isinstance(result, Opened):
            result.file.close()

    def take(self) -> tuple[Token, Opened | Refused] | None:
        """Return the next result, None if none waits."""
        with contextlib.suppress(IndexError):
            return self._results.popleft()
        return None

    def close(self) -> None:
        """Drop jobs that have not begun; those that have end on their own."""
        with self._lock:
            self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        while (result := self.take()) is not None:
            if isinstance(result[1], Opened):
                result[1].file.close()
