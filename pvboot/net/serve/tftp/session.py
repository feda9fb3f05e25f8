"""One transfer: what is sent, what the client has, when to send again.

`base` is the last block that the client has acknowledged, `top` the last one sent; both count on without roll-over.
The rules: RFC 1350 with RFC 1123 4.2.3.1 (a repeated ACK is no reason to send again: the sorcerer's apprentice), and
RFC 7440 for windows (an ACK inside the window means that the rest was lost).
"""

from __future__ import annotations

import errno
import socket

from pvboot.net.serve.tftp import udp
from pvboot.net.serve.tftp.blocks import Blocks
from pvboot.net.serve.tftp.limits import TftpLimits
from pvboot.net.serve.tftp.options import Terms
from pvboot.net.serve.tftp.packets import ACK, ERROR, HEADER, HEADER_BYTES, oack
from pvboot.net.serve.tftp.source import FileReader

# An ACK has 4 bytes; of an ERROR no more than its opcode is looked at.
RECEIVE_BYTES = 64
# Ways of the kernel to say that one send was too much for this path or device.
NO_SEGMENTS = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP})
# A datagram that could not leave is a lost one: the timer sends again.
LOST = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM})


class Session:
    """The state of one transfer over a connected socket (which it does not close).

    `outcome` is None until it is over, then what `Journal.end` wants.  `due` is the time (seconds, `time.monotonic`)
    at which `expire` has something to do; looking later does no harm.
    """

    __slots__ = (
        "_awaited", "_blocks", "_first_timeout", "_half_open_until", "_limits", "_link", "_oack", "_receive",
        "_repeat_allowed", "_resend_seconds", "_rtt", "_segments", "_sent_at", "_size", "_stride", "_terms", "_top",
        "_tries", "base", "due", "ends_at", "outcome", "resends",
    )  # fmt: skip

    def __init__(
        self, link: socket.socket, reader: FileReader, terms: Terms, limits: TftpLimits, payload: int, now: float
    ) -> None:
        """`payload` as `udp.payload_bytes` says."""
        self._link = link
        self._receive = link.recv
        self._terms = terms
        self._limits = limits
        self._blocks = Blocks(reader, terms.blksize, terms.windowsize, limits.window_bytes)
        self._stride = terms.blksize + HEADER_BYTES
        self._size = reader.size
        self._segments = 1
        if terms.windowsize > 1 and self._stride <= payload:
            self._segments = udp.segment(link, self._stride)
        self._oack = oack(terms.accepted) if terms.accepted else b""
        self.base = self._top = 0
        # The ACK that answers all blocks that were sent.
        self._awaited: bytes | None = None
        # Whether a repeated ACK of `base` may (once) mean that the first block of a window was lost.
        self._repeat_allowed = False
        self._first_timeout = limits.timeout if terms.timeout is None else float(terms.timeout)
        self._resend_seconds = self._first_timeout
        self._rtt: float | None = None
        self._tries = 0
        self._sent_at = self.due = now
        # Until an answer comes, the address may be forged: what is sent to it is somebody else's burden.
        self._half_open_until: float | None = now + limits.half_open_seconds + (terms.timeout or 0)
        self.ends_at = None if limits.session_seconds is None else now + limits.session_seconds
        self.resends = 0
        self.outcome: str | None = None

    @property
    def half_open(self) -> bool:
        """Whether the client has not answered yet."""
        return self._half_open_until is not None

    @property
    def sent(self) -> int:
        """Bytes of the file that the client has acknowledged."""
        return min(self.base * self._terms.blksize, self._size)

    def start(self, now: float) -> None:
        """Send the OACK, or the first block to a client that asked for no option."""
        if self._oack:
            self._send_oack(now)
        else:
            self._send_window(now)

    def readable(self, now: float) -> None:
        """Take one datagram from the socket."""
        try:
            datagram = self._receive(RECEIVE_BYTES)
        except ConnectionRefusedError:
            self.outcome = "aborted"
            return
        except OSError as err:
            if err.errno not in LOST:
                raise
            return
        if datagram != self._awaited:
            self.take(datagram, now)
            return
        # The common case, and the only one that the speed of a transfer depends on: all that was sent has arrived.
        self.base = self._top
        if self._tries or self._half_open_until is not None:
            self._heard()
        else:
            # Karn's rule: what was sent twice measures nothing.
            self._measure(now - self._sent_at)
        self._repeat_allowed = True
        self._send_window(now)

    def take(self, datagram: bytes, now: float) -> None:
        """Act on a datagram of the client's, whatever it is."""
        if len(datagram) < HEADER_BYTES:
            return
        opcode, number = HEADER.unpack_from(datagram)
        if opcode == ERROR:
            # Not a fault: clients leave this way when they have read enough, or do not like the OACK.
            self.outcome = "aborted"
        elif opcode == ACK:
            self._acknowledged((number - self.base) & 0xFFFF, now)

    def _acknowledged(self, ahead: int, now: float) -> None:
        """ACK of the block `ahead` of the last acknowledged one."""
        if self._oack:
            if not ahead:
                self._oack = b""
                self._heard()
                self._send_window(now)
        elif not ahead:
            if self._repeat_allowed and self._terms.windowsize > 1:
                self._repeat_allowed = False
                self._resend(now)
        elif ahead <= self._top - self.base:
            self.base += ahead
            self._heard()
            # Less than the window: the client missed the next block, and what follows answers that already.
            self._repeat_allowed = self.base == self._top
            self._send_window(now)

    def _heard(self) -> None:
        self._half_open_until = None
        self._tries = 0

    def _measure(self, seconds: float) -> None:
        """Follow the round trip time, quickly up and slowly down; a client that set its timeout keeps it."""
        rtt = self._rtt
        self._rtt = rtt = seconds if rtt is None or seconds > rtt else rtt + (seconds - rtt) * 0.125
        if self._terms.timeout is None:
            self._resend_seconds = min(max(4 * rtt, self._limits.timeout_min), self._first_timeout)

    def _send_window(self, now: float) -> None:
        first = self.base + 1
        last_block = self._blocks.last
        if first > last_block:
            self.outcome = "done"
            return
        last = self.base + self._terms.windowsize
        if last > last_block:
            last = last_block
        packets = self._blocks.packets(first, last)
        try:
            if first == last or last - first < self._segments:
                self._link.send(packets)
            else:
                last = self._send_parts(packets, first, last)
        except ConnectionRefusedError:
            self.outcome = "aborted"
            return
        except OSError as err:
            if self._segments > 1 and err.errno in NO_SEGMENTS:
                udp.unsegment(self._link)
                self._segments = 1
                self._send_window(now)
                return
            if err.errno not in LOST:
                raise
            last = self.base
        self._top = last
        self._awaited = HEADER.pack(ACK, last & 0xFFFF) if last > self.base else None
        self._sent_at = now
        self.due = now + self._resend_seconds

    def _send_parts(self, packets: memoryview, first: int, last: int) -> int:
        """Send a window in as few parts as the kernel takes; the last block that left."""
        part = self._segments * self._stride
        for start in range(0, len(packets), part):
            try:
                self._link.send(packets[start : start + part])
            except OSError as err:
                if err.errno not in LOST or not start:
                    raise
                return first + start // self._stride - 1
        return last

    def _send_oack(self, now: float) -> None:
        try:
            self._link.send(self._oack)
        except ConnectionRefusedError:
            self.outcome = "aborted"
        except OSError as err:
            if err.errno not in LOST:
                raise
        self._sent_at = now
        self.due = now + self._resend_seconds

    def _resend(self, now: float) -> None:
        self.resends += 1
        if self._oack:
            self._send_oack(now)
        else:
            self._send_window(now)

    def expire(self, now: float) -> None:
        """Called when `due` has passed: send again, more patiently each time, or give up."""
        too_late = self._half_open_until is not None and now >= self._half_open_until
        if too_late or self._tries >= self._limits.retries:
            self.outcome = "timeout"
        else:
            self._tries += 1
            self._repeat_allowed = False
            self._resend(now)
            patience = max(self._limits.timeout_max, self._first_timeout)
            self.due = now + min(self._resend_seconds * 2**self._tries, patience)
