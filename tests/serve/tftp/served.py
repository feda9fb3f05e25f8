"""A TFTP server on loopback with files of the test's own, and what became of its transfers."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fsdrivers.api import Extent
from fsdrivers.errors import NotFound
from pvboot.serve.api import Requester, ServedDirectory, ServedFile
from pvboot.serve.tftp.limits import TftpLimits
from pvboot.serve.tftp.server import TftpServer
from tests.serve.journal import MemoryJournal, wait_until


@dataclass
class ExtentFile:
    """A served file made of given extents; counts how often it was closed."""

    runs: Sequence[Extent]
    closed: int = 0
    mtime: float | None = None
    etag: str = "etag"
    content_type: str = "application/octet-stream"

    @property
    def size(self) -> int:
        return sum(run.length for run in self.runs)

    def extents(self) -> Sequence[Extent]:
        return self.runs

    def close(self) -> None:
        self.closed += 1


@dataclass
class Files:
    """Content out of a table: path to extents, bytes, an error to raise, or a directory."""

    table: Mapping[str, object]
    opened: list[ExtentFile] = field(default_factory=list)
    asked: list[Requester] = field(default_factory=list)
    gate: threading.Event | None = None

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        self.asked.append(who)
        if self.gate is not None:
            self.gate.wait(30)
        found = self.table.get(path)
        if found is None:
            raise NotFound("no such file or directory", where=path)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, ServedDirectory):
            return found
        if isinstance(found, bytes):
            found = [Extent(len(found), data=found)] if found else []
        assert isinstance(found, list)
        file = ExtentFile(found)
        self.opened.append(file)
        return file


@dataclass
class Running:
    """A server in a thread of its own."""

    server: TftpServer
    files: Files
    journal: MemoryJournal
    address: tuple[object, ...]

    @property
    def port(self) -> int:
        return int(str(self.address[1]))

    def idle(self) -> None:
        """Wait until no transfer is left; fails if one stays."""
        wait_until(lambda: self.server.active == 0)


@contextlib.contextmanager
def serving(
    table: Mapping[str, object],
    limits: TftpLimits | None = None,
    *,
    host: str = "127.0.0.1",
    family: int = socket.AF_INET,
    gate: threading.Event | None = None,
) -> Iterator[Running]:
    """A server of the table's files; afterwards every file is closed once and no descriptor is left."""
    listener = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
    # As a real one would: bursts of requests wait here.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listener.bind((host, 0))
    files, journal = Files(table, gate=gate), MemoryJournal()
    before = open_descriptors()
    server = TftpServer([listener], files, journal, limits)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Running(server, files, journal, listener.getsockname())
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()
        if gate is None:
            assert server.active == 0
            assert journal.in_order
            wait_until(lambda: all(file.closed == 1 for file in files.opened))
            assert open_descriptors() <= before
        listener.close()


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))
