"""The same requests to nginx over the same files: what a client may rely on must not differ.

Left out on purpose: several ranges at once (nginx sends multipart, we the whole file) and a Range in HEAD (only GET
defines it); both are free to choose by RFC 9110.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.http.conftest import FILES
from tests.serve.http.raw import Reply, exchange
from tests.serve.http.support import Running, Tree, mounted, running

CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 64; }}
http {{
    access_log off; root {root}; if_modified_since before; client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ autoindex on; }} }}
}}
"""
MTIME = 1_700_000_000
SAME, EARLIER, LATER = (f"Tue, 14 Nov 2023 22:{minute}:20 GMT" for minute in (13, 12, 14))


@pytest.fixture(scope="module")
def nginx(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx over the directory; its port."""
    for name in FILES:
        os.utime(folder / name, (MTIME, MTIME))
    own = tmp_path_factory.mktemp("nginx")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    (own / "nginx.conf").write_text(CONFIGURATION.format(folder=own, root=folder, port=port, user=user))
    command = ["nginx", "-p", str(own), "-c", str(own / "nginx.conf"), "-e", str(own / "error.log")]
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    process = subprocess.Popen(command, env=environment)
    try:
        while True:
            assert process.poll() is None, (own / "error.log").read_text()
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def ours(folder: Path) -> Iterator[Running]:
    """The HTTP server over the same directory."""
    with running(Tree(mounted(folder))) as server:
        yield server


def ask(port: int, target: str, fields: dict[str, str], method: str = "GET", version: str = "1.1") -> Reply:
    """One request; "{etag}" in a field stands for the file's own tag on that server."""
    if any("{etag}" in value for value in fields.values()):
        tag = ask(port, target, {}).headers["etag"]
        fields = {name: value.replace("{etag}", tag) for name, value in fields.items()}
    lines = [f"{method} {target} HTTP/{version}", "Host: pxe", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    (reply,) = exchange(port, ("\r\n".join(lines) + "\r\n\r\n").encode())
    return reply


def essence(reply: Reply) -> dict[str, object]:
    """What a client acts on.  The text of errors and pages is everybody's own, and so are tags."""
    names = {200: ["accept-ranges", "last-modified"], 206: ["content-range", "last-modified"], 416: ["content-range"]}
    found: dict[str, object] = {name: reply.headers.get(name) for name in names.get(reply.status, [])}
    if reply.status in (200, 206):
        found |= {"length": reply.headers["content-length"], "body": reply.body}
    return {"status": reply.status, "etag": "etag" in reply.headers and reply.status in (200, 206, 304), **found}


RANGES = (
    b"bytes=0-0|bytes=0-|bytes=3-5|bytes=9-9|bytes=9-|bytes=5-100|bytes=0-99999999999999999|bytes=-1|bytes=-10|bytes=-100|"
    b"bytes=10-|bytes=10-20|bytes=5-4|bytes=-0|bytes=-|bytes=|bytes=a-b|bytes=1|bytes=--1|bytes=1-2x|bytes= 1-2|"
    b"bytes=1-2 |Bytes=1-2|lines=1-2|bytes|"
).split(b"|")


@pytest.mark.parametrize("field", [field.decode() for field in RANGES])
@pytest.mark.parametrize("target", ["/small.txt", "/empty"])
def test_ranges(nginx: int, ours: Running, target: str, field: str) -> None:
    expected, found = (essence(ask(port, target, {"Range": field})) for port in (nginx, ours.port))
    assert found == expected


CONDITIONS: list[dict[str, str]] = [
    {},
    {"If-None-Match": "{etag}"},
    {"If-None-Match": "W/{etag}"},
    {"If-None-Match": '"x", {etag}'},
    {"If-None-Match": '"x"'},
    {"If-None-Match": "*"},
    {"If-Match": "{etag}"},
    {"If-Match": '"x"'},
    {"If-Match": '"x",{etag}'},
    {"If-Match": "*"},
    {"If-Modified-Since": SAME},
    {"If-Modified-Since": EARLIER},
    {"If-Modified-Since": LATER},
    {"If-Modified-Since": "Tuesday, 14-Nov-23 22:13:20 GMT"},
    {"If-Modified-Since": "Tue Nov 14 22:13:20 2023"},
    {"If-Modified-Since": "nonsense"},
    {"If-Unmodified-Since": SAME},
    {"If-Unmodified-Since": EARLIER},
    {"If-Unmodified-Since": LATER},
    {"If-None-Match": '"x"', "If-Modified-Since": SAME},
    {"If-Match": '"x"', "If-None-Match": "{etag}"},
    {"If-None-Match": "{etag}", "Range": "bytes=0-1"},
    {"If-Range": "{etag}", "Range": "bytes=2-3"},
    {"If-Range": '"x"', "Range": "bytes=2-3"},
    {"If-Range": "W/{etag}", "Range": "bytes=2-3"},
    {"If-Range": SAME, "Range": "bytes=2-3"},
    {"If-Range": EARLIER, "Range": "bytes=2-3"},
    {"If-Range": LATER, "Range": "bytes=2-3"},
    {"If-Range": "{etag}", "Range": "bytes=20-"},
    {"If-Range": '"x"', "Range": "bytes=20-"},
    {"If-Range": "{etag}"},
]


@pytest.mark.parametrize("fields", CONDITIONS, ids=str)
def test_conditions(nginx: int, ours: Running, fields: dict[str, str]) -> None:
    expected, found = (essence(ask(port, "/small.txt", fields)) for port in (nginx, ours.port))
    assert found == expected


TARGETS = [
    ("GET", "/boot/initrd", 200),
    ("GET", "/nothing", 404),
    ("GET", "/boot", 301),
    ("GET", "/small.txt/", 404),
    ("GET", "/small.txt?x=y", 200),
    ("GET", "/%73mall.txt", 200),
    ("GET", "//small.txt", 200),
    ("GET", "/boot%2Fgrub%2fmenu.lst", 200),
    ("GET", "/%2573mall.txt", 404),
    ("GET", "/%00", 400),
    ("GET", "/%", 400),
    ("GET", "/../secret", 400),
    ("GET", "/%2e%2e/secret", 400),
    ("GET", "nothing", 400),
    ("POST", "/small.txt", 405),
    ("GET", "http://pxe/small.txt", 200),
]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(("method", "target", "status"), TARGETS)
def test_targets(nginx: int, ours: Running, method: str, target: str, status: int, version: str) -> None:
    expected, found = (ask(port, target, {}, method, version) for port in (nginx, ours.port))
    assert found.status == expected.status == status
    if status == 200:
        assert essence(found) == essence(expected)


MALFORMED = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED)
def test_malformed_requests(nginx: int, ours: Running, request_bytes: bytes) -> None:
    expected, found = (exchange(port, request_bytes)[0].status for port in (nginx, ours.port))
    assert found == expected
