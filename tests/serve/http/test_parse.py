"""What counts as a request, and what is refused with which status."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.http.claims import claims
from pvboot.serve.http.parse import METHODS, BadRequest, Head, parse_head, parse_query, percent_decoded

HOST = b"Host: pxe\r\n"


def parsed(line: bytes, fields: bytes = HOST) -> Head:
    return parse_head(line + b"\r\n" + fields + b"\r\n", 64)


def refusal(line: bytes, fields: bytes = HOST) -> int:
    with pytest.raises(BadRequest) as caught:
        parsed(line, fields)
    assert str(caught.value)
    return caught.value.status


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/boot/vmlinuz", b"/boot/vmlinuz", b""),
        (b"/a?mac=1&b", b"/a", b"mac=1&b"),
        (b"/a%20b%2fc", b"/a b/c", b""),
        (b"/%2541", b"/%41", b""),
        (b"/\xc3\xbc", b"/\xc3\xbc", b""),
        (b"//a", b"//a", b""),
        (b"http://pxe:8080/a?b", b"/a", b"b"),
        (b"HTTP://pxe", b"/", b""),
        (b"http://pxe?q", b"/", b"q"),
        (b"/?http://x/", b"/", b"http://x/"),
    ],
)
def test_targets(target: bytes, path: bytes, query: bytes) -> None:
    head = parsed(b"GET " + target + b" HTTP/1.1")
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods(method: str) -> None:
    assert parsed(method.encode() + b" / HTTP/1.1").method == method


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /a\nb HTTP/1.1", 400),
        (b"GET /a\rb HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET /%4 HTTP/1.1", 400),
        (b"GET /%zz HTTP/1.1", 400),
        (b"GET /% HTTP/1.1", 400),
        (b"GET http:///a HTTP/1.1", 400),
        (b"GET http://user@pxe/a HTTP/1.1", 400),
        (b"GET ftp://pxe/a HTTP/1.1", 400),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/2.0", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"OPTIONS * HTTP/1.1", 501),
        (b"CONNECT pxe:80 HTTP/1.1", 501),
        (b"TRACE / HTTP/1.1", 501),
        (b"get / HTTP/1.1", 501),
        (b"BREW /pot HTTP/1.1", 501),
    ],
)
def test_request_lines_that_are_refused(line: bytes, status: int) -> None:
    assert refusal(line) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"", 400),
        (HOST + HOST, 400),
        (b"Host: a b\r\n", 400),
        (b"Host: a/b\r\n", 400),
        (b"Host: [::1\r\n", 400),
        (b"Host: a@b\r\n", 400),
        (b"Host : pxe\r\n", 400),
        (b" Host: pxe\r\n", 400),
        (HOST + b"X: a\r\n b\r\n", 400),
        (HOST + b"\tX: a\r\n", 400),
        (HOST + b"X\r\n", 400),
        (HOST + b": x\r\n", 400),
        (HOST + b"X: a\x00b\r\n", 400),
        (HOST + b"X: a\x1bb\r\n", 400),
        (HOST + b"X: a\nY: b\r\n", 400),
        (HOST + b"X: a\rY: b\r\n", 400),
        (HOST + b"X(: a\r\n", 400),
        (HOST + b"X\xff: a\r\n", 400),
        (HOST + b"X: y\r\n" * 64, 431),
        (HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n", 400),
        (HOST + b"Content-Length: 1, 1\r\n", 400),
        (HOST + b"Content-Length: -1\r\n", 400),
        (HOST + b"Content-Length: +1\r\n", 400),
        (HOST + b"Content-Length: 0x1\r\n", 400),
        (HOST + b"Content-Length: 1_0\r\n", 400),
        (HOST + b"Content-Length: \xb2\r\n", 400),
        (HOST + b"Content-Length:\r\n", 400),
        (HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n", 400),
        (HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        (HOST + b"Content-Length: 3\r\ntransfer-encoding: identity\r\n", 400),
        (HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (HOST + b"Transfer-Encoding: chunked\r\n", 411),
        (HOST + b"Transfer-Encoding: CHUNKED\r\n", 411),
        (HOST + b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (HOST + b"Transfer-Encoding: xchunked\r\n", 501),
        (HOST + b"Expect: tea\r\n", 417),
    ],
)
def test_fields_that_are_refused(fields: bytes, status: int) -> None:
    assert refusal(b"POST / HTTP/1.1", fields) == status


@pytest.mark.parametrize("host", [b"", b"pxe", b"pxe:80", b"10.0.0.1:8080", b"[::1]", b"[fe80::1]:80", b"a_b.example"])
def test_hosts(host: bytes) -> None:
    assert parsed(b"GET / HTTP/1.1", b"Host: " + host + b"\r\n").headers["host"] == host.decode()


@pytest.mark.parametrize(
    ("line", "fields", "keep"),
    [
        (b"GET / HTTP/1.1", HOST, True),
        (b"GET / HTTP/1.1", HOST + b"Connection: close\r\n", False),
        (b"GET / HTTP/1.1", HOST + b"Connection: Foo, CLOSE\r\n", False),
        (b"GET / HTTP/1.1", HOST + b"Connection: foo\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: Keep-Alive\r\n", True),
        (b"GET / HTTP/1.0", b"Connection: keep-alive, close\r\n", False),
        (b"GET / HTTP/1.7", HOST, True),
    ],
)
def test_whether_the_connection_is_kept(line: bytes, fields: bytes, keep: bool) -> None:
    assert parsed(line, fields).keep_alive is keep


def test_fields_are_joined_trimmed_and_named_in_lower_case() -> None:
    head = parsed(b"GET / HTTP/1.1", HOST + b"X-A: \t one \t\r\nx-a:two\r\nX-B:\r\nX-C: \xe4\r\n")
    assert head.headers == {"host": "pxe", "x-a": "one, two", "x-b": "", "x-c": "ä"}


def test_http_1_0_knows_no_expectations() -> None:
    assert not parsed(b"POST / HTTP/1.0", b"Expect: 100-continue\r\n").expects
    assert parsed(b"POST / HTTP/1.1", HOST + b"Expect: 100-Continue\r\n").expects


def test_percent_encoding_is_decoded_once_and_strictly() -> None:
    assert percent_decoded(b"%252e%2E+%00%ff") == b"%2e.+\x00\xff"
    for text in (b"%", b"%1", b"%g0", b"%%41", b"%u0041"):
        with pytest.raises(BadRequest):
            percent_decoded(text)


def test_queries() -> None:
    assert parse_query(b"a=1&b&a=2%26&c+d=%C3%BC+x&=y&&e=f=g") == {
        "a": ["1", "2&"],
        "b": [""],
        "c d": ["ü x"],
        "": ["y"],
        "e": ["f=g"],
    }
    for query in (b"a=%ff", b"a=%", b"&".join([b"a=1"] * 65)):
        with pytest.raises(BadRequest):
            parse_query(query)


def test_what_a_sender_says_about_itself() -> None:
    query = parse_query(b"mac=52:54:00:00:00:01&mac=2&uuid=u&hostname=&other=x&serial=" + b"9" * 256)
    headers = {"x-rhn-provisioning-mac-0": "eth0 52:54:00:00:00:02", "x-system-serial-number": "S1", "cookie": "x"}
    assert claims(query, headers) == {"mac": "52:54:00:00:00:01", "uuid": "u"}
    assert claims({}, headers) == {"mac": "52:54:00:00:00:02", "serial": "S1"}


PIECES = [
    b"GET",
    b"POST",
    b" ",
    b"  ",
    b"/",
    b"//",
    b"..",
    b"/../",
    b"%2e",
    b"%2F",
    b"%",
    b"%00",
    b"\x00",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/9.9",
    b"\r\n",
    b"\n",
    b"\r",
    b":",
    b": ",
    b"Host",
    b"Host: a\r\n",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Range: bytes=",
    b"-",
    b",",
    b"9" * 30,
    b"\xff",
    b"\t",
    b"http://",
    b"?",
    b"#",
    b"&",
    b"=",
    b"*",
    b"[",
    b"]",
    b"Connection: close",
    b"\x1b[2J",
    b"a" * 300,
]


def test_fifty_thousand_generated_heads_are_parsed_or_refused() -> None:
    """Valid requests that were damaged at random, and heaps of their pieces."""
    chance = random.Random(9112)
    valid = b"GET /boot/vmlinuz?mac=1 HTTP/1.1\r\nHost: pxe\r\nRange: bytes=0-1\r\nContent-Length: 0\r\n\r\n"
    accepted = 0
    for _ in range(50_000):
        if chance.random() < 0.5:
            data = bytearray(valid)
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(3)] = chance.choice([*PIECES, bytes([chance.randrange(256)])])
            head = bytes(data)
        else:
            head = b"".join(chance.choices(PIECES, k=chance.randrange(1, 20)))
        head = head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        try:
            found = parse_head(head, 64)
            parse_query(found.query)
        except BadRequest as err:
            assert err.status in (400, 411, 417, 431, 501, 505)
        else:
            accepted += 1
            assert found.method in METHODS
            assert found.path.startswith(b"/")
            assert found.body_bytes >= 0
            assert not any(set(value) & set("\r\n\x00") for value in found.headers.values())
    assert 1000 < accepted < 49_000


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        parse_head(b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n", 64)
    except BadRequest as err:
        assert 400 <= err.status < 600
