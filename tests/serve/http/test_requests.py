"""What counts as a request, and what is refused with which status: aiohttp's parser and what is checked behind it.

Where RFC 9110 and 9112 leave the status to the server, any refusal is right; what matters is that nothing is served and
that the connection ends, so that nobody reads a second request out of the first.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serve.http.raw import connect, exchange, receive_all, split
from tests.serve.http.support import Running, Tree, mounted, running

HOST = b"Host: pxe\r\n"
NAMES = ["a b%", "%41", "ü", "x"]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over files that hold their own names."""
    folder = tmp_path_factory.mktemp("names")
    for name in NAMES:
        (folder / name).write_text(name)
    with running(Tree(mounted(folder))) as server:
        yield server


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"/x", "x"),
        (b"//x", "x"),
        (b"/x?mac=1&b", "x"),
        (b"/x?http://a/", "x"),
        (b"/a%20b%25", "a b%"),
        (b"/%2541", "%41"),
        (b"/%C3%bc", "ü"),
        (b"http://pxe:8080/x?b", "x"),
        (b"HTTP://pxe/x", "x"),
    ],
)
def test_targets(names: Running, target: bytes, name: str) -> None:
    (reply,) = exchange(names.port, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (reply.status, reply.body.decode()) == (200, name)


LINES = [
    b"GET",
    b"GET /x",
    b"GET /x HTTP/1.1 ",
    b" GET /x HTTP/1.1",
    b"GET /x b HTTP/1.1",
    b"GET\t/x HTTP/1.1",
    b"GET /x http/1.1",
    b"GET /x HTTP/1",
    b"GET /x HTTP/1.10",
    b"G(T /x HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET /\x7f HTTP/1.1",
    b"GET /\xc3\xbc HTTP/1.1",
    b"GET /a\nb HTTP/1.1",
    b"GET /a\rb HTTP/1.1",
    b"GET x HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET /%4 HTTP/1.1",
    b"GET /%zz HTTP/1.1",
    b"GET /% HTTP/1.1",
    b"GET http:///x HTTP/1.1",
    b"GET /x HTTP/0.9",
    b"GET /x HTTP/2.0",
    b"PRI * HTTP/2.0",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT pxe:80 HTTP/1.1",
    b"TRACE /x HTTP/1.1",
    b"get /x HTTP/1.1",
    b"BREW /x HTTP/1.1",
    *(method + b" /x HTTP/1.1" for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")),
]
FIELDS = [
    b"",
    HOST + HOST,
    b"Host: a b\r\n",
    b"Host: a/b\r\n",
    b"Host: [::1\r\n",
    b"Host: a@b\r\n",
    b"Host : pxe\r\n",
    b" Host: pxe\r\n",
    HOST + b"X: a\r\n b\r\n",
    HOST + b"X\r\n",
    HOST + b": x\r\n",
    HOST + b"X: a\x00b\r\n",
    HOST + b"X: a\nY: b\r\n",
    HOST + b"X: a\rY: b\r\n",
    HOST + b"X(: a\r\n",
    HOST + b"X\xff: a\r\n",
    HOST + b"X: y\r\n" * 64,
    HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n",
    HOST + b"Content-Length: 1, 1\r\n",
    HOST + b"Content-Length: -1\r\n",
    HOST + b"Content-Length: +1\r\n",
    HOST + b"Content-Length: 0x1\r\n",
    HOST + b"Content-Length: 1_0\r\n",
    HOST + b"Content-Length: \xb2\r\n",
    HOST + b"Content-Length:\r\n",
    HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n",
    HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    HOST + b"Content-Length: 3\r\ntransfer-encoding: identity\r\n",
    HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    HOST + b"Transfer-Encoding: chunked\r\n",
    HOST + b"Transfer-Encoding: gzip, chunked\r\n",
    HOST + b"Transfer-Encoding: xchunked\r\n",
]


@pytest.mark.parametrize(
    "head", [*(line + b"\r\n" + HOST for line in LINES), *(b"GET /x HTTP/1.1\r\n" + fields for fields in FIELDS)]
)
def test_requests_that_are_refused_and_end_the_connection(names: Running, head: bytes) -> None:
    with connect(names.port) as sock:
        sock.sendall(head + b"\r\n" + b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n")
        reply, rest = split(receive_all(sock))
    assert 400 <= reply.status < 600
    assert (reply.headers["connection"], rest) == ("close", b"")


@pytest.mark.parametrize("host", [b"", b"pxe", b"pxe:80", b"10.0.0.1:8080", b"[::1]", b"[fe80::1]:80", b"a_b.example"])
def test_hosts(names: Running, host: bytes) -> None:
    assert exchange(names.port, b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")[0].status == 200


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [
        (b"1.1", HOST, True),
        (b"1.1", HOST + b"Connection: close\r\n", False),
        (b"1.1", HOST + b"Connection: Foo, CLOSE\r\n", False),
        (b"1.1", HOST + b"Connection: foo\r\nConnection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_whether_the_connection_is_kept(names: Running, version: bytes, fields: bytes, kept: bool) -> None:
    request = b"GET /x HTTP/" + version + b"\r\n" + fields + b"\r\n"
    assert len(exchange(names.port, request * 2)) == 1 + kept


def test_claims_of_a_request(names: Running) -> None:
    query = b"?mac=52:54:00:00:00:01&mac=2&uuid=u&hostname=&other=x&serial=" + b"9" * 256
    fields = (
        HOST
        + b"X-RHN-Provisioning-MAC-0: eth0 52:54:00:00:00:02\r\nX-System-Serial-Number: S1\r\nUser-Agent: iPXE\r\n\r\n"
    )
    for target in (b"/x" + query, b"/x"):
        exchange(names.port, b"GET " + target + b" HTTP/1.1\r\n" + fields)
    senders = [transfer.who for transfer in names.journal.transfers[-2:]]
    assert {who.agent for who in senders} == {"iPXE"}
    assert [who.claims for who in senders] == [
        {"mac": "52:54:00:00:00:01", "uuid": "u"},
        {"mac": "52:54:00:00:00:02", "serial": "S1"},
    ]


# Of these, and of requests that they damage, `test_hostile.py` makes thousands.
PIECES = [
    *b"GET|POST| |  |/|//|..|/../|%2e|%2F|%|%00|\0|HTTP/1.1|HTTP/1.0|HTTP/9.9|\r\n|\n|\r|:|: |Host|-|,|?|#|&|=|*".split(
        b"|"
    ),
    *b"Host: a\r\n|Content-Length: |Transfer-Encoding: chunked|Expect: 100-continue|Range: bytes=|[|]|\xff|\t".split(
        b"|"
    ),
    *b"http://|Connection: close|\x1b[2J".split(b"|"),
    b"9" * 30,
    b"a" * 300,
]
