"""From extents to the socket: long runs by sendfile, the rest gathered."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from fsdrivers.api import Extent
from pvboot.serve.http.wire import Wire, WouldBlock

# Below this a sendfile call costs more than the copy that it saves.
SENDFILE_BYTES: Final = 32 << 10
GATHER_BYTES: Final = 128 << 10
# What one connection sends before the others have their turn: a fast reader would else hold the loop for a whole file.
TURN_BYTES: Final = 2 << 20
_NO_SENDFILE: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_ZEROS: Final = bytes(GATHER_BYTES)


class ShortFile(OSError):  # noqa: N818  (what it is)
    """A file ends before its extents do."""


def clipped(extents: Iterable[Extent], start: int, length: int) -> Iterator[Extent]:
    """The part of the extents that stands for `length` bytes from `start`."""
    end = start + length
    for extent in extents:
        if end <= 0:
            return
        skip = max(start, 0)
        count = min(extent.length, end) - skip
        if count > 0:
            data = None if extent.data is None else extent.data[skip : skip + count]
            yield Extent(count, extent.fd, extent.offset + skip, data)
        start -= extent.length
        end -= extent.length


def pieces(head: bytes, extents: Iterable[Extent], *, copying: bool) -> Iterator[Extent | bytes]:
    """What to send, in order: long runs of descriptors for sendfile (none if `copying`), bytes for all else.

    Raises `OSError`.
    """
    gathered, size = [head], len(head)
    for extent in extents:
        if extent.fd is not None and extent.length >= SENDFILE_BYTES and not copying:
            if size:
                yield b"".join(gathered)
                gathered, size = [], 0
            yield extent
            continue
        for data in _contents(extent):
            gathered.append(data)
            size += len(data)
            if size >= GATHER_BYTES:
                yield b"".join(gathered)
                gathered, size = [], 0
    if size:
        yield b"".join(gathered)


def _contents(extent: Extent) -> Iterator[bytes]:
    done = 0
    while done < extent.length:
        count = min(extent.length - done, GATHER_BYTES)
        if extent.fd is not None:
            data = os.pread(extent.fd, count, extent.offset + done)
        elif extent.data is not None:
            data = extent.data[done : done + count]
        else:
            data = _ZEROS[:count]
        if not data:
            raise ShortFile("the file is shorter than its extents")
        yield data
        done += len(data)


class Sender:
    """Sends `head` and `length` bytes of a file; `step` is what `Wire.write_by` calls."""

    def __init__(self, wire: Wire, head: bytes, extents: Iterable[Extent], length: int) -> None:
        self._wire = wire
        self._head_bytes = len(head)
        self._left = len(head) + length
        self._total = self._left
        self._pieces: Iterator[Extent | bytes] = pieces(head, extents, copying=wire.tls)
        self._data = memoryview(b"")
        self._run: Extent | None = None
        self._corked = False

    @property
    def sent(self) -> int:
        """Bytes of the file that the kernel has taken."""
        return max(self._total - self._left - self._head_bytes, 0)

    def step(self) -> None:
        """Send until all is sent.  Raises `WouldBlock`, what `socket.send` and sendfile raise, `ShortFile`."""
        stop = max(self._left - TURN_BYTES, 0)
        while self._left > stop:
            if self._run is not None:
                self._send_run(self._run, self._left - stop)
            elif self._data:
                self._send_data()
            else:
                self._next_piece()
        if self._left > 0:
            raise WouldBlock
        if self._corked:
            self._cork(False)

    def _next_piece(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise ShortFile("the extents are shorter than the file")
        if isinstance(piece, Extent):
            self._run = piece
            if not self._corked:
                self._cork(True)
        else:
            self._data = memoryview(piece)

    def _cork(self, on: bool) -> None:
        """While corked, the kernel sends full segments only: a third less CPU time for a file in one run."""
        self._corked = on
        self._wire.cork(on)

    def _send_data(self) -> None:
        sent = self._wire.send(self._data, more=self._left > len(self._data))
        self._left -= sent
        self._data = self._data[sent:]
        if self._data and not self._wire.tls:  # TLS stops behind each record
            raise WouldBlock

    def _send_run(self, run: Extent, most: int) -> None:
        assert run.fd is not None
        try:
            sent = os.sendfile(self._wire.fileno(), run.fd, run.offset, min(run.length, most))
        except OSError as err:
            if err.errno not in _NO_SENDFILE:
                raise
            self._pieces = chain(pieces(b"", [run], copying=True), self._pieces)
            self._run = None
            return
        if sent == 0:
            raise ShortFile("the file is shorter than its extents")
        self._wire.sent += sent
        self._left -= sent
        self._run = Extent(run.length - sent, run.fd, run.offset + sent) if sent < run.length else None
        if sent < min(run.length, most):
            raise WouldBlock  # the socket is full
