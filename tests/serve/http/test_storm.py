"""A thousand machines that are switched on together."""

from __future__ import annotations

import random
import resource
import selectors
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from fixtures.make_images import make_ext
from tests import REPOSITORY

CLIENTS, INITRD_BYTES, MEMORY_BYTES = 1000, 5_000_000, 300 << 20


class Client:
    """Fetches one file and forgets it again."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.head = b""
        self.got = self.checksum = 0
        self.done = False
        self.sock.sendall(b"GET /initrd HTTP/1.1\r\nHost: pxe\r\nConnection: close\r\n\r\n")
        selector.register(self.sock, selectors.EVENT_READ, self)

    def take(self, buffer: memoryview) -> None:
        """What has arrived."""
        data = buffer[: self.sock.recv_into(buffer)]
        self.done = not data
        if b"\r\n\r\n" not in self.head:
            whole = self.head + data
            head, _, rest = whole.partition(b"\r\n\r\n")
            self.head, data = head + b"\r\n\r\n", memoryview(rest)
        self.got += len(data)
        self.checksum = zlib.crc32(data, self.checksum)


def peak_bytes(pid: int) -> int:
    """Peak resident memory."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.slow
def test_a_thousand_clients_at_once_get_their_initrd_and_memory_stays_bounded(tmp_path: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    initrd = random.Random(5).randbytes(INITRD_BYTES)
    make_ext(tmp_path / "guest.img", {"initrd": initrd}, 32 << 20, "ext4")
    command = [sys.executable, "-m", "tests.serve.http.support", str(tmp_path / "guest.img")]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        port = int(server.stdout.readline())
        buffer = memoryview(bytearray(1 << 18))
        with selectors.DefaultSelector() as selector:
            clients = [Client(port, selector) for _ in range(CLIENTS)]
            left = CLIENTS
            while left:
                ready = selector.select(60)
                assert ready, f"nothing for a minute, {left} clients wait"
                for key, _ in ready:
                    key.data.take(buffer)
                    if key.data.done:
                        selector.unregister(key.fileobj)
                        key.data.sock.close()
                        left -= 1
        expected = (INITRD_BYTES, zlib.crc32(initrd))
        assert [(client.got, client.checksum) for client in clients] == [expected] * CLIENTS
        assert all(client.head.startswith(b"HTTP/1.1 200 OK\r\n") for client in clients)
        assert peak_bytes(server.pid) < MEMORY_BYTES
        server.stdin.close()
    assert server.returncode == 0
