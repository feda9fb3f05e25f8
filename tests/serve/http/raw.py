"""HTTP by hand: what no client library would send."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, header fields (lower-case names) and body."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(port: int, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A connection to the server; waits for no answer longer than half a minute."""
    return socket.create_connection(("::1" if family == socket.AF_INET6 else "127.0.0.1", port), timeout=30)


def receive_all(sock: socket.socket) -> bytes:
    """Until the server closes; a reset counts as an end."""
    data = bytearray()
    try:
        while more := sock.recv(1 << 18):
            data += more
    except ConnectionResetError:
        pass
    return bytes(data)


def split(data: bytes, *, bodiless: bool = False) -> tuple[Reply, bytes]:
    """The first reply and what follows it."""
    head, empty, rest = data.partition(b"\r\n\r\n")
    assert empty, data[:1000]
    line, *fields = head.decode("latin-1").split("\r\n")
    version, status, _ = line.split(" ", 2)
    assert version in ("HTTP/1.0", "HTTP/1.1")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    length = 0 if bodiless or status in ("100", "204", "304") else int(headers["content-length"])
    assert len(rest) >= length, f"{len(rest)} of {length} bytes"
    return Reply(int(status), headers, rest[:length]), rest[length:]


def exchange(port: int, request: bytes) -> list[Reply]:
    """Send, half-close, and all replies."""
    with connect(port) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        data = receive_all(sock)
    replies = []
    while data:
        reply, data = split(data)
        replies.append(reply)
    return replies


def get(port: int, target: bytes, *fields: bytes) -> Reply:
    """One GET whose connection is closed."""
    lines = [b"GET " + target + b" HTTP/1.1", b"Host: pxe", b"Connection: close", *fields, b"", b""]
    (reply,) = exchange(port, b"\r\n".join(lines))
    return reply
