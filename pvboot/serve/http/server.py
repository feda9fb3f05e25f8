"""The HTTP server: listening sockets, limits on connections, the clock, and the end."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pvboot.serve.api import Content, Handler, Journal, Requester
from pvboot.serve.http.connection import Connection, Service
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.http.wire import Wire

_TICK_SECONDS: Final = 0.5
_BACKLOG: Final = 1024
_ACCEPTS_AT_ONCE: Final = 64
# Out of descriptors or memory: accepting again at once would only spin.
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class _Listener:
    sock: socket.socket
    tls: ssl.SSLContext | None


class HttpServer:
    """Serves `content` and `handlers` on sockets that somebody else has bound; belongs to one event loop."""

    def __init__(
        self, content: Content, journal: Journal, handlers: Sequence[Handler] = (), limits: HttpLimits | None = None
    ) -> None:
        limits = limits or HttpLimits()
        threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="http")
        self._service = Service(content, journal, tuple(handlers), limits, threads)
        self._listeners: list[_Listener] = []
        self._accepting = False
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._addresses: Counter[str] = Counter()
        self._clock: asyncio.TimerHandle | None = None

    def replace(self, content: Content, handlers: Sequence[Handler]) -> None:
        """Requests from now on see these; those that are being answered keep the old ones."""
        self._service.content, self._service.handlers = content, tuple(handlers)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def serve(self, sockets: Iterable[socket.socket], *, tls: ssl.SSLContext | None = None) -> None:
        """Start to serve on bound stream sockets, which now belong to the server, and return.

        May be called again, for instance once without and once with TLS.
        """
        self._pause()
        for sock in sockets:
            sock.setblocking(False)
            sock.listen(_BACKLOG)
            self._listeners.append(_Listener(sock, tls))
        self._resume()
        if self._clock is None:
            self._tick()

    async def stop(self, drain_seconds: float) -> None:
        """Stop listening, let what is being answered end within `drain_seconds`, then end the rest."""
        self._service.stopping = True
        self._pause()
        for listener in self._listeners:
            listener.sock.close()
        self._listeners.clear()
        self._end([connection for connection in self._connections if connection.waiting], "aborted")
        await self._gone(drain_seconds)
        self._end(list(self._connections), "error: the server stopped")
        await self._gone(_TICK_SECONDS)
        for task in self._connections.values():  # a thread is still looking for their answers
            task.cancel()
        await self._gone(None)
        if self._clock is not None:
            self._clock.cancel()
        self._service.threads.shutdown(wait=False)

    async def _gone(self, seconds: float | None) -> None:
        if self._connections:
            await asyncio.wait(list(self._connections.values()), timeout=seconds)

    # -- accepting ---------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        if not self._accepting and not self._service.stopping:
            self._accepting = True
            for listener in self._listeners:
                asyncio.get_running_loop().add_reader(listener.sock, self._accept, listener)

    def _pause(self) -> None:
        """Clients wait in the kernel's queue, or further away."""
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                asyncio.get_running_loop().remove_reader(listener.sock)

    def _accept(self, listener: _Listener) -> None:
        room = self._service.limits.connections - len(self._connections)
        if room <= 0:
            self._make_room()
        for _ in range(min(room, _ACCEPTS_AT_ONCE)):
            try:
                sock, peer = listener.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as err:
                self._service.journal.count("http_accept_failures")
                if err.errno in _EXHAUSTED:
                    self._pause()
                return
            self._welcome(sock, peer, listener.tls)

    def _make_room(self) -> None:
        """End those that have waited longest without a request; if all are busy, let others wait."""
        waiting = sorted((one for one in self._connections if one.waiting), key=lambda one: one.since)
        # Several at once: in a flood, sorting for each single one would cost more than all else.
        oldest = waiting[: max(1, self._service.limits.connections // 32)]
        self._service.journal.count("http_evictions", len(oldest))
        self._end(oldest, "aborted")
        if not oldest:
            self._pause()

    def _end(self, connections: Iterable[Connection], outcome: str) -> None:
        for connection in connections:
            connection.end(outcome)

    def _welcome(self, sock: socket.socket, peer: tuple[str, int] | str, tls: ssl.SSLContext | None) -> None:
        address, port = (_plain_address(peer[0]), int(peer[1])) if isinstance(peer, tuple) else ("", 0)
        journal, limits = self._service.journal, self._service.limits
        if self._addresses[address] >= limits.connections_per_address:
            journal.refuse(Requester("https" if tls else "http", address, port), "", "too many connections")
            with suppress(OSError):
                sock.setblocking(False)
                if tls is None:
                    sock.send(_BUSY)
            sock.close()
            return
        journal.count("http_connections")
        loop = asyncio.get_running_loop()
        try:
            wire = Wire(sock, tls, loop)
        except OSError:  # gone again before TLS could begin
            sock.close()
            return
        connection = Connection(self._service, wire, address, port)
        task = loop.create_task(connection.run())
        self._connections[connection] = task
        self._addresses[address] += 1
        task.add_done_callback(lambda _: self._forget(connection))

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection]
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]
        self._resume()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections):
            connection.tick(now)
        self._resume()  # descriptors may be free again, or connections that were busy be waiting now
        self._clock = loop.call_later(_TICK_SECONDS, self._tick)


def _plain_address(address: str) -> str:
    """Without the scope of IPv6, and IPv4 as IPv4 also on a socket for both."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address
