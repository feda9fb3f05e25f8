"""The loop over all transfers: takes requests, drives their sessions, keeps the limits."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from pvboot.errors import PvbootError
from pvboot.serve import paths
from pvboot.serve.api import Content, Journal, Requester, ServedFile
from pvboot.serve.tftp import options, packets, udp
from pvboot.serve.tftp.limits import TftpLimits
from pvboot.serve.tftp.opening import Opened, Opener, Refused, open_file
from pvboot.serve.tftp.session import Session

log = logging.getLogger(__name__)

# How often sessions are looked at for what has to be sent again; the journal hears of progress each fifth time.
TICK_SECONDS = 0.1
TICKS_TO_REPORT = 5
# A flood of requests must not keep the sessions waiting.
REQUESTS_A_TURN = 16
EVENTS_A_TURN = 256


@dataclass(eq=False, slots=True)
class _Request:
    """A request that was accepted; `transfer` is None as long as its file is being opened."""

    listener: socket.socket
    datagram: udp.Datagram
    request: packets.ReadRequest
    who: Requester
    path: str
    transfer: _Transfer | None = None

    @property
    def key(self) -> tuple[udp.Address, udp.Address]:
        """Return the client's transfer identifier, and which of our addresses it speaks to."""
        return self.datagram.peer, self.datagram.local


@dataclass(eq=False, slots=True)
class _Transfer:
    """A file on its way, what has to be closed at its end, and its number in the journal."""

    request: _Request
    file: ServedFile
    link: socket.socket
    session: Session
    number: int
    # Of the session; kept at hand for each packet.
    readable: Callable[[float], bool]
    reported: int = 0


@dataclass(slots=True)
class _Client:
    """The requests of one address: how many there are, and the transfers by descriptor that it has not answered yet."""

    requests: int = 0
    half_open: dict[int, _Transfer] = field(default_factory=dict)


class TftpServer:
    """Serves `content` to TFTP clients until it is stopped."""

    def __init__(
        self, sockets: Sequence[socket.socket], content: Content, journal: Journal, limits: TftpLimits | None = None
    ) -> None:
        """`sockets` are bound UDP sockets, IPv4 or IPv6; they stay their owner's and are not closed.

        `content` may be replaced at any time: files that are being sent stay those of the old one.
        """
        self._listeners = {listener.fileno(): listener for listener in sockets}
        for listener in sockets:
            udp.prepare(listener)
        self.content = content
        self._journal = journal
        self._limits = limits or TftpLimits()
        self._requests: dict[tuple[udp.Address, udp.Address], _Request] = {}
        # By descriptor.
        self._transfers: dict[int, _Transfer] = {}
        # Those whose client has not answered yet, the oldest first.
        self._half_open: dict[int, _Transfer] = {}
        self._clients: dict[str, _Client] = {}
        self._waker, self._wake_end = socket.socketpair()
        self._waker.setblocking(False)
        self._wake_end.setblocking(False)
        self._drain_seconds: float | None = None
        self._ends_at: float | None = None
        self._next_tick = 0.0
        self._ticks = 0

    @property
    def active(self) -> int:
        """Return the number of transfers, files that are being opened included."""
        return len(self._requests)

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Take no more requests and end `run` when the running transfers are over, at the latest after
        `drain_seconds`.  May be called from any thread, from a signal handler, and again."""
        self._drain_seconds = drain_seconds
        self._wake()

    def _wake(self) -> None:
        # A full buffer wakes as well; a closed one has nobody to wake.
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def run(self) -> None:
        """Serve until `stop`; then nothing of it is left open."""
        self._opener: Opener[_Request] = Opener(self._limits.open_threads, self._wake)
        with select.epoll() as self._epoll:
            try:
                self._epoll.register(self._wake_end, select.EPOLLIN)
                for listener in self._listeners.values():
                    self._epoll.register(listener, select.EPOLLIN)
                self._loop()
            finally:
                self._end_all()
                self._opener.close()
                self._waker.close()
                self._wake_end.close()

    def _loop(self) -> None:
        transfers, poll, clock = self._transfers, self._epoll.poll, time.monotonic
        while self._ends_at is None or self._requests:
            # Without requests there is nothing to look after.
            events = poll(TICK_SECONDS if self._requests else None, EVENTS_A_TURN)
            now = clock()
            for fd, _ in events:
                transfer = transfers.get(fd)
                if transfer is None:
                    self._other_event(fd, now)
                    continue
                try:
                    changed = transfer.readable(now)
                except Exception as err:
                    self._failed(transfer, err)
                    continue
                if changed:
                    self._changed(fd, transfer)
            if now >= self._next_tick:
                self._next_tick = now + TICK_SECONDS
                self._tick(now)

    def _changed(self, fd: int, transfer: _Transfer) -> None:
        """Note that a session has heard of its client for the first time, or is over."""
        self._answered(fd, transfer)
        if transfer.session.outcome is not None:
            self._end(transfer, transfer.session.outcome)

    def _answered(self, fd: int, transfer: _Transfer) -> None:
        """Take a transfer out of those that may be evicted."""
        if self._half_open.pop(fd, None) is not None:
            del self._clients[transfer.request.who.address].half_open[fd]

    def _other_event(self, fd: int, now: float) -> None:
        """Handle a request, an opened file, a call of `stop` (or nothing: a session that has just ended)."""
        if fd in self._listeners:
            self._receive_requests(self._listeners[fd], now)
        elif fd == self._wake_end.fileno():
            with contextlib.suppress(BlockingIOError):
                self._wake_end.recv(4096)
            while (result := self._opener.take()) is not None:
                self._opened(*result, now)
            if self._drain_seconds is not None and self._ends_at is None:
                for listener in self._listeners.values():
                    self._epoll.unregister(listener)
            if self._drain_seconds is not None:
                self._ends_at = now + self._drain_seconds
                self._drain_seconds = None
                if self._ends_at <= now:
                    self._tick(now)

    # Requests

    def _receive_requests(self, listener: socket.socket, now: float) -> None:
        """Read a few requests."""
        for _ in range(REQUESTS_A_TURN):
            try:
                datagram = udp.receive(listener, packets.MAX_REQUEST_BYTES + 1)
            except BlockingIOError:
                return
            except OSError as err:
                # What a listening socket may report (an ICMP message for an ERROR we sent) is over when read.
                log.debug("listening socket: %s", err)
                continue
            if datagram is None or not packets.is_request(datagram.data):
                self._journal.count("tftp_ignored")
            else:
                self._take_request(listener, datagram, now)

    def _take_request(self, listener: socket.socket, datagram: udp.Datagram, now: float) -> None:
        running = self._requests.get((datagram.peer, datagram.local))
        if running is not None:
            if running.datagram.data == datagram.data:
                # Sent again before our answer arrived; mostly the session's own timer takes care of it.
                self._journal.count("tftp_repeated_requests")
                if running.transfer is not None:
                    running.transfer.session.repeated_request(now)
                return
            # The client has begun anew from the same port: it has forgotten what it asked before.
            self._leave(running)
        who = Requester("tftp", udp.host(datagram.peer), datagram.peer[1])
        try:
            request = packets.parse_request(datagram.data)
            path = paths.clean(request.name)
        except packets.BadRequest as err:
            self._refuse(listener, datagram, who, "", Refused(err.code, err.text, err.text))
            return
        except paths.BadPath as err:
            self._refuse(listener, datagram, who, "", Refused(packets.ACCESS_VIOLATION, err.what, str(err)))
            return
        if not self._has_room(who.address):
            # Without an answer, so that the client asks again later; an ERROR would be its end.
            self._journal.count("tftp_over_limit")
            return
        accepted = _Request(listener, datagram, request, who, path)
        self._requests[accepted.key] = accepted
        self._clients.setdefault(who.address, _Client()).requests += 1
        limit = self._limits.netascii_bytes
        self._opener.submit(accepted, partial(open_file, self.content, path, who, request.mode, limit))

    def _has_room(self, address: str) -> bool:
        """Make room for one more transfer of an address, if need be; return whether there is any.

        The oldest transfer that nobody has answered gives way, of that address or of all: its sender may be forged.
        """
        client = self._clients.get(address, _Client())
        if client.requests >= self._limits.sessions_per_address:
            return self._evict(client.half_open)
        return len(self._requests) < self._limits.sessions or self._evict(self._half_open)

    def _evict(self, half_open: Mapping[int, _Transfer]) -> bool:
        if not half_open:
            return False
        self._journal.count("tftp_evicted")
        self._end(next(iter(half_open.values())), "timeout")
        return True

    def _refuse(self, listener: socket.socket, datagram: udp.Datagram, who: Requester, path: str, why: Refused) -> None:
        """Answer by an ERROR, from the address that was asked."""
        with contextlib.suppress(OSError):
            listener.sendmsg([packets.error(why.code, why.text)], datagram.ancillary, 0, datagram.peer)
        self._journal.count("tftp_refused")
        self._journal.refuse(who, path, why.reason)

    # Transfers

    def _opened(self, request: _Request, result: Opened | Refused, now: float) -> None:
        """Answer a request whose file has been opened, or could not be."""
        if self._requests.get(request.key) is not request:
            # The client has begun anew, or the server ends.
            if isinstance(result, Opened):
                result.file.close()
            return
        if isinstance(result, Opened):
            try:
                self._start(request, result, now)
                return
            except Exception as err:
                log.warning("%s to %s cannot be sent", request.path, request.who.address, exc_info=err)
                result = Refused(packets.UNDEFINED, "server error", str(err))
        self._forget(request)
        self._refuse(request.listener, request.datagram, request.who, request.path, result)

    def _start(self, request: _Request, opened: Opened, now: float) -> None:
        """Make and begin a session; if that fails the file is closed and nothing has begun."""
        link = None
        try:
            link = udp.connect(
                request.listener.family, request.datagram.local, request.datagram.peer, self._limits.ports
            )
            payload = udp.payload_bytes(link)
            agreed = options.negotiate(request.request.options, opened.reader.size, payload, self._limits)
            session = Session(link, opened.reader, agreed, self._limits, payload, now)
            self._epoll.register(link, select.EPOLLIN)
        except BaseException:
            opened.file.close()
            if link is not None:
                link.close()
            raise
        number = self._journal.begin(request.who, request.path, opened.reader.size)
        transfer = request.transfer = _Transfer(request, opened.file, link, session, number, session.readable)
        fd = link.fileno()
        self._transfers[fd] = self._half_open[fd] = self._clients[request.who.address].half_open[fd] = transfer
        try:
            session.start(now)
        except Exception as err:
            self._failed(transfer, err)
            return
        if session.outcome is not None:
            self._end(transfer, session.outcome)

    def _failed(self, transfer: _Transfer, err: Exception) -> None:
        """End the transfer in which something went wrong, and no other."""
        request = transfer.request
        if isinstance(err, PvbootError | OSError):
            log.warning("%s to %s: %s", request.path, request.who.address, err)
        else:
            log.error("%s to %s failed", request.path, request.who.address, exc_info=err)
        self._end(transfer, f"error: {err}", "server error")

    def _end(self, transfer: _Transfer, outcome: str, farewell: str = "") -> None:
        """Take a transfer out of everything and close what it holds; the client is sent `farewell`."""
        link, session = transfer.link, transfer.session
        self._answered(link.fileno(), transfer)
        self._forget(transfer.request)
        del self._transfers[link.fileno()]
        if farewell:
            with contextlib.suppress(OSError):
                link.send(packets.error(packets.UNDEFINED, farewell))
        # Not left to `close`: a process forked meanwhile may still hold the socket, and epoll would go on about it.
        self._epoll.unregister(link)
        link.close()
        transfer.file.close()
        if session.resends:
            self._journal.count("tftp_resends", session.resends)
        self._journal.end(transfer.number, outcome, session.sent)

    def _leave(self, request: _Request) -> None:
        """Drop a request whose client has begun anew."""
        if request.transfer is None:
            self._forget(request)
        else:
            self._end(request.transfer, "aborted")

    def _end_all(self) -> None:
        for request in list(self._requests.values()):
            if request.transfer is None:
                self._forget(request)
            else:
                self._end(request.transfer, "error: server stopped", "server stopped")

    def _forget(self, request: _Request) -> None:
        del self._requests[request.key]
        client = self._clients[request.who.address]
        client.requests -= 1
        if not client.requests:
            del self._clients[request.who.address]

    def _tick(self, now: float) -> None:
        """Send again what was lost, end what takes too long, report progress."""
        if self._ends_at is not None and now >= self._ends_at:
            self._end_all()
            return
        self._ticks += 1
        report = self._ticks % TICKS_TO_REPORT == 0
        for transfer in list(self._transfers.values()):
            session = transfer.session
            try:
                session.tick(now)
            except Exception as err:
                self._failed(transfer, err)
                continue
            if session.outcome is not None:
                self._end(transfer, session.outcome)
            elif report and session.sent != transfer.reported:
                transfer.reported = session.sent
                self._journal.advance(transfer.number, transfer.reported)
