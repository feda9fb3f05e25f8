"""What the server answers, and what it tells the journal."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from fsdrivers.api import Extent
from fsdrivers.errors import Corrupt, FsError, NotFound, SourceError
from pvboot.errors import NetworkError, PvbootError
from pvboot.serve.api import Requester, ServedDirectory, ServedFile
from tests.serve.http import raw
from tests.serve.http.conftest import FILES
from tests.serve.http.raw import connect, exchange, get, receive_all, split
from tests.serve.http.support import Broken, Running, Tree, mounted, running
from tests.serve.journal import wait_until

GOOD = b"GET /small.txt HTTP/1.1\r\nHost: pxe\r\nConnection: close\r\n\r\n"


# --- Files and directories


@pytest.mark.parametrize("name", FILES)
def test_a_file_from_inside_an_image(site: Running, name: str) -> None:
    reply = get(site.port, f"/{name}".encode())
    assert (reply.status, reply.body) == (200, FILES[name])
    assert reply.headers["accept-ranges"] == "bytes"
    wait_until(lambda: all(transfer.outcome for transfer in site.journal.transfers))
    if FILES[name]:
        (transfer,) = site.journal.transfers
        assert (transfer.path, transfer.size, transfer.outcome) == (f"/{name}", len(FILES[name]), "done")
        assert transfer.sent[-1] == len(FILES[name])
        assert (transfer.who.protocol, transfer.who.address) == ("http", "127.0.0.1")


def test_a_range_of_a_file_across_a_hole(site: Running) -> None:
    reply = get(site.port, b"/sparse", b"Range: bytes=99990-500003")
    assert (reply.status, reply.headers["content-range"]) == (206, "bytes 99990-500003/500007")
    assert reply.body == FILES["sparse"][99_990:500_004]


def test_head_has_the_length_and_nothing_else(site: Running) -> None:
    with connect(site.port) as sock:
        sock.sendall(b"HEAD /boot/initrd HTTP/1.1\r\nHost: pxe\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n")
        reply, rest = split(receive_all(sock), bodiless=True)
    assert (reply.status, reply.headers["content-length"], rest) == (200, str(len(FILES["boot/initrd"])), b"")
    assert not site.journal.transfers


def test_scripts_out_of_a_guests_disk_do_not_run(site: Running) -> None:
    for target in (b"/page.html", b"/"):
        reply = get(site.port, target)
        assert reply.headers["content-type"].startswith("text/html")
        assert reply.headers["content-security-policy"] == "sandbox"
        assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("target", [b"/boot/grub", b"//boot//grub", b"/boot/./grub", b"/boot/%67rub?mac=1", b"/."])
def test_a_directory_without_a_slash_leads_to_the_one_with_it(site: Running, target: bytes) -> None:
    reply = get(site.port, target)
    assert (reply.status, reply.headers["location"]) == (301, "/" if target == b"/." else "/boot/grub/")


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if tag == "a" and name == "href" and value is not None]


def test_every_link_of_a_listing_leads_to_its_file(odd_site: Running, folder: Path) -> None:
    page = Links()
    page.feed(get(odd_site.port, b"/odd/").body.decode())
    names = {unquote_to_bytes(target) for target in page.targets}
    # What leads out of the tree is listed as the thing that it is, and cannot be opened.
    assert names == {os.fsencode(name) for name in os.listdir(folder / "odd")} | {b"../"}
    for target in page.targets:
        if target not in ("../", "way-out"):
            reply = get(odd_site.port, b"/odd/" + target.encode())
            expected = (folder / "odd" / os.fsdecode(unquote_to_bytes(target))).read_bytes()
            assert (reply.status, reply.body) == (200, expected)
    assert get(odd_site.port, b"/odd/way-out").status == 404


def test_a_listing_shows_names_and_never_markup(odd_site: Running) -> None:
    page = get(odd_site.port, b"/odd/").body.decode()
    assert "a b#c?d%41&amp;&lt;e&gt;" in page
    assert "<e>" not in page


def test_a_listing_as_json(odd_site: Running, folder: Path) -> None:
    reply = get(odd_site.port, b"/", b"Accept: text/plain;q=0.5, application/json")
    assert (reply.headers["content-type"], reply.headers["vary"]) == ("application/json", "Accept")
    listed = json.loads(reply.body)
    assert listed["path"] == "/"
    assert {entry["name"]: entry["type"] for entry in listed["entries"]} == {
        name.name: "dir" if name.is_dir() else "file" for name in folder.iterdir()
    }
    assert {"name": "small.txt", "type": "file", "size": 10} in listed["entries"]


# --- Connections


def test_requests_follow_each_other_on_one_connection(site: Running) -> None:
    client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    for name in ("small.txt", "boot/initrd", "nothing", "empty", "small.txt"):
        client.request("GET", f"/{name}")
        answer = client.getresponse()
        assert answer.read() == FILES.get(name, b"404 Not Found\n")
    client.close()
    assert site.journal.counts["http_connections"] == 1
    assert site.journal.counts["http_requests"] == 5


def test_pipelined_requests_are_answered_in_order(site: Running) -> None:
    one = b"GET /small.txt HTTP/1.1\r\nHost: pxe\r\nRange: bytes=%d-%d\r\n\r\n"
    requests = b"".join(one % (at, at) for at in range(10)) + b"GET /boot/vmlinuz HTTP/1.1\r\nHost: pxe\r\n\r\n"
    *singles, last = exchange(site.port, b"\r\n" + requests)
    assert [reply.body for reply in singles] == [b"%d" % digit for digit in range(10)]
    assert last.body == FILES["boot/vmlinuz"]


def test_what_follows_a_closing_request_is_not_answered(site: Running) -> None:
    """In the same packet it makes the whole a bad request; an empty line does not."""
    (reply,) = exchange(site.port, GOOD + GOOD)
    assert (reply.headers["connection"], reply.status) == ("close", 400)
    (reply,) = exchange(site.port, GOOD + b"\r\n")
    assert (reply.headers["connection"], reply.body) == ("close", b"0123456789")


def test_bytes_behind_the_last_request_do_not_cost_its_answer(site: Running) -> None:
    """They come too late to be read before the answer, and a reset would take it back out of the client's hands."""
    with connect(site.port) as sock:
        sock.sendall(b"GET /boot/initrd HTTP/1.1\r\nHost: pxe\r\nConnection: close\r\n\r\n")
        wait_until(lambda: bool(site.journal.transfers))
        sock.sendall(b"junk" * 10_000)
        assert split(receive_all(sock))[0].body == FILES["boot/initrd"]


def test_a_request_in_single_bytes(site: Running) -> None:
    with connect(site.port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GOOD:
            sock.sendall(bytes([byte]))
        assert split(receive_all(sock))[0].body == b"0123456789"


def test_ipv6(image: Path) -> None:
    with running(Tree(mounted(image)), family=socket.AF_INET6) as site:
        with connect(site.port, socket.AF_INET6) as sock:
            sock.sendall(b"GET /small.txt HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
            assert split(receive_all(sock))[0].body == b"0123456789"
        assert site.journal.transfers[0].who.address == "::1"


def test_ipv4_on_a_socket_for_both_is_ipv4(image: Path) -> None:
    with running(Tree(mounted(image))) as site:
        both = socket.socket(socket.AF_INET6)
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        port = both.getsockname()[1]
        site.call(site.server.serve([both]))
        assert get(port, b"/small.txt").body == b"0123456789"
        assert get(site.port, b"/small.txt").body == b"0123456789"
        assert {transfer.who.address for transfer in site.journal.transfers} == {"127.0.0.1"}


def test_head_claims_to_look_only(image: Path) -> None:
    """A boot that is given once must be there for the GET that follows."""

    class Claims(Tree):
        def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
            claimed.append(dict(who.claims))
            return super().open(path, who)

    claimed: list[dict[str, str]] = []
    with running(Claims(mounted(image))) as site:
        client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        for method in ("HEAD", "GET"):
            client.request(method, "/small.txt?mac=1")
            client.getresponse().read()
        client.close()
    assert claimed == [{"mac": "1", "peek": "yes"}, {"mac": "1"}]


def test_files_cannot_be_written(site: Running) -> None:
    for method in (b"POST", b"PUT", b"DELETE", b"PATCH"):
        lines = method + b" /small.txt HTTP/1.1\r\nHost: pxe\r\nContent-Length: 1\r\n\r\nx"
        (reply,) = exchange(site.port, lines)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_bodies_are_refused_and_end_the_connection(site: Running) -> None:
    """Whoever reads the length of a body differently would see a second request in it."""
    for fields in (b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 200000\r\n"):
        request = b"GET /small.txt HTTP/1.1\r\nHost: pxe\r\n" + fields + b"\r\n"
        (reply,) = exchange(site.port, request + b"body" + GOOD)
        assert (reply.status, reply.headers["connection"]) == (400, "close")
    (reply,) = exchange(site.port, b"GET /small.txt HTTP/1.1\r\nHost: pxe\r\nContent-Length: 0\r\n\r\n")
    assert reply.body == b"0123456789"


def test_a_client_that_sends_on_can_still_read_its_refusal(site: Running) -> None:
    with connect(site.port) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: pxe\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))
        assert split(receive_all(sock))[0].status == 405


# --- What goes wrong behind the server


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("no such file", where="/srv/secret"), 404),
        (Corrupt("damaged"), 500),
        (SourceError("unreadable"), 500),
        (FsError("something"), 500),
        (PvbootError("something"), 500),
        (NetworkError("the store is away"), 502),
        (OSError("no"), 500),
        (MemoryError(), 500),
        (RecursionError(), 500),
        (KeyError("x"), 500),
    ],
)
def test_every_error_of_the_content_becomes_an_answer(error: Exception, status: int) -> None:
    with running(Broken(error=error)) as site:
        first, second = exchange(site.port, b"GET /x HTTP/1.1\r\nHost: pxe\r\n\r\n" * 2)
        assert first.status == second.status == status
        assert b"secret" not in first.body and first.body.count(b"\n") == 1
        assert [path for _, path, _ in site.journal.refusals] == ["/x", "/x"]


def test_a_file_without_readable_extents_is_an_error_and_closed() -> None:
    content = Broken(size=100_000)
    with running(content) as site:
        assert get(site.port, b"/x").status == 500
        assert site.journal.refusals[0][2] == "inode 12: damaged"
    assert content.closed == 1


def test_conditions_of_a_file_that_was_made_for_the_client_look_at_its_tag_alone() -> None:
    content = Broken(Extent(100_000))
    with running(content) as site:
        reply = get(site.port, b"/x", b"If-Modified-Since: Fri, 31 Dec 2100 00:00:00 GMT")
        assert (reply.status, reply.headers["cache-control"]) == (200, "private, no-cache")
        assert "last-modified" not in reply.headers
        assert get(site.port, b"/x", b'If-None-Match: "tag"').status == 304
        assert get(site.port, b"/x", b'If-Match: "other"').status == 412
        assert get(site.port, b"/x", b"Range: bytes=100000-").status == 416
    assert content.closed == 4


@pytest.mark.parametrize(
    ("etag", "kind"), [("a\r\nX: y", "text/plain"), ("a", "text/plain\r\n\r\n"), ("a\0", "text/plain")]
)
def test_a_files_own_words_cannot_forge_a_head(etag: str, kind: str) -> None:
    content = Broken(Extent(100_000))
    content.etag, content.content_type = etag, kind
    with running(content) as site:
        (reply,) = exchange(site.port, GOOD)
        assert (reply.status, reply.body) == (500, b"500 Internal Server Error\n")
    assert content.closed == 1


# --- The end


def test_stopping_lets_a_transfer_end() -> None:
    """More than the kernel's buffers hold, to a client that begins to read when the server is stopping."""
    content = Broken(Extent(50_000_000))
    with running(content) as site, connect(site.port) as idle, connect(site.port) as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\n\r\n")
        wait_until(lambda: bool(site.journal.transfers))
        stopping = threading.Thread(target=site.call, args=[site.server.stop(60)])
        stopping.start()
        assert receive_all(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(site.port)
        assert site.journal.transfers[0].outcome is None
        reply, rest = split(receive_all(sock))
        assert (reply.body, rest) == (bytes(50_000_000), b"")
        stopping.join()
        assert site.journal.transfers[0].outcome == "done"


def test_stopping_cuts_nothing_that_is_on_its_way(site: Running) -> None:
    """The connection is idle for the server while the client has yet to read."""
    with connect(site.port) as sock:
        sock.sendall(b"GET /boot/initrd HTTP/1.1\r\nHost: pxe\r\nRange: bytes=0-999999\r\n\r\n")
        wait_until(lambda: bool(site.journal.transfers) and site.journal.transfers[0].outcome == "done")
        site.call(site.server.stop(60))
        assert split(receive_all(sock))[0].body == FILES["boot/initrd"][:1_000_000]


def test_stopping_ends_what_is_too_slow_for_the_deadline() -> None:
    content = Broken(Extent(100_000_000))
    with running(content) as site, connect(site.port) as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\n\r\n")
        wait_until(lambda: bool(site.journal.transfers))
        site.call(site.server.stop(0.2))
        assert site.journal.transfers[0].outcome == "error: the server stopped"
    assert content.closed == 1


def test_stopping_does_not_wait_for_a_thread_and_closes_what_it_brings() -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Broken):
        def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
            entered.set()
            assert go_on.wait(60)
            return self

    content = Slow(Extent(100_000))
    with running(content) as site, connect(site.port) as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: pxe\r\n\r\n")
        assert entered.wait(60)
        site.call(site.server.stop(0.1))
        assert site.server.connections == 0
        go_on.set()
        wait_until(lambda: content.closed == 1)
    assert not site.journal.transfers


def test_a_reply_is_checked_by_the_test_client() -> None:
    """`raw.split` must not take a short body for a whole one."""
    with pytest.raises(AssertionError):
        raw.split(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour")
