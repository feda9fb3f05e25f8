"""TFTP by tftpy, with its gaps closed: strangers, sizes, options, block 65535, IPv6, time.

tftpy's context runs the transfer and keeps its state; every datagram is judged here first, and only those that are in
order reach it.  Sources: RFC 1350, RFC 2347 to 2349.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from tftpy.TftpContexts import TftpContextClientDownload
from tftpy.TftpShared import TftpException, TftpTimeout
from tftpy.TftpStates import TftpStateExpectDAT

from fsdrivers.errors import NotFound
from pvboot.fetch.errors import FetchError
from pvboot.fetch.settings import Pace
from pvboot.grub_errors import shorten

if TYPE_CHECKING:
    from pvboot.fetch.settings import FetchLimits, Progress
    from pvboot.fetch.sink import Sink
    from pvboot.fetch.urls import Url

BLOCK_BYTES: Final = 1432  # fits an Ethernet frame; what PV-GRUB and iPXE ask for
DEFAULT_BLOCK_BYTES: Final = 512
SMALLEST_BLOCK_BYTES: Final = 8
OPTIONS: Final = {"blksize": BLOCK_BYTES, "tsize": 0}
NAME_LIMIT: Final = 400  # bytes: a request is one datagram of 512 at most

DATA, ACK, ERROR, OACK = 3, 4, 5, 6
NOT_FOUND, NO_ACCESS, DISK_FULL, ILLEGAL, REFUSED_OPTIONS = 1, 2, 3, 4, 8

logging.getLogger("tftpy").setLevel(logging.CRITICAL)


class _SizeKnown(Exception):  # noqa: N818  (control flow)
    """A probe knows the size."""


class _Download(TftpContextClientDownload):  # type: ignore[misc]
    """One transfer.  `size` is the server's tsize or None; with `only_size` it ends when that is clear."""

    def __init__(self, url: Url, address: tuple[str, int], sink: Any, limits: FetchLimits, only_size: bool) -> None:
        self.url = url
        self.size: int | None = None
        self._only_size = only_size
        self._pace = Pace(limits)
        self._begun = self._ended = False
        host, port = address
        self.sock: socket.socket
        self.state: Any = None
        super().__init__(
            host,
            port,
            "x",
            sink,
            dict(OPTIONS),
            None,
            limits.tftp_wait_seconds,
            retries=limits.tftp_retries,
            flock=False,
        )
        # bytes, which tftpy's packet takes as they are: it encodes text as ASCII only
        self.file_to_transfer = url.tftp_name
        if ":" in host:
            self.sock.close()
            self.sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.sock.settimeout(limits.tftp_wait_seconds)

    # tftpy resolves names, by IPv4 only; this one is an address already.
    @property
    def host(self) -> str:
        return self.address

    @host.setter
    def host(self, address: str) -> None:
        self.address = address

    def cycle(self) -> None:
        """Wait for the next datagram that belongs to the transfer and hand it to tftpy."""
        deadline = time.monotonic() + self.timeout
        while True:
            datagram, port = self._receive(deadline)
            if self._accept(datagram, port):
                break
        self.state = self.state.handle(self.factory.parse(datagram), self.address, port)
        self.retry_count = 0
        self._pace.count(self.metrics.bytes)

    def _receive(self, deadline: float) -> tuple[bytes, int]:
        """A datagram of the server's and its port; what strangers send is dropped and prolongs nothing."""
        while True:
            if time.monotonic() >= self._pace.deadline:
                raise FetchError("the server is too slow", where=str(self.url))
            left = deadline - time.monotonic()
            if left <= 0:
                raise TftpTimeout("no answer")
            self.sock.settimeout(left)
            try:
                datagram, sender = self.sock.recvfrom(65536)
            except TimeoutError as err:
                raise TftpTimeout("no answer") from err
            if sender[0] == self.address and self.tidport in (None, sender[1]):
                return datagram, sender[1]

    def _accept(self, datagram: bytes, port: int) -> bool:
        """Return True if tftpy is to have it.  Raises `FetchError` for datagrams that no honest server sends."""
        if len(datagram) < 4:
            raise self._illegal(port, "a datagram of less than 4 bytes")
        operation, number = struct.unpack_from(">HH", datagram)
        if operation == ERROR:
            raise self._refusal(number, datagram[4:])
        if operation == OACK:
            return self._accept_options(datagram, port)
        if operation != DATA:
            raise self._illegal(port, f"operation {operation}")
        if not self._begun:
            if number != 1:
                return False
            if self._only_size:
                self._end_probe(port)
            self._begun = True
            self.options = {"blksize": DEFAULT_BLOCK_BYTES}
        if len(datagram) > 4 + self.getBlocksize():
            raise self._illegal(port, f"{len(datagram) - 4} bytes in a block of {self.getBlocksize()}")
        if number == self.next_block:
            return True
        if number == (self.next_block - 1) & 0xFFFF and self.metrics.bytes:
            # Our ACK was lost.  tftpy takes 65535 behind 0 for a block of the future and gives up.
            self.state.sendACK(number)
        return False

    def _accept_options(self, datagram: bytes, port: int) -> bool:
        if self._begun:
            if self.next_block == 1 and not self.metrics.bytes:
                self.state.sendACK(0)  # the first one was lost
            return False
        options = _read_options(datagram[2:])
        if options is None or not options or not options.keys() <= OPTIONS.keys():
            raise self._illegal(port, "options that were not asked for", REFUSED_OPTIONS)
        block_bytes = options.get("blksize", DEFAULT_BLOCK_BYTES)
        if not SMALLEST_BLOCK_BYTES <= block_bytes <= BLOCK_BYTES:
            raise self._illegal(port, f"blksize {block_bytes}", REFUSED_OPTIONS)
        self.size = options.get("tsize")
        self.tidport = port
        if self._only_size:
            self._end_probe(port)
        if self.size is not None:
            self.fileobj.expect(self.size)
        self._begun = True
        # Not tftpy's own handling: names of options may come back in capitals, which it would not know.
        self.options = {"blksize": block_bytes}
        self.state.sendACK(0)
        self.state = TftpStateExpectDAT(self)
        self.retry_count = 0
        return False

    def _end_probe(self, port: int) -> None:
        self.tidport = port
        self.abort(REFUSED_OPTIONS)
        raise _SizeKnown

    def abort(self, code: int) -> None:
        """Send the server an error: nothing more is wanted."""
        if self.state is not None and not self._ended:
            self._ended = True
            self.state.sendError(code)

    def _illegal(self, port: int, found: str, code: int = ILLEGAL) -> FetchError:
        if self.tidport is None:
            self.tidport = port
        self.abort(code)
        return FetchError("the server breaks the rules of TFTP", where=str(self.url), found=found)

    def _refusal(self, code: int, text: bytes) -> Exception:
        words = text.partition(b"\0")[0].decode("utf-8", "replace")
        message = shorten("".join(char if char.isprintable() else " " for char in words).strip(), 100)
        if code in (NOT_FOUND, NO_ACCESS):  # a file that may not be read is 1 for some servers, 2 for others
            return NotFound("no such file", where=str(self.url), found=message or f"error {code}")
        return FetchError("the server refuses", where=str(self.url), found=f"error {code} {message}".rstrip())


def _read_options(data: bytes) -> dict[str, int] | None:
    """Option names in small letters, and their values; None if they cannot be read."""
    words = data.split(b"\0")
    if words.pop() or len(words) % 2 or len(words) > 2 * len(OPTIONS):
        return None
    options = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        if not value.isdigit() or len(value) > 18:
            return None
        options[name.decode("latin-1").lower()] = int(value)
    return options if len(options) == len(words) // 2 else None


def download(url: Url, sink: Sink, limits: FetchLimits, progress: Progress | None = None) -> None:
    """The file behind `url` into `sink`.  Raises `NotFound`, `FetchError`."""
    transfer = _Download(url, _address(url), _Output(sink, progress), limits, only_size=False)
    transfer.fileobj.transfer = transfer
    _run(transfer)
    if transfer.size is not None and transfer.size != sink.received:
        expected, found = f"{transfer.size} bytes", f"{sink.received} bytes"
        raise FetchError("the file is not as long as the server said", where=str(url), expected=expected, found=found)


def ask_size(url: Url, limits: FetchLimits) -> int | None:
    """The size of a file, None if the server does not give it.  Raises `NotFound`, `FetchError`."""
    transfer = _Download(url, _address(url), io.BytesIO(), limits, only_size=True)
    with contextlib.suppress(_SizeKnown):
        _run(transfer)
    return transfer.size


class _Output:
    """The file that tftpy writes to."""

    def __init__(self, sink: Sink, progress: Progress | None) -> None:
        self._sink = sink
        self._progress = progress
        self.transfer: _Download | None = None

    def expect(self, size: int) -> None:
        self._sink.expect(size)

    def write(self, data: bytes) -> None:
        self._sink.write(data)
        if self._progress is not None:
            self._progress(self._sink.received, self.transfer.size if self.transfer else None)


def _run(transfer: _Download) -> None:
    with transfer:
        try:
            transfer.start()
        except TftpTimeout as err:
            silence = f"silence after {transfer.metrics.bytes} bytes"
            raise FetchError("the server does not answer", where=str(transfer.url), found=silence) from err
        except FetchError:
            transfer.abort(DISK_FULL)
            raise
        except (TftpException, OSError, ValueError, struct.error, AssertionError) as err:
            raise FetchError("the transfer failed", where=str(transfer.url), found=shorten(str(err), 200)) from err


def _address(url: Url) -> tuple[str, int]:
    """Address and port of the server.  Raises `FetchError`, `NotFound` for a name that no request can carry."""
    name = url.tftp_name
    if not name or len(name) > NAME_LIMIT:
        raise NotFound("no such file", where=str(url), expected=f"a name of 1 to {NAME_LIMIT} bytes")
    try:
        found = socket.getaddrinfo(url.host, url.number, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as err:
        raise FetchError("the server's name is not known", where=str(url), found=str(err)) from err
    # IPv4 first: many a TFTP server listens on nothing else, and silence would be all the answer.
    sockaddr = min(found, key=lambda one: one[0] != socket.AF_INET)[4]
    return str(sockaddr[0]), int(sockaddr[1])
