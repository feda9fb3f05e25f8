"""The administrator's application: whom it answers, and what bodies it reads."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aiohttp import web

from pvboot.serve.http.limits import HttpLimits
from tests.serve.http.raw import connect, exchange, receive_all, split
from tests.serve.http.support import Running, administered

LIMITS = HttpLimits(body_bytes=100_000)


async def echo(request: web.Request) -> web.Response:
    """What it got."""
    return web.json_response([request.method, request.path, (await request.read()).decode("latin-1")], status=201)


def routes(application: web.Application) -> None:
    for path in ("/echo", "/echo/{more}"):
        application.router.add_route("*", path, echo)
    application.router.add_get("/fail", fail)


async def fail(request: web.Request) -> web.Response:
    raise RuntimeError("a secret of the inside")


@pytest.fixture(scope="module")
def admin() -> Iterator[Running]:
    with administered(routes, ["Boot.Example", "2001:db8::1"], LIMITS) as server:
        yield server


def ask(server: Running, *fields: bytes, host: bytes = b"127.0.0.1", method: bytes = b"GET") -> int:
    lines = [method + b" /echo HTTP/1.1", b"Host: " + host, b"Connection: close", *fields, b"", b""]
    return exchange(server.port, b"\r\n".join(lines))[-1].status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"127.0.0.1", 201),
        (b"127.0.0.1:8069", 201),
        (b"localhost", 201),
        (b"LOCALHOST:9000", 201),
        (b"boot.example", 201),
        (b"BOOT.example:80", 201),
        (b"[2001:db8::1]:80", 201),
        (b"evil.example", 421),
        (b"evil.example:8069", 421),
        (b"boot.example.evil.example", 421),
        (b"192.0.2.1", 421),
        (b"127.0.0.2", 421),
        (b"[::1]", 421),
        (b"", 421),
        (b"[", 421),
    ],
)
def test_only_its_own_names_are_answered(admin: Running, host: bytes, status: int) -> None:
    """A page whose name its owner has bound to our address (DNS rebinding) asks by that name."""
    assert ask(admin, host=host) == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (b"http://boot.example:8069", 201),
        (b"https://boot.example:8069", 201),
        (b"http://boot.example", 403),
        (b"http://evil.example", 403),
        (b"null", 403),
        (b"", 403),
    ],
)
def test_pages_of_other_sites_are_not_answered(admin: Running, origin: bytes, status: int) -> None:
    for method in (b"GET", b"POST", b"PUT"):
        assert ask(admin, b"Origin: " + origin, host=b"boot.example:8069", method=method) == status


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
def test_bodies_are_read_whole(admin: Running, method: bytes) -> None:
    head = method + b" /echo/a%20b HTTP/1.1\r\nHost: localhost\r\n"
    for fields, body in (
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Content-Length: 100000\r\n", b"x" * 100_000),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    ):
        first, second = exchange(admin.port, (head + fields + b"\r\n" + body) * 2)
        assert first.status == second.status == 201
        text = "x" * 100_000 if len(body) == 100_000 else "hello"
        assert json.loads(first.body) == [method.decode(), "/echo/a b", text]


def test_a_body_is_asked_for_when_the_client_waits(admin: Running) -> None:
    with connect(admin.port) as sock:
        sock.sendall(
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"body")
        assert json.loads(split(receive_all(sock))[0].body)[2] == "body"


@pytest.mark.parametrize("fields", [b"Content-Length: 100001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n186a1\r\n"])
def test_bodies_above_the_limit_are_refused(admin: Running, fields: bytes) -> None:
    with connect(admin.port) as sock:
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        sock.sendall(head + fields + b"x" * 100_001)
        assert split(receive_all(sock))[0].status == 413


def test_slow_bodies_are_ended() -> None:
    """Also those of a client that sends no more."""
    request = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"
    with administered(routes, limits=HttpLimits(body_seconds=0.3)) as server, connect(server.port) as sock:
        sock.sendall(request)
        assert split(receive_all(sock))[0].status == 408
        assert exchange(server.port, request)[0].status == 408


def test_a_handler_that_fails_is_an_error_of_one_line() -> None:
    with administered(routes) as server:
        for _ in range(2):
            (reply,) = exchange(server.port, b"GET /fail HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (reply.status, reply.body) == (500, b"500 Internal Server Error\n")
        assert [reason for _, _, reason in server.journal.refusals] == ["RuntimeError: a secret of the inside"] * 2


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/other", 404), ("POST", "/fail", 405)])
def test_what_is_not_there(admin: Running, method: str, path: str, status: int) -> None:
    (reply,) = exchange(admin.port, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert (reply.status, "allow" in reply.headers) == (status, status == 405)
