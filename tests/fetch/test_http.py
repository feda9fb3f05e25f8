"""Whole files by HTTP, from servers that behave and servers that do not."""

from __future__ import annotations

import gzip
import hashlib
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fsdrivers.errors import IsADirectory, NotFound
from pvboot.errors import NetworkError, UsageError
from pvboot.fetch.errors import ChecksumError, FetchError
from pvboot.fetch.fetch import Fetcher
from pvboot.fetch.settings import FetchLimits, NetSettings
from pvboot.fetch.urls import parse_url
from tests.fetch.conftest import QUICK, quick, sha256
from tests.fetch.servers import Handler, Served, free_port, http_server, nginx

LIMIT = 1 << 20


def get(url: str, settings: NetSettings = QUICK, limit: int = LIMIT) -> bytes:
    with closing(Fetcher(settings)) as fetcher:
        file = fetcher.fetch(parse_url(url), limit_bytes=limit)
    return file.read_at(0, file.size)


def only(path: str, answer: Callable[[Handler], None]) -> Callable[[Handler], bool]:
    """A server that answers one path in its own way."""

    def misbehave(handler: Handler) -> bool:
        if handler.path != path:
            return False
        answer(handler)
        return True

    return misbehave


def test_a_file_is_fetched(web: Served, noise: bytes) -> None:
    (web.root / "file").write_bytes(noise)
    seen: list[tuple[int, int | None]] = []
    settings = quick(meter=lambda _name: lambda *done: seen.append(done))
    with closing(Fetcher(settings)) as fetcher:
        file = fetcher.fetch(parse_url(f"{web.url}/file"), limit_bytes=LIMIT)
    assert (file.size, file.read_at(0, file.size)) == (len(noise), noise)
    assert [extent.length for extent in file.extents() if extent.fd is not None] == [len(noise)]
    assert seen[-1] == (len(noise), len(noise)) and sorted(seen) == seen


def test_names_with_odd_letters(web: Served) -> None:
    web.misbehave = only("/a%20b%2525", lambda handler: handler.reply(200, b"odd"))
    with closing(Fetcher(QUICK)) as fetcher:
        assert fetcher.fetch(parse_url(f"{web.url}/").child(("a b%25",))).size == 3


def test_over_the_limit_by_the_servers_own_word(web: Served, noise: bytes) -> None:
    (web.root / "file").write_bytes(noise)
    with pytest.raises(FetchError, match=r"too large.*at most 300000 bytes, found 300001"):
        get(f"{web.url}/file", limit=300_000)
    assert get(f"{web.url}/file", limit=300_001) == noise


def test_an_endless_body_is_cut_off(web: Served) -> None:
    def endless(handler: Handler) -> None:
        handler.begin(200, None)
        handler.hang_up()
        while True:
            handler.send(bytes(65536))

    web.misbehave = only("/x", endless)
    with pytest.raises(FetchError, match="too large"):
        get(f"{web.url}/x")
    assert web.sent < 32 << 20  # what the buffers between us took


def test_a_body_is_resumed_where_it_broke(web: Served, noise: bytes) -> None:
    (web.root / "file").write_bytes(noise)

    def break_off(handler: Handler) -> bool:
        if handler.headers.get("Range"):
            return False
        handler.begin(200, len(noise), {"ETag": '"one"'})
        handler.send(noise[:200_000])
        handler.hang_up()
        return True

    web.misbehave = break_off
    assert get(f"{web.url}/file#sha256={sha256(noise)}") == noise
    assert [asked[2] for asked in web.asked] == ["", "bytes=200000-"]


def test_a_changed_file_is_fetched_anew(web: Served, noise: bytes) -> None:
    (web.root / "file").write_bytes(noise)

    def break_off(handler: Handler) -> bool:
        if handler.headers.get("Range"):
            assert handler.headers["If-Range"] == '"old"'
            return False  # the server's tag is "one": it sends all
        handler.begin(200, len(noise), {"ETag": '"old"'})
        handler.send(b"x" * 200_000)
        handler.hang_up()
        return True

    web.misbehave = break_off
    assert get(f"{web.url}/file#sha256={sha256(noise)}") == noise


def test_without_a_validator_nothing_is_resumed(web: Served, noise: bytes) -> None:
    (web.root / "file").write_bytes(noise)
    web.etag = None
    tries: list[int] = []

    def break_off(handler: Handler) -> bool:
        tries.append(1)
        if len(tries) > 1:
            return False
        handler.begin(200, len(noise))
        handler.send(noise[:1000])
        handler.hang_up()
        return True

    web.misbehave = break_off
    assert get(f"{web.url}/file") == noise
    assert [asked[2] for asked in web.asked] == ["", ""]


@pytest.mark.parametrize(
    "header",
    [
        "bytes 0-99/300001",
        "bytes 200000-300000/*",
        "bytes 200000-300001/300001",
        "junk",
        "bytes 200000-99999999999999999999/300001",
    ],
)
def test_another_part_than_asked_for_is_refused(web: Served, noise: bytes, header: str) -> None:
    def lie(handler: Handler) -> bool:
        if handler.headers.get("Range"):
            handler.reply(206, noise[:100], {"Content-Range": header})
        else:
            handler.begin(200, len(noise), {"ETag": '"one"'})
            handler.send(noise[:200_000])
            handler.hang_up()
        return True

    web.misbehave = lie
    with pytest.raises(FetchError, match="another part"):
        get(f"{web.url}/file")


def test_a_part_that_nobody_asked_for_is_refused(web: Served) -> None:
    web.misbehave = only("/x", lambda handler: handler.reply(206, b"abc", {"Content-Range": "bytes 0-2/9"}))
    with pytest.raises(FetchError, match="not asked for"):
        get(f"{web.url}/x")


def test_a_short_body_is_an_error_in_the_end(web: Served) -> None:
    def short(handler: Handler) -> None:
        handler.begin(200, 1000)
        handler.send(b"x" * 999)
        handler.hang_up()

    web.misbehave = only("/x", short)
    with pytest.raises(NetworkError) as caught:
        get(f"{web.url}/x")
    assert caught.value.exit_code == 4
    assert len(web.asked) == QUICK.limits.attempts


def test_a_chunked_body_without_its_end_is_an_error(web: Served) -> None:
    def chunked(handler: Handler) -> None:
        handler.begin(200, None, {"Transfer-Encoding": "chunked"})
        handler.send(b"3\r\nabc\r\n")
        handler.hang_up()

    web.misbehave = only("/x", chunked)
    with pytest.raises(NetworkError, match="connection failed"):
        get(f"{web.url}/x")


def test_an_answer_cut_in_its_headers_is_not_an_empty_file(web: Served) -> None:
    web.misbehave = only("/x", lambda handler: (handler.wfile.write(b"HTTP/1.1 200 OK\r\nServ"), handler.hang_up())[1])
    with pytest.raises(NetworkError, match="neither a length nor content"):
        get(f"{web.url}/x")


@pytest.mark.parametrize("length", ["-1", "abc", "1" * 30, "5, 7"])
def test_bad_content_lengths(web: Served, length: str) -> None:
    def lie(handler: Handler) -> None:
        handler.begin(200, None, {"Content-Length": length})
        handler.hang_up()

    web.misbehave = only("/x", lie)
    with pytest.raises(NetworkError):
        get(f"{web.url}/x")


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
        ("", "H"),
        ("HTTP/1.1 200 OK\r\n", "A: b\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ],
    ids=["body", "body without a length", "status line", "headers", "chunks"],
)
def test_a_server_that_drips_neither_holds_us_nor_counts_as_done(web: Served, start: str, drop: str) -> None:
    def slow(handler: Handler) -> None:
        handler.wfile.write(start.encode())
        handler.hang_up()
        for _ in range(90):
            handler.wfile.write(drop.encode())
            time.sleep(0.05)

    web.misbehave = only("/x", slow)
    with pytest.raises(NetworkError, match="too slow"):
        get(f"{web.url}/x", quick(limits=FetchLimits(wait_seconds=5, step_seconds=0.5, attempts=1)))


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1" * 65536),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;", "x" * 65536),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "A: b\r\n" * 10000),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "x" * 65536),
        ("", "HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        ("", "x" * 65536),
        ("HTTP/1.1 200 OK\r\nA: ", "x" * 65536),
        ("HTTP/1.1 200 OK\r\n", "A: b\r\n" * 10000),
    ],
    ids=["size of a chunk", "its extension", "trailers", "a trailer", "continue", "status line", "a header", "headers"],
)
def test_what_has_no_end_is_not_read_to_its_end(web: Served, start: str, piece: str) -> None:
    def endless(handler: Handler) -> None:
        handler.wfile.write(start.encode())
        handler.hang_up()
        while True:
            handler.send(piece.encode())

    web.misbehave = only("/x", endless)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NetworkError):
        get(f"{web.url}/x", quick(limits=FetchLimits(step_seconds=0.5, attempts=1)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB


def test_silence_ends(web: Served) -> None:
    over = threading.Event()
    web.misbehave = lambda handler: over.wait(30) or True
    settings = quick(limits=FetchLimits(wait_seconds=0.2, attempts=2, pause_seconds=0))
    try:
        with pytest.raises(NetworkError, match="connection failed"):
            get(f"{web.url}/x", settings)
    finally:
        over.set()


def test_nobody_listens() -> None:
    with pytest.raises(NetworkError, match="refused") as caught:
        get(f"http://127.0.0.1:{free_port(socket.SOCK_STREAM)}/x")
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)


def test_an_answer_that_is_not_http(web: Served) -> None:
    web.misbehave = only("/x", lambda handler: (handler.wfile.write(b"\0\1garbage\r\n\r\n"), handler.hang_up())[1])
    with pytest.raises(NetworkError, match="connection failed"):
        get(f"{web.url}/x")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (403, NotFound), (410, NotFound), (401, FetchError), (400, FetchError), (204, FetchError)],
)
def test_refusals_are_not_asked_again(web: Served, status: int, error: type[Exception]) -> None:
    web.misbehave = only("/x", lambda handler: handler.reply(status, b""))
    with pytest.raises(error):
        get(f"{web.url}/x")
    assert len(web.asked) == 1


def test_trouble_of_the_moment_is_asked_again(web: Served) -> None:
    (web.root / "x").write_bytes(b"fine")
    web.misbehave = lambda handler: len(web.asked) < 3 and not handler.reply(503, b"")
    assert get(f"{web.url}/x") == b"fine"
    assert len(web.asked) == 3


def test_redirects_are_followed(web: Served) -> None:
    (web.root / "x").write_bytes(b"there")
    web.misbehave = only("/old", lambda handler: handler.reply(302, b"", {"Location": "/x"}))
    assert get(f"{web.url}/old") == b"there"


def test_a_directory_index_is_not_a_file(web: Served) -> None:
    (web.root / "boot").mkdir()
    with pytest.raises(IsADirectory, match="not a file"):
        get(f"{web.url}/boot")


def test_redirects_in_a_circle_end(web: Served) -> None:
    web.misbehave = only("/x", lambda handler: handler.reply(301, b"", {"Location": "/x"}))
    with pytest.raises(FetchError, match="too many redirects"):
        get(f"{web.url}/x")
    assert len(web.asked) == QUICK.limits.redirects + 1


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://h/x",
        "tftp://127.0.0.1/x",
        "",
        "http://[",
        "//",
        "http://h:80:80/",
        "gopher://127.0.0.1:70/1",
        "http://h:0/",
    ],
)
def test_redirects_to_elsewhere_are_refused(web: Served, location: str) -> None:
    def send(handler: Handler) -> None:
        handler.wfile.write(f"HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())

    web.misbehave = only("/x", send)
    with pytest.raises(FetchError, match="redirects to"):
        get(f"{web.url}/x")


def test_the_body_of_a_redirect_is_not_read(web: Served) -> None:
    (web.root / "x").write_bytes(b"there")

    def endless(handler: Handler) -> None:
        handler.begin(302, None, {"Location": "/x"})
        handler.hang_up()
        while True:
            handler.send(bytes(65536))

    web.misbehave = only("/old", endless)
    assert get(f"{web.url}/old") == b"there"


def test_a_password_goes_to_its_own_server_only(web: Served, tmp_path: Path) -> None:
    authorizations: list[str | None] = []
    with http_server(tmp_path) as other:
        (tmp_path / "x").write_bytes(b"there")

        def note(handler: Handler) -> bool:
            authorizations.append(handler.headers.get("Authorization"))
            return False

        def send_away(handler: Handler) -> bool:
            note(handler)
            handler.reply(302, b"", {"Location": f"{other.url}/x"})
            return True

        web.misbehave, other.misbehave = send_away, note
        url = web.url.replace("//", "//me:secret@")
        assert get(f"{url}/old") == b"there"
    assert authorizations == ["Basic bWU6c2VjcmV0", None]


def test_bytes_come_as_they_are_stored(web: Served) -> None:
    """A kernel.gz that the server labels as compressed is not unpacked on the way."""
    data = gzip.compress(b"kernel" * 1000)
    web.misbehave = only("/k.gz", lambda handler: handler.reply(200, data, {"Content-Encoding": "gzip"}))
    assert get(f"{web.url}/k.gz") == data


@pytest.mark.parametrize("kind", ["sha256", "sha512"])
def test_checksums(web: Served, noise: bytes, kind: str) -> None:
    (web.root / "x").write_bytes(noise)
    digest = hashlib.new(kind, noise).hexdigest()
    assert get(f"{web.url}/x#{kind}={digest}") == noise
    with pytest.raises(ChecksumError, match="checksum is wrong") as caught:
        get(f"{web.url}/x#{kind}={digest[::-1]}")
    assert caught.value.exit_code == 3


def test_directories_are_not_fetched(web: Served) -> None:
    with pytest.raises(UsageError):
        get(f"{web.url}/")


def test_ipv6(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"six")
    with http_server(tmp_path, "::1") as served:
        assert get(f"http://[::1]:{served.port}/x") == b"six"


def test_proxies_of_the_environment(web: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    web.misbehave = lambda handler: handler.path == "http://pvboot.invalid/x" and not handler.reply(200, b"by proxy")
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.setenv("no_proxy", "")
    assert get("http://pvboot.invalid/x") == b"by proxy"


def test_a_proxy_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{probe.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(FetchError, match="the connection to the proxy failed"):
            get("http://pvboot.invalid/x")


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    """A server with TLS, and its certificate."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", certificate, "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    (tmp_path / "x").write_bytes(b"sealed")
    with http_server(tmp_path, context=context) as served:
        yield served, certificate


def test_certificates_are_verified(sealed: tuple[Served, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    served, certificate = sealed
    with pytest.raises(NetworkError, match="certificate"):
        get(f"https://127.0.0.1:{served.port}/x")
    assert served.asked == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert get(f"https://127.0.0.1:{served.port}/x") == b"sealed"


def test_tls_is_not_given_up(sealed: tuple[Served, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    served, certificate = sealed
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    away = {"Location": f"http://127.0.0.1:{served.port}/x"}
    served.misbehave = lambda handler: not handler.reply(302, b"", away)
    with pytest.raises(FetchError, match="another protocol"):
        get(f"https://127.0.0.1:{served.port}/x")


def test_dripping_through_tls(sealed: tuple[Served, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    served, certificate = sealed
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def slow(handler: Handler) -> None:
        handler.begin(200, 10_000)
        for _ in range(90):
            handler.send(b"x")
            time.sleep(0.05)

    served.misbehave = only("/slow", slow)
    with pytest.raises(NetworkError, match="too slow"):
        get(
            f"https://127.0.0.1:{served.port}/slow",
            quick(limits=FetchLimits(wait_seconds=5, step_seconds=0.5, attempts=1)),
        )


def test_nginx(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "file").write_bytes(noise)
    with nginx(tmp_path) as url:
        assert get(f"{url}/file") == noise
        with pytest.raises(NotFound):
            get(f"{url}/nothing")
