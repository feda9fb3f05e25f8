"""A content over a file system, a journal that remembers, and servers around them.

    python -m tests.serve.http.support [--tls CERTIFICATE KEY] IMAGE_OR_DIRECTORY

serves the file system of an image or a directory on a port of 127.0.0.1, prints the port and ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from fsdrivers.api import Extent, File, Filesystem, Stat
from fsdrivers.blocks import open_source
from fsdrivers.directory import DirectoryFilesystem
from fsdrivers.errors import Corrupt
from fsdrivers.probe import probe
from pvboot.serve.api import Content, Journal, Requester, ServedDirectory, ServedFile
from pvboot.serve.http.admin import admin_server, make_application
from pvboot.serve.http.files import file_server
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.http.server import HttpServer
from tests.serve.journal import MemoryJournal


class TreeFile:
    """A file of a file system."""

    def __init__(self, tree: Tree, path: str, stat: Stat, file: File) -> None:
        self._tree, self._file = tree, file
        self.size, self.mtime = stat.size, float(stat.mtime)
        self.etag = hashlib.sha256(f"{path} {stat}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.content_type = "text/html" if path.endswith(".html") else "application/octet-stream"

    def extents(self) -> Sequence[Extent]:
        return tuple(self._file.extents())

    def close(self) -> None:
        self._tree.close(self)


class Tree:
    """`Content` over a file system; knows which files are open, and that none is closed twice."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem
        self._lock = threading.Lock()
        self.open_files: set[TreeFile] = set()
        self.opened = 0
        self.faults: list[str] = []

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        stat = self._filesystem.lookup(path)
        if stat.kind == "dir":
            listed = self._filesystem.listdir(path)
            return ServedDirectory(tuple(sorted((one.name, one.stat.kind == "dir", one.stat.size) for one in listed)))
        file = TreeFile(self, path, stat, self._filesystem.open(path))
        with self._lock:
            self.open_files.add(file)
            self.opened += 1
        return file

    def close(self, file: TreeFile) -> None:
        with self._lock:
            if file not in self.open_files:
                self.faults.append("closed twice")
            self.open_files.discard(file)


def listening(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A bound socket on a loopback port that the kernel chooses."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    return sock


@dataclass(slots=True)
class Running:
    """A server in a thread of this process."""

    server: HttpServer
    loop: asyncio.AbstractEventLoop
    port: int
    journal: MemoryJournal

    def call(self, step: object) -> None:
        """Run a coroutine in the server's loop."""
        asyncio.run_coroutine_threadsafe(step, self.loop).result(60)  # type: ignore[arg-type]

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@contextmanager
def in_thread(
    journal: MemoryJournal,
    start: Callable[[], Awaitable[HttpServer]],
    tls: ssl.SSLContext | None = None,
    family: socket.AddressFamily = socket.AF_INET,
) -> Iterator[Running]:
    """A server in a loop and thread of its own until the end of the block."""
    loop = asyncio.new_event_loop()
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sock = listening(family)

    async def begin() -> HttpServer:
        server = await start()
        await server.serve([sock], tls=tls)
        return server

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
    try:
        yield Running(server, loop, sock.getsockname()[1], journal)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert not complaints
    assert not server.connections


@contextmanager
def running(
    content: Content,
    limits: HttpLimits | None = None,
    tls: ssl.SSLContext | None = None,
    family: socket.AddressFamily = socket.AF_INET,
    journal: Journal | None = None,
) -> Iterator[Running]:
    """A server of files; afterwards all that it reported and gave out must be in order."""
    memory = MemoryJournal()

    async def start() -> HttpServer:
        return file_server(content, journal or memory, limits or HttpLimits())

    with in_thread(memory, start, tls, family) as server:
        yield server
    assert memory.in_order
    if isinstance(content, Tree):
        assert not content.open_files
        assert not content.faults


@contextmanager
def administered(
    add_routes: Callable[[web.Application], None], hosts: Collection[str] = (), limits: HttpLimits | None = None
) -> Iterator[Running]:
    """A server of the administrator's application with these routes."""
    journal = MemoryJournal()

    async def start() -> HttpServer:
        application = make_application(hosts, limits or HttpLimits())
        add_routes(application)
        return await admin_server(application, journal, limits or HttpLimits())

    with in_thread(journal, start) as server:
        yield server


class Broken:
    """A content of one file that fails in many ways: has no extents, or others than it says, or cannot be opened."""

    def __init__(self, *extents: Extent, size: int | None = None, error: Exception | None = None) -> None:
        self.error, self.runs = error, extents
        self.size = sum(extent.length for extent in extents) if size is None else size
        self.mtime, self.etag, self.content_type = float("nan"), "tag", "text/plain"
        self.closed = 0

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        if self.error is not None:
            raise self.error
        return self

    def extents(self) -> tuple[Extent, ...]:
        if not self.runs:
            raise Corrupt("damaged", where="inode 12")
        return self.runs

    def close(self) -> None:
        self.closed += 1


def mounted(path: Path) -> Filesystem:
    """The file system of an image, or a directory."""
    return DirectoryFilesystem(path) if path.is_dir() else probe(open_source(path))


async def serve_until_eof(content: Content, tls: ssl.SSLContext | None) -> None:
    """Print the port, then serve until standard input ends."""
    limits = HttpLimits(connections=4096, connections_per_address=4096)
    server = file_server(content, MemoryJournal(), limits)
    sock = listening()
    await server.serve([sock], tls=tls)
    print(sock.getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await server.stop(0)


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("path", type=Path)
    args = parser.parse_args()
    tls = None
    if args.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*args.tls)
    asyncio.run(serve_until_eof(Tree(mounted(args.path)), tls))


if __name__ == "__main__":
    main()
