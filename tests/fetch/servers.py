"""Servers of the tests' own: an HTTP server that keeps a journal and can be told to misbehave, real TFTP servers, and
a TFTP server that follows a script."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

Misbehave = Callable[["Handler"], bool]


@dataclass
class Served:
    """What the server knows; a test changes it while it runs.

    `asked` are (method, path, Range), `sent` the bytes of all bodies.  `misbehave` is asked first and answers in full
    if it returns True.
    """

    root: Path
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    sent: int = 0
    ranges: bool = True
    etag: str | None = '"one"'
    misbehave: Misbehave | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked_for(self, path: str) -> list[str]:
        return [method for method, asked, _ in self.asked if asked == path]


class Handler(http.server.BaseHTTPRequestHandler):
    """Files below a directory, with ranges, validators and nothing else."""

    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        served = self.served
        served.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if served.misbehave is not None and served.misbehave(self):
            return
        path = served.root / unquote(self.path.partition("?")[0].lstrip("/"))
        if path.is_dir():
            if not self.path.endswith("/"):
                self.reply(301, b"", {"Location": self.path + "/"})
            else:
                names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in path.iterdir())
                page = "".join(f'<a href="{name}">{name}</a>' for name in ["../", "?C=N;O=D", *map(quote, names)])
                self.reply(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})
            return
        if not path.is_file():
            self.reply(404, b"no")
            return
        self._send_file(path, body)

    def _send_file(self, path: Path, body: bool) -> None:
        size = path.stat().st_size
        headers = {"ETag": self.served.etag} if self.served.etag else {}
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != self.served.etag:
            self.reply(412, b"")
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last, status = 0, size - 1, 200
        same = self.headers.get("If-Range", self.served.etag) == self.served.etag
        if match and self.served.ranges and same:
            first, last = int(match[1]), min(size - 1, int(match[2] or size - 1))
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self.begin(status, last - first + 1, headers)
        if body:
            with path.open("rb") as file:
                file.seek(first)
                self.send(file.read(last - first + 1))

    def begin(self, status: int, length: int | None, headers: dict[str, str] | None = None) -> None:
        """Status line and headers."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send(self, data: bytes) -> None:
        """Bytes of a body, counted before the client can have them."""
        for at in range(0, len(data), 1 << 16):
            piece = data[at : at + (1 << 16)]
            self.served.sent += len(piece)
            self.wfile.write(piece)

    def reply(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        """A whole answer."""
        self.begin(status, len(data), headers)
        if self.command != "HEAD":
            self.send(data)

    def hang_up(self) -> None:
        """End the connection with this answer."""
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """Clients that leave early are the point of many tests."""


@contextlib.contextmanager
def http_server(root: Path, address: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[Served]:
    """A server on a free port for as long as the block runs; with TLS if there is a `context`."""
    served = Served(root)
    handler = type("TestHandler", (Handler,), {"served": served})
    server_type = _Server if ":" not in address else type("Server6", (_Server,), {"address_family": socket.AF_INET6})
    with server_type((address, 0), handler) as server:
        served.port = server.server_address[1]
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def free_port(kind: int = socket.SOCK_DGRAM, family: int = socket.AF_INET) -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket(family, kind) as probe:
        probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tool(name: str) -> str:
    """A server of a Debian package; its absence fails the test (see fixtures/debian-packages.txt)."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found is not None, f"{name} is not installed: fixtures/debian-packages.txt names its package"
    return found


@contextlib.contextmanager
def process(*command: str, ready: Callable[[], bool]) -> Iterator[None]:
    """A server in the foreground, ended by its process id."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE) as child:
        try:
            for _ in range(500):
                if child.poll() is not None:
                    assert child.stderr is not None
                    raise AssertionError(f"{command[0]} ended: {child.stderr.read().decode()}")
                if ready():
                    break
                time.sleep(0.02)
            else:
                raise AssertionError(f"{command[0]} does not answer")
            yield
        finally:
            child.terminate()


def answers_tftp(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a TFTP server listens: any request gets some answer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        probe.sendto(b"\0\1no-such-file\0octet\0", (address, port))
        try:
            return bool(probe.recv(600))
        except OSError:
            return False


@contextlib.contextmanager
def tftpd_hpa(root: Path, address: str = "127.0.0.1") -> Iterator[str]:
    """tftpd-hpa; gives its URL."""
    six = ":" in address
    port = free_port(family=socket.AF_INET6 if six else socket.AF_INET)
    where = f"[{address}]:{port}" if six else f"{address}:{port}"
    with process(
        tool("in.tftpd"),
        "-L",
        "-6" if six else "-4",
        "--address",
        where,
        "-s",
        str(root),
        ready=lambda: answers_tftp(port, address),
    ):
        yield f"tftp://{where}"


@contextlib.contextmanager
def dnsmasq(root: Path) -> Iterator[str]:
    """dnsmasq as a TFTP server on a loopback address of its own: it has no option for the port."""
    address = "127.77.1.1"
    with process(
        tool("dnsmasq"),
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--enable-tftp",
        f"--tftp-root={root}",
        f"--listen-address={address}",
        "--bind-interfaces",
        "--user=root",
        "--pid-file=",
        "--no-daemon",
        ready=lambda: answers_tftp(69, address),
    ):
        yield f"tftp://{address}"


@contextlib.contextmanager
def nginx(root: Path, options: str = "") -> Iterator[str]:
    """nginx serves `root`/html; gives its URL."""
    port = free_port(socket.SOCK_STREAM)
    (root / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {root}/pid; error_log {root}/log;\nevents {{}}\n"
        f"http {{ access_log off; client_body_temp_path {root}/t1; proxy_temp_path {root}/t2;\n"
        f"fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}/html; {options} }} }}\n"
    )

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with process(tool("nginx"), "-c", str(root / "nginx.conf"), "-e", str(root / "log"), ready=ready):
        yield f"http://127.0.0.1:{port}"


def tftp_data(number: int, data: bytes) -> bytes:
    """A DATA packet."""
    return struct.pack(">HH", 3, number & 0xFFFF) + data


def tftp_oack(*pairs: tuple[str, object]) -> bytes:
    """An OACK packet."""
    return b"\0\6" + b"".join(f"{name}\0{value}\0".encode() for name, value in pairs)


@dataclass
class ScriptedTftp:
    """A session of a scripted server: `sock` speaks from its own port (TID) to `client`."""

    sock: socket.socket
    client: tuple[str, int]
    request: bytes
    heard: list[bytes]

    def send(self, packet: bytes) -> None:
        self.sock.sendto(packet, self.client)

    def hear(self) -> bytes:
        """The client's next packet, b"" if it says nothing."""
        try:
            packet = self.sock.recv(2048)
        except OSError:
            return b""
        self.heard.append(packet)
        return packet


@contextlib.contextmanager
def scripted_tftp(script: Callable[[ScriptedTftp], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that runs `script` for each request; gives its URL and what the client said to it."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))
        door.settimeout(0.02)
        ended = threading.Event()

        def run() -> None:
            seen = set()
            while not ended.is_set():
                try:
                    request, client = door.recvfrom(2048)
                except OSError:
                    continue
                if client in seen:  # sent again because the script keeps silent
                    continue
                seen.add(client)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind(("127.0.0.1", 0))
                    sock.settimeout(0.5)
                    script(ScriptedTftp(sock, client, request, heard))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"tftp://127.0.0.1:{door.getsockname()[1]}", heard
        finally:
            ended.set()
            thread.join()
