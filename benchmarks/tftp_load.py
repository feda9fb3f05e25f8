"""TFTP clients that cost little: N at once fetch a file and throw it away.

    python benchmarks/tftp_load.py HOST PORT NAME SIZE --clients N --blksize B --windowsize W [--crc32 SUM]

Prints the seconds it took; ends with an error unless every client got SIZE bytes (and those of the sum).
"""

from __future__ import annotations

import argparse
import select
import socket
import time
import zlib

ACK = [b"\0\4" + number.to_bytes(2, "big") for number in range(65536)]
RESEND_SECONDS = 1.0


class Client:
    """One transfer; counts bytes, keeps none."""

    def __init__(self, server: tuple[str, int], name: str, blksize: int, windowsize: int, crc: bool) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        window = f"windowsize\0{windowsize}\0" if windowsize > 1 else ""
        self._request = f"\0\1{name}\0octet\0blksize\0{blksize}\0{window}".encode()
        self._server = server
        self._blksize, self._windowsize = blksize, windowsize
        self.received = self._block = self._unanswered = 0
        self._connected = self.done = False
        self.crc: int | None = 0 if crc else None
        self.buffer = bytearray(blksize + 4)
        self.heard = time.monotonic()
        self.socket.sendto(self._request, server)

    def readable(self) -> None:
        """Take all that has come."""
        read, answer, buffer = self.socket.recv_into, self.socket.send, self.buffer
        if not self._connected:
            length, peer = self.socket.recvfrom_into(buffer)
            assert buffer[1] == 6, bytes(buffer[:length])
            self.socket.connect(peer)
            self._connected = True
            answer(ACK[0])
            return
        while not self.done:
            try:
                length = read(buffer)
            except BlockingIOError:
                return
            number = buffer[2] << 8 | buffer[3]
            if buffer[1] == 6:
                answer(ACK[0])
                continue
            assert buffer[1] == 3, bytes(buffer[:length])
            if number != (self._block + 1) & 0xFFFF:
                # A gap, told once; or the last block again, because our ACK was lost.
                if self._unanswered or number == self._block & 0xFFFF:
                    self._unanswered = 0
                    answer(ACK[self._block & 0xFFFF])
                continue
            self._block += 1
            self._unanswered += 1
            self.received += length - 4
            if self.crc is not None:
                self.crc = zlib.crc32(memoryview(buffer)[4:length], self.crc)
            self.done = length - 4 < self._blksize
            if self.done or self._unanswered == self._windowsize:
                self._unanswered = 0
                answer(ACK[number])

    def again(self) -> None:
        """Nothing came for a while."""
        if self._connected:
            self.socket.send(ACK[self._block & 0xFFFF])
        else:
            self.socket.sendto(self._request, self._server)


def fetch(
    server: tuple[str, int], name: str, clients: int, blksize: int, windowsize: int, crc: bool = False
) -> tuple[float, set[tuple[int, int | None]]]:
    """Seconds, and what the clients got: bytes and (if asked for) CRC-32."""
    started = time.monotonic()
    running = {}
    poll = select.epoll()
    everyone = [Client(server, name, blksize, windowsize, crc) for _ in range(clients)]
    for client in everyone:
        running[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)
    checked = started
    while running:
        events = poll.poll(RESEND_SECONDS)
        for fd, _ in events:
            client = running[fd]
            client.readable()
            if client.done:
                poll.unregister(fd)
                del running[fd]
        now = time.monotonic()
        if now - checked > RESEND_SECONDS:
            checked = now
            for client in running.values():
                # Only who has got nothing since the last look.
                if client.heard == client.received:
                    client.again()
                client.heard = client.received
    return time.monotonic() - started, {(client.received, client.crc) for client in everyone}


def main() -> None:
    """Fetch, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("size", type=int)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--blksize", type=int, default=1428)
    parser.add_argument("--windowsize", type=int, default=1)
    parser.add_argument("--crc32", type=int)
    args = parser.parse_args()
    server = (args.host, args.port)
    seconds, got = fetch(server, args.name, args.clients, args.blksize, args.windowsize, args.crc32 is not None)
    if got != {(args.size, args.crc32)}:
        raise SystemExit(f"clients got (bytes, CRC-32) {got} instead of {args.size}, {args.crc32}")
    print(seconds)


if __name__ == "__main__":
    main()
