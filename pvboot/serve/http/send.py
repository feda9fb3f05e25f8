"""From extents to the socket: long runs by sendfile, the rest gathered."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Final

from aiohttp import web

from fsdrivers.api import Extent
from fsdrivers.errors import SourceError
from pvboot.serve.extents import gathered, short_file

# Below this a sendfile call costs more than the copy that it saves.
SENDFILE_BYTES: Final = 32 << 10
# What one connection sends before the others have their turn: a fast reader would else hold the loop for a whole file.
TURN_BYTES: Final = 8 << 20
_NO_SENDFILE: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class FileResponse(web.StreamResponse):
    """A response whose head waits for the first bytes of its body."""

    _send_headers_immediately = False


def pieces(extents: Iterable[Extent]) -> Iterator[Extent | bytes]:
    """Yield what is to be sent, in order: long runs of descriptors for sendfile, bytes for the rest.

    Raises `SourceError`.
    """
    for for_sendfile, group in groupby(extents, _for_sendfile):
        if for_sendfile:
            yield from group
        else:
            yield from gathered(group)


def _for_sendfile(extent: Extent) -> bool:
    return extent.fd is not None and extent.length >= SENDFILE_BYTES


class Sender:
    """Sends the body of a response out of extents; `sent` bytes of it are with the kernel."""

    def __init__(self, extents: Sequence[Extent], length: int) -> None:
        self.sent = 0
        self._extents = extents
        self._length = length

    async def send(self, request: web.BaseRequest, response: FileResponse) -> None:
        """Send head and body.  Raises `OSError`, mostly `ConnectionError`, and `SourceError`."""
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        if request.secure or not any(map(_for_sendfile, self._extents)):
            for data in gathered(self._extents):
                await response.write(data)
                self.sent += len(data)
        else:
            # asyncio watches a transport's descriptor for itself: a duplicate can be waited for beside it.
            sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
            with sock, _corked(sock):
                request.writer.send_headers()
                await request.writer.drain()
                await _Filling(sock, self, pieces(self._extents)).run()
        if self.sent != self._length:
            raise SourceError("extents do not add up to the file")


@contextlib.contextmanager
def _corked(sock: socket.socket) -> Iterator[None]:
    """Have the kernel send full segments only: a third less CPU time for a file in one run."""
    with contextlib.suppress(OSError):  # not TCP
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, True)
    yield
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, False)


class _Filling:
    """Pieces on their way into a socket, whenever it takes more: no task is woken in between."""

    def __init__(self, sock: socket.socket, sender: Sender, pieces: Iterator[Extent | bytes]) -> None:
        self._sock = sock
        self._sender = sender
        self._pieces = pieces
        self._piece: Extent | memoryview | None = None
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Until all is sent."""
        self._loop.add_writer(self._sock, self._step)
        try:
            self._step()
            await self._done
        finally:
            self._loop.remove_writer(self._sock)

    def _step(self) -> None:
        """Send what fits, up to the turn's bound."""
        stop = self._sender.sent + TURN_BYTES
        try:
            while self._sender.sent < stop:
                if not self._piece:
                    piece = next(self._pieces, None)
                    if piece is None:
                        self._finish(None)
                        return
                    self._piece = piece if isinstance(piece, Extent) else memoryview(piece)
                if not self._send_piece(self._piece, stop - self._sender.sent):
                    return
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, SourceError) as err:
            self._finish(err)

    def _finish(self, error: Exception | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    def _send_piece(self, piece: Extent | memoryview, most: int) -> bool:
        """Send a part of a piece; whether the socket may take more."""
        if not isinstance(piece, Extent):
            count = self._sock.send(piece)
            self._piece = piece[count:]
            self._sender.sent += count
            return not self._piece
        assert piece.fd is not None
        wanted = min(piece.length, most)
        try:
            count = os.sendfile(self._sock.fileno(), piece.fd, piece.offset, wanted)
        except OSError as err:
            if err.errno not in _NO_SENDFILE:
                raise
            self._pieces, self._piece = chain(gathered([piece]), self._pieces), None
            return True
        if not count:
            raise short_file(piece.offset)
        self._sender.sent += count
        left = piece.length - count
        self._piece = Extent(left, piece.fd, piece.offset + count) if left else None
        return count == wanted
