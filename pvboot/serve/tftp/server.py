"""The loop over all transfers: requests come in, sessions come and go, limits hold."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
class _Asked:
    """A request that was accepted; `transfer` is None as long as its file is being opened."""

    listener: socket.socket
    datagram: udp.Datagram
    request: packets.ReadRequest
    who: Requester
    path: str
    transfer: _Transfer | None = None

    @property
    def key(self) -> tuple[udp.Address, udp.Address]:
        """The client's transfer identifier, and which of our addresses it speaks to."""
        return self.datagram.peer, self.datagram.local


@dataclass(eq=False, slots=True)
class _Transfer:
    """A file on its way: what has to be closed at its end, and its number in the journal."""

    asked: _Asked
    file: ServedFile
    link: socket.socket
    session: Session
    number: int
    # Of the session; kept at hand for each packet.
    readable: Callable[[float], bool]
    reported: int = 0


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
        self._asked: dict[tuple[udp.Address, udp.Address], _Asked] = {}
        # By descriptor.
        self._transfers: dict[int, _Transfer] = {}
        # Those whose client has not answered yet, the oldest first.
        self._half_open: dict[int, _Transfer] = {}
        self._addresses: Counter[str] = Counter()
        self._waker, self._wake_end = socket.socketpair()
        self._waker.setblocking(False)
        self._wake_end.setblocking(False)
        self._drain_seconds: float | None = None
        self._ends_at: float | None = None
        self._next_tick = 0.0
        self._ticks = 0

    @property
    def active(self) -> int:
        """Transfers at this moment, files that are being opened included."""
        return len(self._asked)

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
        self._opener: Opener[_Asked] = Opener(self._limits.open_threads, self._wake)
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
        while self._ends_at is None or self._asked:
            # Without requests there is nothing to look after.
            events = poll(TICK_SECONDS if self._asked else None, EVENTS_A_TURN)
            now = clock()
            for fd, _ in events:
                transfer = transfers.get(fd)
                if transfer is None:
                    self._rare(fd, now)
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
        """A session has heard of its client for the first time, or is over."""
        self._half_open.pop(fd, None)
        if transfer.session.outcome is not None:
            self._end(transfer, transfer.session.outcome)

    def _rare(self, fd: int, now: float) -> None:
        """An event of no session: a request, an opened file, the wish to stop (or a session that just ended)."""
        if fd in self._listeners:
            self._hear(self._listeners[fd])
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

    def _hear(self, listener: socket.socket) -> None:
        """Take a few requests."""
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
                self._request(listener, datagram)

    def _request(self, listener: socket.socket, datagram: udp.Datagram) -> None:
        running = self._asked.get((datagram.peer, datagram.local))
        if running is not None:
            if running.datagram.data == datagram.data:
                # Sent again before our answer arrived; the session's own timer takes care of it.
                self._journal.count("tftp_repeated_requests")
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
        if not self._room(who.address):
            # Without an answer, so that the client asks again later; an ERROR would be its end.
            self._journal.count("tftp_over_limit")
            return
        asked = _Asked(listener, datagram, request, who, path)
        self._asked[asked.key] = asked
        self._addresses[who.address] += 1
        limit = self._limits.netascii_bytes
        self._opener.submit(asked, partial(open_file, self.content, path, who, request.mode, limit))

    def _room(self, address: str) -> bool:
        """Whether one more transfer fits; the oldest one that nobody has answered gives way (forged senders)."""
        if self._addresses[address] >= self._limits.sessions_per_address:
            return False
        if len(self._asked) >= self._limits.sessions and self._half_open:
            self._journal.count("tftp_evicted")
            self._end(next(iter(self._half_open.values())), "timeout")
        return len(self._asked) < self._limits.sessions

    def _refuse(self, listener: socket.socket, datagram: udp.Datagram, who: Requester, path: str, why: Refused) -> None:
        """Answer by an ERROR, from the address that was asked."""
        with contextlib.suppress(OSError):
            listener.sendmsg([packets.error(why.code, why.text)], datagram.ancillary, 0, datagram.peer)
        self._journal.count("tftp_refused")
        self._journal.refuse(who, path, why.reason)

    # Transfers

    def _opened(self, asked: _Asked, result: Opened | Refused, now: float) -> None:
        """A file is open, or is not: the answer to the request."""
        if self._asked.get(asked.key) is not asked:
            # The client has begun anew, or the server ends.
            if isinstance(result, Opened):
                result.file.close()
            return
        if isinstance(result, Opened):
            try:
                self._start(asked, result, now)
                return
            except Exception as err:
                log.warning("%s to %s cannot be sent", asked.path, asked.who.address, exc_info=err)
                result = Refused(packets.UNDEFINED, "server error", str(err))
        self._forget(asked)
        self._refuse(asked.listener, asked.datagram, asked.who, asked.path, result)

    def _start(self, asked: _Asked, opened: Opened, now: float) -> None:
        """Make and begin the session; the file is closed and nothing has begun if that fails."""
        link = None
        try:
            link = udp.connect(asked.listener.family, asked.datagram.local, asked.datagram.peer, self._limits.ports)
            payload = udp.payload_bytes(link)
            terms = options.agree(asked.request.options, opened.reader.size, payload, self._limits)
            session = Session(link, opened.reader, terms, self._limits, payload, now)
            self._epoll.register(link, select.EPOLLIN)
        except BaseException:
            opened.file.close()
            if link is not None:
                link.close()
            raise
        number = self._journal.begin(asked.who, asked.path, opened.reader.size)
        transfer = asked.transfer = _Transfer(asked, opened.file, link, session, number, session.readable)
        self._transfers[link.fileno()] = self._half_open[link.fileno()] = transfer
        try:
            session.start(now)
        except Exception as err:
            self._failed(transfer, err)
            return
        if session.outcome is not None:
            self._end(transfer, session.outcome)

    def _failed(self, transfer: _Transfer, err: Exception) -> None:
        """Whatever goes wrong in one transfer ends that one and no other."""
        asked = transfer.asked
        if isinstance(err, PvbootError | OSError):
            log.warning("%s to %s: %s", asked.path, asked.who.address, err)
        else:
            log.error("%s to %s failed", asked.path, asked.who.address, exc_info=err)
        self._end(transfer, f"error: {err}", "server error")

    def _end(self, transfer: _Transfer, outcome: str, farewell: str = "") -> None:
        """Take a transfer out of everything and close what it holds; `farewell` is told to the client."""
        link, session = transfer.link, transfer.session
        self._forget(transfer.asked)
        del self._transfers[link.fileno()]
        self._half_open.pop(link.fileno(), None)
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

    def _leave(self, asked: _Asked) -> None:
        """The client wants no answer to this request any more."""
        if asked.transfer is None:
            self._forget(asked)
        else:
            self._end(asked.transfer, "aborted")

    def _end_all(self) -> None:
        for asked in list(self._asked.values()):
            if asked.transfer is None:
                self._forget(asked)
            else:
                self._end(asked.transfer, "error: server stopped", "server stopped")

    def _forget(self, asked: _Asked) -> None:
        del self._asked[asked.key]
        self._addresses[asked.who.address] -= 1
        if not self._addresses[asked.who.address]:
            del self._addresses[asked.who.address]

    def _tick(self, now: float) -> None:
        """Send again what was lost, end what takes too long, tell of progress."""
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
