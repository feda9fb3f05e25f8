"""One connection's socket: non-blocking, plain or TLS, driven by the readiness that the event loop reports.

asyncio's transports buffer what they send; sendfile wants the bare socket.  Under TLS `ssl`'s own sockets copy less
than the memory buffers of asyncio.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

READ_BYTES: Final = 16 << 10
_SIOCOUTQ: Final = 0x5411  # linux/sockios.h: bytes that the peer has not acknowledged
_READ, _WRITE = 1, 2


class WouldBlock(Exception):  # noqa: N818  (what it is)
    """A step of `until` wants to be called again when the socket takes more."""


class Gone(Exception):  # noqa: N818  (what it is)
    """The connection was ended from this side; the text is the outcome for the journal."""


class Wire:
    """A socket that one coroutine uses.  Readiness is waited for by `until`, which anything else is built on."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None, loop: asyncio.AbstractEventLoop) -> None:
        """Takes the accepted socket over."""
        sock.setblocking(False)
        with suppress(OSError):  # not TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = tls is not None
        self.sent = 0
        self._sock = sock if tls is None else tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._fd = self._sock.fileno()
        self._loop = loop
        self._watched = 0
        self._step: Callable[[], Any] = self._read
        self._waiter: asyncio.Future[Any] | None = None
        self._ended: Gone | None = None
        self._drop = False

    async def handshake(self) -> None:
        """TLS's beginning; raises `OSError`."""
        if isinstance(self._sock, ssl.SSLSocket):
            await self.until(self._sock.do_handshake, _READ)

    async def read(self) -> bytes:
        """Some bytes, none at the end.  Raises `OSError`, `Gone`."""
        data: bytes = await self.until(self._read, _READ)
        return data

    async def write_by(self, step: Callable[[], None]) -> None:
        """Call `step`, which sends, until it returns without wanting more room.  Raises what it raises, `Gone`."""
        await self.until(step, _WRITE)

    def send(self, data: memoryview, *, more: bool) -> int:
        """Send what the socket takes; `more` follows at once.  Raises `OSError`, and what `until` waits for."""
        sent = self._sock.send(data, 0 if self.tls or not more else socket.MSG_MORE)
        self.sent += sent
        return sent

    def cork(self, on: bool) -> None:
        """Hold back what fills no segment, or send it."""
        with suppress(OSError):  # not TCP
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)

    def fileno(self) -> int:
        """For sendfile."""
        return self._fd

    def unacknowledged(self) -> int:
        """Bytes that were sent and have not arrived."""
        try:
            answer = fcntl.ioctl(self._fd, _SIOCOUTQ, bytes(4))
        except OSError:
            return 0
        return int(struct.unpack("i", answer)[0])

    def end(self, outcome: str, *, drop: bool = False) -> None:
        """Whatever the coroutine waits for on this socket, now or later, raises `Gone`.

        `drop`: nor does the kernel go on to send what it holds, for a client that does not read it would hold it long.
        """
        self._ended = Gone(outcome)
        self._drop = drop
        self._finish(None, self._ended)

    def finish_sending(self) -> None:
        """Tell the peer that nothing follows."""
        with suppress(OSError, ValueError):  # ValueError: TLS that was never begun
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap()  # sends the closing alert, then asks for the peer's, which is not waited for
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket back."""
        self._watch(0)
        if self._drop and self.unacknowledged():
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    async def until(self, step: Callable[[], Any], wanted: int) -> Any:
        """The result of `step`, called now and whenever the socket is ready, until it does not want to wait."""
        if self._ended is not None:
            raise self._ended
        try:
            return step()
        except (WouldBlock, BlockingIOError, InterruptedError):
            pass
        except ssl.SSLWantReadError:
            wanted = _READ
        except ssl.SSLWantWriteError:
            wanted = _WRITE
        self._step = step
        self._waiter = self._loop.create_future()
        self._watch(wanted)
        return await self._waiter

    def _ready(self) -> None:
        if self._waiter is None:  # bytes between two reads: they can wait in the kernel
            self._watch(0)
            return
        try:
            result = self._step()
        except (WouldBlock, BlockingIOError, InterruptedError):
            return
        except ssl.SSLWantReadError:
            self._watch(_READ)
        except ssl.SSLWantWriteError:
            self._watch(_WRITE)
        except Exception as err:  # it belongs to the coroutine that waits
            self._finish(None, err)
        else:
            self._finish(result, None)

    def _finish(self, result: Any, error: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if self._watched == _WRITE:  # a socket is nearly always ready to write; reading may stay watched
            self._watch(0)
        if waiter is None or waiter.done():
            return
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(result)

    def _watch(self, wanted: int) -> None:
        if wanted == self._watched:
            return
        if self._watched == _READ:
            self._loop.remove_reader(self._fd)
        elif self._watched == _WRITE:
            self._loop.remove_writer(self._fd)
        if wanted == _READ:
            self._loop.add_reader(self._fd, self._ready)
        elif wanted == _WRITE:
            self._loop.add_writer(self._fd, self._ready)
        self._watched = wanted

    def _read(self) -> bytes:
        return self._sock.recv(READ_BYTES)
