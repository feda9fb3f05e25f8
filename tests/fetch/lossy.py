"""A UDP proxy that drops packets: the network of a bad day, the same one at each run.

    python -m tests.fetch.lossy SERVER_PORT PERCENT SEED

Prints its port on 127.0.0.1.  Each client gets a socket pair of its own, so both sides see TFTP's transfer
identifiers as they would without it.
"""

from __future__ import annotations

import random
import select
import socket
import sys

HOST = "127.0.0.1"
DATAGRAM_BYTES = 65536


class Path:
    """The way between one client and the server; its losses depend on its number and its packets' order alone."""

    def __init__(self, client: tuple[str, int], server: tuple[str, int], percent: float, seed: str) -> None:
        self.down = _socket()
        self.down.connect(client)
        self.up = _socket()
        self._server: tuple[str, int] | None = server
        self._random = random.Random(seed).random
        self._share = percent / 100
        self.dropped = self.passed = 0

    def _lost(self) -> bool:
        if self._random() < self._share:
            self.dropped += 1
            return True
        self.passed += 1
        return False

    def from_client(self, datagram: bytes) -> None:
        """Towards the server: to its port until it has answered from another one."""
        if self._lost():
            return
        if self._server is None:
            self.up.send(datagram)
        else:
            self.up.sendto(datagram, self._server)

    def from_server(self) -> None:
        """Towards the client."""
        datagram, peer = self.up.recvfrom(DATAGRAM_BYTES)
        if self._server is not None:
            self._server = None
            self.up.connect(peer)
        if not self._lost():
            self.down.send(datagram)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((HOST, 0))
    return made


def run(server_port: int, percent: float, seed: str) -> None:
    """Pass packets on until killed."""
    front = _socket()
    print(front.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(front, select.EPOLLIN)
    clients: dict[tuple[str, int], Path] = {}
    paths: dict[int, tuple[Path, bool]] = {}
    while True:
        for fd, _ in poll.poll():
            try:
                if fd == front.fileno():
                    datagram, client = front.recvfrom(DATAGRAM_BYTES)
                    path = clients.get(client)
                    if path is None:
                        path = clients[client] = Path(client, (HOST, server_port), percent, f"{seed}.{len(clients)}")
                        for side, upward in ((path.down, True), (path.up, False)):
                            poll.register(side, select.EPOLLIN)
                            paths[side.fileno()] = (path, upward)
                    path.from_client(datagram)
                    continue
                path, upward = paths[fd]
                if upward:
                    path.from_client(path.down.recv(DATAGRAM_BYTES))
                else:
                    path.from_server()
            except OSError:
                # One side has closed its port, or a buffer is full: lost, as packets are.
                continue


if __name__ == "__main__":
    run(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
