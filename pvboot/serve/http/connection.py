"""One client's connection: aiohttp's protocol, with deadlines and a bounded head."""

from __future__ import annotations

import asyncio
import fcntl
import math
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pvboot.serve.api import Requester
from pvboot.serve.http.send import Sender

if TYPE_CHECKING:
    from pvboot.serve.api import Journal
    from pvboot.serve.http.limits import HttpLimits

# How much a client may still send, and how long, behind its last answer: if it had sent something that nobody read,
# closing at once would reset the connection and take the answer with it.
_LINGER_BYTES: Final = 256 << 10
_LINGER_SECONDS: Final = 3.0
_FIRST_REQUEST_SECONDS: Final = 2.0  # of a connection that was accepted when the server stops
_NEVER_SECONDS: Final = 86_400.0  # `tick` ends idle connections long before
_SIOCOUTQ: Final = 0x5411  # linux/sockios.h: bytes that the peer has not acknowledged
_TCP_INFO_BYTES, _BYTES_ACKED = 128, 120  # struct tcp_info of linux/tcp.h, its tcpi_bytes_acked


class Owner(Protocol):
    """What a connection needs of its server."""

    manager: web.Server
    journal: Journal
    limits: HttpLimits
    stopping: bool

    def forget(self, connection: Connection) -> None:
        """The connection is over."""


def refusal(status: int, said: str = "", **headers: str) -> web.Response:
    """Return an answer of one line of text."""
    text = f"{status} {HTTPStatus(status).phrase}" + (f": {said}" if said else "") + "\n"
    return web.Response(status=status, text=text, headers=headers)


class Connection(web.RequestHandler):
    """Answers the requests of one socket; `waiting` while there is none to answer."""

    def __init__(self, server: Owner, requester: Requester) -> None:
        limits = server.limits
        options: dict[str, Any] = {"access_log": None, "keepalive_timeout": _NEVER_SECONDS, "auto_decompress": False}
        options |= {"max_line_size": limits.head_bytes, "max_field_size": limits.head_bytes, "lingering_time": 0}
        super().__init__(server.manager, loop=asyncio.get_running_loop(), max_headers=limits.fields, **options)
        self.requester = requester
        self.opening: asyncio.Task[None] | None = None
        self.waiting = True
        self.since = 0.0
        self.outcome = "aborted"  # of the transfer that the connection's end interrupts
        self._server = server
        self._link: asyncio.Transport | None = None
        self._head = b""  # of a request that has not come whole, or could not be read
        self._at_end = False
        self._lingering: asyncio.Future[None] | None = None
        self._left = _LINGER_BYTES
        self._transfer: tuple[int, Sender] | None = None
        self._reported = 0
        self._deadline = math.inf
        self._arrived = 0

    # -- the transport's events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; a TLS handshake is over."""
        assert isinstance(transport, asyncio.Transport)
        self._link = transport
        # An answer counts as sent when the kernel has it.  (With 0, TLS's transport stops for ever.)
        transport.set_write_buffer_limits(high=1, low=0)
        super().connection_made(transport)
        self._allow(_FIRST_REQUEST_SECONDS if self._server.stopping else self._server.limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        """Read requests; a head may be no longer than the limits say."""
        if self._lingering is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._end_lingering()
            return
        most = self._server.limits.head_bytes
        if self.waiting:
            begun = bool(self._head)
            self._head = (self._head + data if begun else data.lstrip(b"\r\n"))[: most + 1]
            if self._head and not begun:
                self._allow(self._server.limits.head_seconds)
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self.waiting = False
            self._deadline = math.inf
        elif self.waiting and len(self._head) > most:  # aiohttp bounds each field of a head, but not their sum
            self.refuse(self._status_of_head(), "the head of the request is too long")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Stay open for a client that sends no more until it has its answers."""
        self._at_end = True
        self._end_lingering()
        return not self.waiting

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, whoever wanted it."""
        self._end_lingering()
        super().connection_lost(exc)

    async def start(self) -> None:
        """Answer requests until either side has enough."""
        try:
            await super().start()
        finally:
            self._server.forget(self)

    # -- requests that cannot be read

    def refuse(self, status: int, reason: str) -> None:
        """Answer a request that aiohttp cannot answer, and close the connection."""
        assert self._link is not None
        self._server.journal.refuse(self.requester, "", reason)
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        self._link.write(f"{line}Server: pvboot\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        self._begin_lingering().add_done_callback(lambda _: self.force_close())

    def _status_of_head(self) -> int:
        limits = self._server.limits
        if len(self._head) > limits.head_bytes:
            return 431 if b"\n" in self._head else 414
        return 431 if self._head.count(b"\n") > limits.fields + 1 else 400

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Return the answer to a request that cannot be read, or that its handler failed to answer."""
        if request.writer.output_size > 0 or self._lingering is not None:
            raise ConnectionAbortedError("the request was answered, if only in part")
        if isinstance(exc, HttpProcessingError):
            status, reason = self._status_of_head(), (message or "").partition("\n")[0]
        else:
            reason = f"{type(exc).__name__}: {exc}"
        self._server.journal.refuse(self.requester, "", reason)
        answer = refusal(status, Connection="close")
        answer.force_close()
        return answer

    # -- answers

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send what of an answer is not sent yet, and get ready for the next request."""
        if not request.content.is_eof():  # what is left of the body is not waited for
            resp.force_close()
        if not resp.prepared:
            self.prepare_answer(resp)
        finished = await super().finish_response(request, resp, start_time)
        if not resp.keep_alive:
            if not self._at_end and self.transport is not None and not self._server.stopping:
                await self._begin_lingering()
        elif self._messages:
            self._deadline = math.inf
        else:
            self.waiting, self._head = True, b""
            self._allow(self._server.limits.idle_seconds)
            if self._at_end or self._server.stopping:
                self.close()
        return finished

    def prepare_answer(self, answer: web.StreamResponse) -> None:
        """Call this before an answer is sent: the client has to take it at the rate that the limits demand."""
        answer.headers["Server"] = "pvboot"
        if self._server.stopping:
            answer.force_close()
        self._allow(self._server.limits.rate_seconds)

    @contextmanager
    def transfer(self, number: int, sender: Sender) -> Iterator[None]:
        """Report the progress of a sender under the journal's number for the time of the block."""
        self._transfer, self._reported = (number, sender), 0
        try:
            yield
        finally:
            self._transfer = None

    def _begin_lingering(self) -> asyncio.Future[None]:
        """Let the client read the last answer, and close first if it does so in time; done when it is over."""
        assert self._link is not None
        self._lingering = self._loop.create_future()
        self.waiting = True
        self._allow(_LINGER_SECONDS)
        if self._link.can_write_eof() and not self._link.is_closing():
            self._link.write_eof()
        else:
            self._end_lingering()
        return self._lingering

    def _end_lingering(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)

    # -- time

    def tick(self, now: float) -> None:
        """Report progress and end what takes too long; called a few times a second."""
        if self._transfer is not None and self._transfer[1].sent != self._reported:
            number, sender = self._transfer
            self._reported = sender.sent
            self._server.journal.advance(number, self._reported)
        if now >= self._deadline and not self._still_taking(now):
            self._deadline = math.inf
            self._server.journal.count("http_timeouts")
            self.end("timeout", drop=True)

    def retire(self) -> None:
        """End an idle connection; one that has yet to ask for the first time has two seconds to do so."""
        if self._request_count:
            self.end("aborted")
        elif self._link is not None:
            self._allow(_FIRST_REQUEST_SECONDS)

    def end(self, outcome: str, *, drop: bool = False) -> None:
        """End the connection from this side.

        With `drop` the kernel does not go on to send what it holds, which a client that does not read would hold long.
        """
        self.outcome = outcome
        if self._link is None:
            if self.opening is not None:
                self.opening.cancel()
            return
        if drop and self._unacknowledged():
            with suppress(OSError):
                sock = self._link.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._link.abort()

    def _allow(self, seconds: float) -> None:
        """Let what comes next take so long."""
        self.since = self._loop.time()
        self._deadline = self.since + seconds
        self._arrived = self._acknowledged()

    def _still_taking(self, now: float) -> bool:
        """Return whether a client that is being sent to, also out of buffers alone, reads fast enough."""
        limits, arrived = self._server.limits, self._acknowledged()
        if self._transfer is None and not self._unacknowledged():
            return False
        if arrived - self._arrived < limits.rate_bytes * (now - self.since):
            return False
        self.since, self._arrived, self._deadline = now, arrived, now + limits.rate_seconds
        return True

    def _acknowledged(self) -> int:
        """Return how many bytes have arrived at the client so far; 0 where the kernel does not know."""
        try:
            info = self._socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            return int(struct.unpack_from("=Q", info, _BYTES_ACKED)[0])
        except (OSError, struct.error):
            return 0

    def _unacknowledged(self) -> int:
        """Return how many bytes were sent and have not arrived."""
        waiting = 0 if self._link is None else self._link.get_write_buffer_size()
        with suppress(OSError):
            waiting += struct.unpack("i", fcntl.ioctl(self._socket().fileno(), _SIOCOUTQ, bytes(4)))[0]
        return waiting

    def _socket(self) -> Any:
        if self._link is None:
            raise OSError("not connected")
        return self._link.get_extra_info("socket")
