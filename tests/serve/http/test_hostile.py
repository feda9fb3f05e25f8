"""Requests that mean harm: none may crash the server, leave anything behind, or see what is outside the tree."""

from __future__ import annotations

import gc
import os
import random
import resource
import socket
import time
from itertools import product
from pathlib import Path

import pytest

from fsdrivers.api import Extent
from pvboot.serve.http.limits import HttpLimits
from tests.serve.http.conftest import FILES
from tests.serve.http.raw import connect, exchange, get, receive_all, split
from tests.serve.http.support import Broken, Running, Tree, mounted, running
from tests.serve.http.test_requests import PIECES
from tests.serve.http.test_server import GOOD
from tests.serve.journal import wait_until


def is_well(site: Running) -> None:
    assert get(site.port, b"/small.txt").body == b"0123456789"


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- Paths

DOTS = (
    b"..|%2e%2e|.%2E|%2e.|%252e%252e|..%00|%c0%ae%c0%ae|%e0%80%ae%e0%80%ae|..;|...|%uff0e%uff0e|"
    b"\xef\xbc\x8e\xef\xbc\x8e|\xc0\xae\xc0\xae|. .|..%20|%2e%2e%0a"
).split(b"|")
SLASHES = b"/|//|%2f|%2F|%252f|%5c|\\|%c0%af|/./|%2f%2f|\xc0\xaf|%ef%bc%8f".split(b"|")


@pytest.mark.parametrize("dots", DOTS)
def test_no_spelling_of_a_path_leads_out_of_the_tree(odd_site: Running, dots: bytes) -> None:
    """From the root and from two levels below it; the neighbour's name is "secret", and it holds its name."""
    for slash, start, depth in product(SLASHES, (b"/", b"/boot/grub/", b"/odd"), (1, 2, 3)):
        path = start + slash.join([dots] * depth + [b"secret"])
        for target in (path, b"http://pxe" + path):
            replies = exchange(odd_site.port, b"GET " + target + b" HTTP/1.0\r\n\r\n")
            assert replies[0].status in (400, 404), target
            assert replies[0].body != b"secret"
    is_well(odd_site)


@pytest.mark.parametrize(
    "target", [b"/etc/passwd", b"//etc/passwd", b"/odd/way-out", b"file:///etc/passwd", b"/proc/self/mem"]
)
def test_nothing_of_the_host_is_served(odd_site: Running, target: bytes) -> None:
    (reply,) = exchange(odd_site.port, b"GET " + target + b" HTTP/1.0\r\n\r\n")
    assert reply.status in (400, 404)


@pytest.mark.parametrize("length", [4000, 5000, 16_000])
def test_long_paths(site: Running, length: int) -> None:
    for text in (b"a" * length, b"a/" * (length // 2), b"%61" * (length // 3)):
        assert get(site.port, b"/" + text).status in (400, 404)


# --- Heads without bounds


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 17_000, 414),
        (b"G" * 17_000, 414),
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 3000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 65 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\x00" * 1000 + b"\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_heads_that_are_refused_and_end_the_connection(site: Running, data: bytes, status: int) -> None:
    with connect(site.port) as sock:
        sock.sendall(data)
        reply, rest = split(receive_all(sock))
    assert (reply.status, reply.headers["connection"], rest) == (status, "close", b"")
    assert reply.body.count(b"\n") <= 1
    is_well(site)


def test_empty_lines_without_end_are_no_request(image: Path) -> None:
    with running(Tree(mounted(image)), limits=HttpLimits(head_seconds=0.1)) as site, connect(site.port) as sock:
        sock.sendall(b"\r\n" * 100_000)
        assert receive_all(sock) == b""
        is_well(site)


def test_a_smuggled_request_is_not_answered(image: Path) -> None:
    """Two readers that disagree about the length would see a second request in the body of the first."""
    inner = b"GET /boot/vmlinuz HTTP/1.1\r\nHost: pxe\r\n\r\n"
    heads = [
        b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(inner),
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(inner),
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n" % len(inner),
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"X: y\nContent-Length: 5\r\n",
    ]
    with running(Tree(mounted(image))) as site:
        for fields in heads:
            replies = exchange(site.port, b"POST /echo HTTP/1.1\r\nHost: pxe\r\n" + fields + b"\r\n0\r\n\r\n" + inner)
            assert len(replies) == 1
            assert replies[0].status in (400, 405)
        assert not site.journal.transfers


def test_thousands_of_generated_requests_over_sockets(folder: Path) -> None:
    """Every answer is one that a client understands; nothing stays open; the neighbour's file is never sent."""
    chance = random.Random(7230)
    good = [
        GOOD,
        b"POST /echo?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GOOD,
        b"GET /boot/../small.txt HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /boot/ HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n",
        b'GET /boot/vmlinuz HTTP/1.1\r\nHost: a\r\nRange: bytes=1-70000\r\nIf-Range: "x"\r\n\r\n' + GOOD,
    ]
    possible = {200, 206, 301, 400, 404, 405, 414, 416, 431, 505}
    statuses = set()
    with running(Tree(mounted(folder)), limits=HttpLimits(head_seconds=5)) as site:
        is_well(site)
        wait_until(lambda: site.server.connections == 0)
        gc.collect()  # earlier tests' sockets
        before = open_descriptors()
        for _ in range(5000):
            data = bytearray(chance.choice(good))
            for _ in range(chance.randrange(4)):
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(4)] = chance.choice([*PIECES, chance.randbytes(3)])
            for reply in exchange(site.port, bytes(data).replace(b"HEAD", b"GET")):
                statuses.add(reply.status)
                assert b"Traceback" not in reply.body
                assert reply.body != b"secret"
        is_well(site)
        wait_until(lambda: site.server.connections == 0)
        assert open_descriptors() == before
    assert {200, 206, 400, 404} <= statuses <= possible


# --- Clients that take their time


def test_slow_heads_are_ended(image: Path) -> None:
    with running(Tree(mounted(image)), limits=HttpLimits(head_seconds=0.6)) as site:
        with connect(site.port) as silent, connect(site.port) as dripping:
            for byte in GOOD[:20]:
                time.sleep(0.1)
                try:
                    dripping.sendall(bytes([byte]))
                except OSError:
                    break
            assert receive_all(silent) == receive_all(dripping) == b""
        is_well(site)
        assert site.journal.counts["http_timeouts"] == 2


def test_idle_connections_are_ended(image: Path) -> None:
    with running(Tree(mounted(image)), limits=HttpLimits(idle_seconds=0.3)) as site, connect(site.port) as sock:
        sock.sendall(GOOD.replace(b"close", b"keep-alive"))
        reply, rest = split(receive_all(sock))
        assert (reply.body, rest) == (b"0123456789", b"")


def test_a_client_that_does_not_read_is_ended() -> None:
    content = Broken(Extent(100_000_000))
    limits = HttpLimits(rate_seconds=0.5)
    with running(content, limits=limits) as site, connect(site.port) as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\n\r\n")
        wait_until(lambda: bool(site.journal.transfers) and site.journal.transfers[0].outcome is not None)
        assert site.journal.transfers[0].outcome == "timeout"
        wait_until(lambda: content.closed == 1)


def test_a_client_that_reads_slowly_but_fast_enough_is_not_ended() -> None:
    """The kernel's buffers hold seconds of it: what counts is what arrives, not what is taken from the server."""
    limits = HttpLimits(rate_bytes=20_000, rate_seconds=2, idle_seconds=2)
    with running(Broken(Extent(6_000_000)), limits=limits) as site, connect(site.port) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 300_000)
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\n\r\n")
        got = 0
        while got < 6_000_000:
            time.sleep(0.1)
            got += len(sock.recv(150_000))
        assert site.journal.transfers[0].outcome == "done"


def test_clients_that_leave_are_noticed() -> None:
    content = Broken(Extent(100_000_000))
    with running(content) as site:
        for linger in (b"\0" * 8, b"\1\0\0\0\0\0\0\0"):  # with FIN, and with RST
            with connect(site.port) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\n\r\n")
                sock.recv(1000)
        wait_until(lambda: content.closed == 2)
        assert [transfer.outcome for transfer in site.journal.transfers] == ["aborted", "aborted"]


# --- Floods


def test_a_flood_of_half_open_connections_is_bounded_and_does_not_lock_out_others(image: Path) -> None:
    limits = HttpLimits(connections=50, connections_per_address=1000)
    with running(Tree(mounted(image)), limits=limits) as site:
        flood = []
        try:
            for number in range(300):
                sock = connect(site.port)
                sock.sendall(b"GET /" if number % 2 else b"")
                flood.append(sock)
                assert site.server.connections <= 50
                if number % 50 == 49:
                    is_well(site)
        finally:
            for sock in flood:
                sock.close()
        assert site.journal.counts["http_evictions"] >= 240


def test_connections_that_are_busy_are_not_ended_for_others() -> None:
    """Who comes when all are busy waits for one to end."""
    content = Broken(Extent(30_000_000))
    with running(content, limits=HttpLimits(connections=3)) as site:
        busy = [connect(site.port) for _ in range(3)]
        for sock in busy:
            sock.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\nConnection: close\r\n\r\n")
        wait_until(lambda: len(site.journal.transfers) == 3)
        late = connect(site.port)
        late.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\nConnection: close\r\n\r\n")
        for sock in [*busy, late]:
            assert len(split(receive_all(sock))[0].body) == 30_000_000
            sock.close()
    assert content.closed == 4


def test_one_address_cannot_have_all_connections(image: Path) -> None:
    with running(Tree(mounted(image)), limits=HttpLimits(connections_per_address=5)) as site:
        mine = [connect(site.port) for _ in range(5)]
        wait_until(lambda: site.server.connections == 5)
        with connect(site.port) as sixth:
            reply, _ = split(receive_all(sixth))
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        with socket.create_connection(("127.0.0.1", site.port), timeout=30, source_address=("127.0.0.2", 0)) as other:
            other.sendall(GOOD)
            assert split(receive_all(other))[0].body == b"0123456789"
        mine.pop().close()
        wait_until(lambda: site.server.connections == 4)
        is_well(site)
        for sock in mine:
            sock.close()


def test_running_out_of_descriptors_is_survived(image: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with running(Tree(mounted(image))) as site:
        sock = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (sock.fileno() + 1, hard))
        try:
            sock.connect(("127.0.0.1", site.port))  # nothing is left for the server's side of it
            wait_until(lambda: site.journal.counts["http_accept_failures"] > 0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sock.settimeout(30)
        sock.sendall(GOOD)
        assert split(receive_all(sock))[0].body == b"0123456789"
        sock.close()
        assert site.journal.counts["http_accept_failures"] < 20  # it did not spin


def test_pipelined_requests_do_not_pile_up_answers(image: Path) -> None:
    """A client that asks without reading is answered one at a time."""
    with running(Tree(mounted(image)), limits=HttpLimits(rate_seconds=0.5)) as site, connect(site.port) as sock:
        sock.setblocking(False)
        request = b"GET /boot/initrd HTTP/1.1\r\nHost: pxe\r\n\r\n"
        deadline = time.monotonic() + 60
        while site.journal.counts["http_timeouts"] == 0 and time.monotonic() < deadline:
            try:
                sock.send(request * 100)
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                break
        wait_until(lambda: site.server.connections == 0)
        assert len(site.journal.transfers) < 20
        assert site.journal.transfers[-1].outcome in ("timeout", "aborted")
    assert len(FILES["boot/initrd"]) > 3_000_000
