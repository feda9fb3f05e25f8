"""One transfer: the blocks that are sent, those that the client has, and when to send again.

`base` is the last block that the client has acknowledged, `top` the last one sent; both count on without roll-over.
The rules: RFC 1350 with RFC 1123 4.2.3.1 (a repeated ACK is no reason to send again: the sorcerer's apprentice), and
RFC 7440 for windows (an ACK inside the window means that the rest was lost).
"""

from __future__ import annotations

import errno
import socket
from math import inf

from pvboot.serve.tftp import udp
from pvboot.serve.tftp._formats import HEADER
from pvboot.serve.tftp.blocks import Blocks
from pvboot.serve.tftp.limits import TftpLimits
from pvboot.serve.tftp.options import NegotiatedOptions
from pvboot.serve.tftp.packets import ACK, ERROR, HEADER_BYTES, oack
from pvboot.serve.tftp.source import FileReader

# Ways of the kernel to say that one send was too much for this path or device.
NO_SEGMENTS = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP})
# A datagram that could not leave is a lost one: the timer sends again.
LOST = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM})


# Segmentation is set for a socket, and would cut longer OACKs and ERRORs as well.
LONGEST_MESSAGE = 160
# What a tick leaves of the slowest answer: after three seconds it is a tenth.
FORGET = 0.93
# To an address that has not answered, which may be forged, the first packet is sent again so often, and no more.
HALF_OPEN_RESENDS = 2


class Session:
    """The state of one transfer over a connected socket (which it does not close).

    `outcome` is None until it is over, then what `Journal.end` wants; `half_open` until the client has answered.
    All times are seconds of `time.monotonic`.
    Nothing is computed for a packet that can be computed for a `tick`: a transfer has thousands of packets.
    """

    __slots__ = (
        "_awaited",
        "_blocks",
        "_ends_at",
        "_give_up_at",
        "_limits",
        "_link",
        "_measured",
        "_oack",
        "_options",
        "_receive",
        "_repeat_allowed",
        "_segments",
        "_send",
        "_sent_at",
        "_size",
        "_slowest",
        "_stride",
        "_top",
        "_tries",
        "_windowsize",
        "base",
        "half_open",
        "outcome",
        "resends",
    )

    def __init__(
        self,
        link: socket.socket,
        reader: FileReader,
        options: NegotiatedOptions,
        limits: TftpLimits,
        payload: int,
        now: float,
    ) -> None:
        """`payload` as `udp.payload_bytes` says."""
        self._link = link
        self._receive, self._send = link.recv, link.send
        self._options = options
        self._windowsize = options.windowsize
        self._limits = limits
        self._blocks = Blocks(reader, options.blksize, options.windowsize, limits.window_bytes)
        self._stride = options.blksize + HEADER_BYTES
        self._size = reader.size
        self._segments = 1
        if options.windowsize > 1 and LONGEST_MESSAGE <= self._stride <= payload:
            self._segments = udp.segment(link, self._stride)
        self._oack = oack(options.accepted) if options.accepted else b""
        self.base = self._top = 0
        # The ACK that answers all blocks that were sent.
        self._awaited: bytes | None = None
        # Whether a repeated ACK of `base` may (once) mean that the first block of a window was lost.
        self._repeat_allowed = False
        # The longest that an answer took of late, 0.0 as long as none was measured.
        self._slowest = 0.0
        # Resends since the client was heard last; what was sent twice measures nothing (Karn's rule).
        self._tries = 0
        self._measured = False
        self._sent_at = now
        # Until an answer comes, the address may be forged: what is sent to it is somebody else's burden.
        self.half_open = True
        self._ends_at = now + (inf if limits.session_seconds is None else limits.session_seconds)
        self._give_up_at = min(self._ends_at, now + limits.half_open_seconds + (options.timeout or 0))
        self.resends = 0
        self.outcome: str | None = None

    @property
    def sent(self) -> int:
        """Return how many bytes of the file the client has acknowledged."""
        return min(self.base * self._options.blksize, self._size)

    def start(self, now: float) -> None:
        """Send the OACK, or the first block to a client that asked for no option."""
        if self._oack:
            self._send_oack(now)
        else:
            self._send_window(now)

    def readable(self, now: float) -> bool:
        """Take one datagram from the socket; return whether `outcome` or `half_open` has changed by it."""
        # An ACK has no more than the header, and of an ERROR nothing else is looked at.
        try:
            datagram = self._receive(HEADER_BYTES)
        except ConnectionRefusedError:
            self.outcome = "aborted"
            return True
        except OSError as err:
            if err.errno not in LOST:
                raise
            return False
        if datagram != self._awaited or not self._measured:
            before = self.half_open
            self.take(datagram, now)
            return self.outcome is not None or self.half_open is not before
        # The common case, on which the speed of a transfer depends: all that was sent has arrived.
        self.base = self._top
        if now - self._sent_at > self._slowest:
            self._slowest = now - self._sent_at
        self._repeat_allowed = True
        self._send_window(now)
        return self.outcome is not None

    def take(self, datagram: bytes, now: float) -> None:
        """Act on a datagram of the client's, whatever it holds."""
        if len(datagram) < HEADER_BYTES:
            return
        opcode, number = HEADER.unpack_from(datagram)
        if opcode == ERROR:
            # Not a fault: clients leave this way when they have read enough, or do not like the OACK.
            self.outcome = "aborted"
        elif opcode == ACK:
            self._acknowledged((number - self.base) & 0xFFFF, now)

    def _acknowledged(self, ahead: int, now: float) -> None:
        """Act on the ACK of the block `ahead` of the last acknowledged one."""
        if self._oack:
            if not ahead:
                self._oack = b""
                self._heard()
                self._send_window(now)
        elif not ahead:
            if self._repeat_allowed and self._windowsize > 1:
                self._repeat_allowed = False
                self._resend(now)
        elif ahead <= self._top - self.base:
            self.base += ahead
            self._heard()
            # Less than the window: the client missed the next block, and what follows answers that already.
            self._repeat_allowed = self.base == self._top
            self._send_window(now)

    def _heard(self) -> None:
        self.half_open = False
        self._give_up_at = self._ends_at
        self._tries = 0
        self._measured = True

    def _send_window(self, now: float) -> None:
        blocks = self._blocks
        first = self.base + 1
        if self._windowsize == 1 and first < blocks.beyond:
            # As `packets`, for the many packets that are at hand.
            last = first
            packets = blocks.singles[first - blocks.first]
        else:
            last = min(self.base + self._windowsize, blocks.last)
            if first > last:
                self.outcome = "done"
                return
            packets = blocks.packets(first, last)
        try:
            if last - first < self._segments:
                self._send(packets)
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

    def _send_parts(self, packets: memoryview, first: int, last: int) -> int:
        """Send a window in as few parts as the kernel takes; return the last block that left."""
        part = self._segments * self._stride
        for start in range(0, len(packets), part):
            try:
                self._send(packets[start : start + part])
            except OSError as err:
                if err.errno not in LOST or not start:
                    raise
                return first + start // self._stride - 1
        return last

    def _send_oack(self, now: float) -> None:
        try:
            self._send(self._oack)
        except ConnectionRefusedError:
            self.outcome = "aborted"
        except OSError as err:
            if err.errno not in LOST:
                raise
        self._sent_at = now

    def _resend(self, now: float) -> None:
        self.resends += 1
        if self._oack:
            self._send_oack(now)
        else:
            self._send_window(now)

    def tick(self, now: float) -> None:
        """Called ten times a second or so: send again what was not answered in time, or give up."""
        late = now - self._sent_at >= self._patience()
        if now >= self._give_up_at or (late and self._tries >= self._limits.retries):
            self.outcome = "timeout"
        elif late and not (self.half_open and self._tries >= HALF_OPEN_RESENDS):
            self._tries += 1
            self._measured = self._repeat_allowed = False
            self._resend(now)
        self._slowest *= FORGET

    def repeated_request(self, now: float) -> None:
        """Answer a request that comes again, once a resend is overdue: a packet for a packet."""
        if self.half_open and self._tries >= HALF_OPEN_RESENDS and now - self._sent_at >= self._limits.timeout:
            self._resend(now)

    def _patience(self) -> float:
        """Return seconds from sending until sending again: the client's own, or by how long answers take."""
        limits, asked = self._limits, self._options.timeout
        if asked is not None:
            first = float(asked)
        elif self._slowest:
            first = min(max(4 * self._slowest, limits.timeout_min), limits.timeout)
        else:
            first = limits.timeout
        return min(first * (1 << self._tries), max(first, limits.timeout_max))
