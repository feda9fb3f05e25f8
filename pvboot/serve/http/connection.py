"""One client's connection: requests in, answers out, one after the other."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from pvboot.serve.api import Content, Handler, Journal, Request, Requester
from pvboot.serve.http.answers import Answer, answer, plain
from pvboot.serve.http.claims import claims
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.http.parse import BadRequest, Head, parse_head, parse_query
from pvboot.serve.http.send import Sender
from pvboot.serve.http.wire import Gone, Wire
from pvboot.serve.paths import BadPath, clean

# How much a client may still send, and how long, behind its last answer: if it had sent something that nobody read,
# closing at once would reset the connection and take the answer with it.
_LINGER_BYTES: Final = 256 << 10
_LINGER_SECONDS: Final = 3.0


@dataclass(slots=True)
class Service:
    """What the connections of a server share."""

    content: Content
    journal: Journal
    handlers: Sequence[Handler]
    limits: HttpLimits
    threads: Executor
    stopping: bool = False


@dataclass(slots=True)
class Transfer:
    """A file on its way; `number` is the journal's."""

    number: int
    sender: Sender
    told: int = 0


class Connection:
    """Answers the requests of one socket.  `waiting` while no request is being answered."""

    def __init__(self, service: Service, wire: Wire, address: str, port: int) -> None:
        self.address = address
        self.waiting = True
        self.since = 0.0
        self._service = service
        self._wire = wire
        self._port = port
        self._buffer = b""
        self._transfer: Transfer | None = None
        self._deadline = 0.0
        self._arrived = 0
        self._loop = asyncio.get_running_loop()
        self._allow(service.limits.head_seconds)

    async def run(self) -> None:
        """Until either side has enough."""
        try:
            await self._wire.handshake()
            while await self._request():
                pass
            if not self._service.stopping:
                await self._discard()
        except (Gone, OSError):
            pass  # nobody is left to be told
        except Exception as err:  # a fault of this server's ends one connection, not the server
            self._service.journal.refuse(self._requester(), "", f"{type(err).__name__}: {err}")
        finally:
            self._wire.finish_sending()
            self._wire.close()

    def tick(self, now: float) -> None:
        """Called a few times a second: reports progress, ends what has taken too long."""
        transfer = self._transfer
        if transfer is not None and transfer.sender.sent != transfer.told:
            transfer.told = transfer.sender.sent
            self._service.journal.advance(transfer.number, transfer.told)
        if now >= self._deadline and not self._still_taking(now):
            self._deadline = math.inf
            self._service.journal.count("http_timeouts")
            self._wire.end("timeout", drop=True)

    def end(self, outcome: str) -> None:
        """End it from outside."""
        self._wire.end(outcome)

    # -- time --------------------------------------------------------------------------------------------------------

    def _allow(self, seconds: float) -> None:
        """What comes next may take so long."""
        self.since = self._loop.time()
        self._deadline = self.since + seconds
        self._arrived = self._wire.sent - self._wire.unacknowledged()

    def _still_taking(self, now: float) -> bool:
        """Whether a client that is being sent to, also out of the kernel's buffers alone, reads fast enough."""
        limits, unacknowledged = self._service.limits, self._wire.unacknowledged()
        arrived = self._wire.sent - unacknowledged
        if self._transfer is None and not unacknowledged:
            return False
        if arrived - self._arrived < limits.rate_bytes * (now - self.since):
            return False
        self.since, self._arrived, self._deadline = now, arrived, now + limits.rate_seconds
        return True

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _request(self) -> bool:
        """Read a request and answer it; whether another one may follow."""
        try:
            head = await self._read_head()
            if head is None:
                return False
            self._service.journal.count("http_requests")
            body = await self._read_body(head)
            self.waiting = False
            slash = head.path.endswith(b"/")
            query = parse_query(head.query)
            said = claims(query, head.headers)
            if head.method == "HEAD":
                said["peek"] = "yes"  # looking must not use up what is given once
            who = self._requester(head.headers.get("user-agent", ""), said)
            request = Request(head.method, clean(head.path), query, head.headers, body, who)
        except (BadRequest, BadPath) as err:
            self.waiting = True
            status = err.status if isinstance(err, BadRequest) else 400
            await self._refuse(plain(status, str(err), said=str(err)))
            return False
        self._deadline = math.inf  # for the threads; they know their own limits
        found = await self._answer(request, slash)
        try:
            keep = head.keep_alive and not self._service.stopping
            await self._send(request, found, keep)
        finally:
            found.close()
        self.waiting = True
        self._allow(self._service.limits.idle_seconds)
        return keep and not self._service.stopping  # which may have begun meanwhile

    async def _read_head(self) -> Head | None:
        """The next request's head; None if the client leaves instead.  Raises `BadRequest`."""
        limits = self._service.limits
        begun = False
        while True:
            if not begun:
                self._buffer = self._buffer.lstrip(b"\r\n")  # RFC 9112 section 2.2: some send these behind a body
                begun = bool(self._buffer)
                if begun:
                    self._allow(limits.head_seconds)
            end = self._buffer.find(b"\r\n\r\n")
            if 0 <= end <= limits.head_bytes:
                break
            if len(self._buffer) > limits.head_bytes:
                raise BadRequest(431 if b"\r\n" in self._buffer[: limits.head_bytes] else 414, "too long a request")
            data = await self._wire.read()
            if not data:
                return None
            self._buffer += data
        data, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        return parse_head(data, limits.fields)

    async def _read_body(self, head: Head) -> bytes:
        limits = self._service.limits
        if head.body_bytes > limits.body_bytes:
            raise BadRequest(413, f"more than {limits.body_bytes} bytes")
        self._allow(limits.body_seconds)
        if head.expects and head.body_bytes and not self._buffer:
            await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunks, missing = [self._buffer], head.body_bytes - len(self._buffer)
        while missing > 0:
            data = await self._wire.read()
            if not data:
                raise ConnectionResetError("the client left in the middle of a body")
            chunks.append(data)
            missing -= len(data)
        whole = b"".join(chunks)
        self._buffer = whole[head.body_bytes :]
        return whole[: head.body_bytes]

    def _requester(self, agent: str = "", said: dict[str, str] | None = None) -> Requester:
        return Requester("https" if self._wire.tls else "http", self.address, self._port, agent, said or {})

    # -- answering ---------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, slash: bool) -> Answer:
        service = self._service

        def work() -> Answer:
            return answer(request, slash=slash, content=service.content, handlers=service.handlers)

        future = self._loop.run_in_executor(service.threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close_unused)
            raise

    async def _send(self, request: Request, found: Answer, keep: bool) -> None:
        if found.refusal:
            self._service.journal.refuse(request.who, request.path, found.refusal)
        head = found.head(keep_alive=keep)
        self._allow(self._service.limits.rate_seconds)
        if request.method == "HEAD":
            await self._write(head)
        elif found.body or not found.length:
            await self._write(head + found.body)
        else:
            await self._send_file(request, found, head)

    async def _send_file(self, request: Request, found: Answer, head: bytes) -> None:
        sender = Sender(self._wire, head, found.extents, found.length)
        journal = self._service.journal
        self._transfer = Transfer(journal.begin(request.who, request.path, found.length), sender)
        outcome = "error: the server was interrupted"
        try:
            await self._wire.write_by(sender.step)
            outcome = "done"
        except (ConnectionError, TimeoutError, ssl.SSLError):
            outcome = "aborted"
            raise
        except Gone as err:
            outcome = str(err)
            raise
        except OSError as err:
            outcome = f"error: {err.strerror or err}"
            raise
        finally:
            journal.end(self._transfer.number, outcome, sender.sent)
            self._transfer = None

    async def _write(self, data: bytes) -> None:
        await self._wire.write_by(Sender(self._wire, data, (), 0).step)

    async def _refuse(self, refused: Answer) -> None:
        """Answer what is no request; what follows cannot be understood."""
        self._service.journal.refuse(self._requester(), "", refused.refusal)
        self._allow(self._service.limits.rate_seconds)
        await self._write(refused.head(keep_alive=False) + refused.body)

    async def _discard(self) -> None:
        """Let the client read the last answer, and close first if it does so in time."""
        self._allow(_LINGER_SECONDS)
        self._wire.finish_sending()
        left = _LINGER_BYTES
        while left > 0:
            data = await self._wire.read()
            if not data:
                return
            left -= len(data)


def _close_unused(future: asyncio.Future[Answer]) -> None:
    """The connection has gone while a thread was looking for the answer."""
    if not future.cancelled() and future.exception() is None:
        future.result().close()
