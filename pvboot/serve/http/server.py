"""The HTTP server: listening sockets, limits on connections, the clock, and the end."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import HttpVersion10, HttpVersion11, web

from pvboot.serve.api import Journal, Requester
from pvboot.serve.http.connection import Connection
from pvboot.serve.http.limits import HttpLimits

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
    """Accepts connections for an aiohttp server on sockets that somebody else has bound; belongs to one event loop."""

    def __init__(self, manager: web.Server, journal: Journal, limits: HttpLimits) -> None:
        self.manager = manager
        self._handler, manager.request_handler = manager.request_handler, self._answer
        self.journal = journal
        self.limits = limits
        self.stopping = False
        self._listeners: list[_Listener] = []
        self._accepting = False
        self._connections: set[Connection] = set()
        self._changed = asyncio.Event()
        self._addresses: Counter[str] = Counter()
        self._clock: asyncio.TimerHandle | None = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp also reads requests of HTTP/0.9 and HTTP/2.0, and would answer in kind."""
        if request.version not in (HttpVersion10, HttpVersion11):
            assert isinstance(request.protocol, Connection)
            request.protocol.refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
            await asyncio.Event().wait()  # the end of the connection ends the handler
        self.journal.count("http_requests")
        return await self._handler(request)

    @property
    def connections(self) -> int:
        """The number of open connections."""
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
        self.stopping = True
        self._pause()
        for listener in self._listeners:
            listener.sock.close()
        self._listeners.clear()
        for connection in [connection for connection in self._connections if connection.waiting]:
            connection.retire()
        await self._gone(drain_seconds)
        self._end(list(self._connections), "error: the server stopped")
        await self._gone(None)
        if self._clock is not None:
            self._clock.cancel()

    async def _gone(self, seconds: float | None) -> None:
        """Wait until no connection is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connections:
                    self._changed.clear()
                    await self._changed.wait()

    # -- accepting

    def _resume(self) -> None:
        if not self._accepting and not self.stopping:
            self._accepting = True
            for listener in self._listeners:
                asyncio.get_running_loop().add_reader(listener.sock, self._accept, listener)

    def _pause(self) -> None:
        """Let clients wait in the kernel's queue, or further away."""
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                asyncio.get_running_loop().remove_reader(listener.sock)

    def _accept(self, listener: _Listener) -> None:
        room = self.limits.connections - len(self._connections)
        if room <= 0:
            self._make_room()
        for _ in range(min(room, _ACCEPTS_AT_ONCE)):
            try:
                sock, peer = listener.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as err:
                self.journal.count("http_accept_failures")
                if err.errno in _EXHAUSTED:
                    self._pause()
                return
            sock.setblocking(False)
            self._welcome(sock, _requester(peer, listener.tls), listener.tls)

    def _make_room(self) -> None:
        """End the connections that have waited longest without a request; if all are busy, let others wait."""
        waiting = sorted((one for one in self._connections if one.waiting), key=lambda one: one.since)
        # Several at once: in a flood, sorting for each single one would cost more than all else.
        oldest = waiting[: max(1, self.limits.connections // 32)]
        self.journal.count("http_evictions", len(oldest))
        self._end(oldest, "aborted")
        if not oldest:
            self._pause()

    def _end(self, connections: Iterable[Connection], outcome: str) -> None:
        for connection in connections:
            connection.end(outcome)

    def _welcome(self, sock: socket.socket, who: Requester, tls: ssl.SSLContext | None) -> None:
        if self._addresses[who.address] >= self.limits.connections_per_address:
            self.journal.refuse(who, "", "too many connections")
            with suppress(OSError), sock:
                if tls is None:
                    sock.send(_BUSY)
            return
        self.journal.count("http_connections")
        connection = Connection(self, who)
        self._connections.add(connection)
        self._addresses[who.address] += 1
        connection.opening = asyncio.get_running_loop().create_task(self._open(connection, sock, tls))

    async def _open(self, connection: Connection, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        options: dict[str, Any] = {} if tls is None else {"ssl": tls, "ssl_handshake_timeout": self.limits.head_seconds}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock, **options)
        except (OSError, asyncio.CancelledError):  # gone again before TLS could begin, or taking too long for it
            sock.close()
            self.forget(connection)
        finally:
            connection.opening = None

    def forget(self, connection: Connection) -> None:
        """Take a connection that has ended out of the count."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        address = connection.requester.address
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        self._changed.set()
        self._resume()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections):
            connection.tick(now)
        self._resume()  # descriptors may be free again, or connections that were busy be waiting now
        self._clock = loop.call_later(_TICK_SECONDS, self._tick)


def _requester(peer: Any, tls: ssl.SSLContext | None) -> Requester:
    """Return who connects: IPv6 without scope, IPv4 as IPv4 also on a socket for both, "" over a Unix socket."""
    protocol = "http" if tls is None else "https"
    if not isinstance(peer, tuple):
        return Requester(protocol, "")
    address = str(peer[0]).partition("%")[0]
    return Requester(protocol, address.removeprefix("::ffff:") if "." in address else address, int(peer[1]))
