"""A TFTP client that does what a test tells it, datagram by datagram."""

from __future__ import annotations

import socket
from types import TracebackType

from tests.serve.tftp.served import Running

Packet = tuple[int, int, bytes]


def rrq(name: bytes | str, *options: object, mode: str = "octet", opcode: int = 1) -> bytes:
    """RRQ (or WRQ); options as name, value, name, value."""
    fields = [name if isinstance(name, bytes) else name.encode(), mode.encode()]
    fields += [part if isinstance(part, bytes) else str(part).encode() for part in options]
    return bytes((0, opcode)) + b"".join(field + b"\0" for field in fields)


class Peer:
    """One client socket.  Datagrams are (opcode, block or error code, rest); an OACK's rest holds all its options."""

    def __init__(self, running: Running, seconds: float = 20) -> None:
        address = running.address
        family = socket.AF_INET6 if ":" in str(address[0]) else socket.AF_INET
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(address[0]), str(address[0]))
        self.server: tuple[object, ...] = (host, address[1])
        self.tid: tuple[object, ...] | None = None
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.socket.settimeout(seconds)

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def ask(self, datagram: bytes) -> Packet:
        """Send a request and take the answer."""
        self.socket.sendto(datagram, self.server)
        return self.take()

    def take(self) -> Packet:
        """The next datagram, from whichever port the server uses."""
        datagram, sender = self.socket.recvfrom(65536)
        self.tid = sender
        opcode = int.from_bytes(datagram[:2], "big")
        if opcode == 6:
            return 6, 0, datagram[2:]
        return opcode, int.from_bytes(datagram[2:4], "big"), datagram[4:]

    def send(self, datagram: bytes) -> None:
        """To the port that the server answered from."""
        assert self.tid is not None
        self.socket.sendto(datagram, self.tid)

    def ack(self, block: int) -> None:
        """ACK of a block."""
        self.send(b"\0\4" + (block & 0xFFFF).to_bytes(2, "big"))

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)
        return False

    def fetch(self, name: bytes | str, blksize: int = 512, windowsize: int = 1, mode: str = "octet") -> bytes:
        """A whole file, with the options where they are not the defaults."""
        options: list[object] = []
        if blksize != 512:
            options += ["blksize", blksize]
        if windowsize != 1:
            options += ["windowsize", windowsize]
        packet = self.ask(rrq(name, *options, mode=mode))
        if options:
            assert packet[0] == 6, packet
            self.ack(0)
            packet = self.take()
        parts: list[bytes] = []
        unanswered = 0
        while True:
            opcode, number, data = packet
            assert opcode == 3, packet
            if number == (len(parts) + 1) & 0xFFFF:
                parts.append(data)
                unanswered += 1
                if unanswered == windowsize or len(data) < blksize:
                    unanswered = 0
                    self.ack(len(parts))
                if len(data) < blksize:
                    return b"".join(parts)
            packet = self.take()


def serves(running: Running, name: str = "/f", data: bytes | None = None) -> None:
    """The server still does its work."""
    with Peer(running) as peer:
        got = peer.fetch(name)
    assert got == (running.files.table[name] if data is None else data)
