"""The directory of a URL as a file system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.errors import Corrupt, FsError, IsADirectory, NotADirectory, NotFound, Unsupported
from pvboot.fetch.errors import ChecksumError, FetchError
from pvboot.fetch.fetch import Fetcher
from pvboot.fetch.listing import PAGE_LIMIT_BYTES, read_index
from pvboot.fetch.settings import NetSettings
from pvboot.fetch.tree import UrlFilesystem
from pvboot.fetch.urls import parse_url
from tests.fetch.conftest import QUICK, quick, sha256
from tests.fetch.servers import Handler, Served, nginx, tftpd_hpa


@pytest.fixture
def top(web: Served) -> Path:
    (web.root / "secret").write_bytes(b"outside")
    top = web.root / "top"
    (top / "boot" / "grub").mkdir(parents=True)
    (top / "boot" / "vmlinuz").write_bytes(b"kernel")
    (top / "boot" / "grub" / "menu.lst").write_bytes(b"title x\nkernel /boot/vmlinuz\n")
    (top / "a b").write_bytes(b"blank")
    return top


def opened(url: str, settings: NetSettings = QUICK) -> UrlFilesystem:
    return UrlFilesystem(Fetcher(settings), parse_url(url))


@pytest.fixture
def tree(web: Served, top: Path) -> UrlFilesystem:
    return opened(f"{web.url}/top/")


@pytest.mark.parametrize(
    ("path", "kind", "size"),
    [
        ("/", "dir", 0),
        ("/boot", "dir", 0),
        ("boot/", "dir", 0),
        ("/boot/vmlinuz", "file", 6),
        ("//boot/./vmlinuz", "file", 6),
        ("/boot/../boot/vmlinuz", "file", 6),
        ("/../../boot/vmlinuz", "file", 6),
        ("/a b", "file", 5),
    ],
)
def test_lookup(tree: UrlFilesystem, path: str, kind: str, size: int) -> None:
    stat = tree.lookup(path)
    assert (stat.kind, stat.size) == (kind, size)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/nothing", NotFound),
        ("/boot/vmlinuz/", NotADirectory),
        ("/a\0b", NotFound),
        ("/" + "x/" * 100, NotFound),
        ("/\ud800", NotFound),
    ],
)
def test_missing_paths(tree: UrlFilesystem, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        tree.lookup(path)


def test_answers_are_remembered_and_files_fetched_once(web: Served, tree: UrlFilesystem) -> None:
    for _ in range(3):
        assert tree.lookup("/boot/vmlinuz").size == 6
        assert tree.open("/boot/vmlinuz").read_at(0, 10) == b"kernel"
        for path in ("/none", "/nil"):
            with pytest.raises(NotFound):
                tree.lookup(path) if path == "/none" else tree.open(path)
    assert web.asked == [
        ("HEAD", "/top/boot/vmlinuz", ""),
        ("GET", "/top/boot/vmlinuz", ""),
        ("HEAD", "/top/none", ""),
        ("GET", "/top/nil", ""),
    ]


def test_equal_things_have_equal_inodes(tree: UrlFilesystem) -> None:
    assert tree.lookup("/boot").inode == tree.lookup("/boot/grub/..").inode != tree.lookup("/").inode


def test_an_open_file_has_a_descriptor(tree: UrlFilesystem) -> None:
    file = tree.open("/boot/vmlinuz")
    assert [(extent.length, extent.fd is not None) for extent in file.extents()] == [(6, True)]
    assert file.path == "/boot/vmlinuz"


@pytest.mark.parametrize("path", ["/", "/boot", "/boot/"])
def test_directories_are_not_opened(tree: UrlFilesystem, path: str) -> None:
    tree.lookup("/boot")
    with pytest.raises(IsADirectory):
        tree.open(path)


@given(st.lists(st.sampled_from(["..", ".", "", "top", "secret", "%2e%2e", "..%2f", "\\..", "a?b", "a#b"]), max_size=8))
def test_nothing_above_the_base_is_asked(parts: list[str]) -> None:
    asked: list[str] = []

    class Recorder:
        settings = QUICK

        def fetch(self, url: object, **_options: object) -> object:
            asked.append(str(url))
            raise NotFound("no")

    tree = UrlFilesystem(Recorder(), parse_url("http://h/top/sub/"))  # type: ignore[arg-type]
    with suppress(FsError):
        tree.open("/".join(parts))
    for url in asked:
        assert url.startswith("http://h/top/sub/")
        assert not {"", ".", ".."} & set(parse_url(url).path[len("/top/sub/") :].split("/"))


def test_a_server_that_knows_no_head(web: Served, tree: UrlFilesystem) -> None:
    web.misbehave = lambda handler: handler.command == "HEAD" and not handler.reply(405, b"")
    assert tree.lookup("/boot/vmlinuz").size == 6
    assert tree.open("/boot/vmlinuz").size == 6
    assert web.asked_for("/top/boot/vmlinuz") == ["HEAD", "GET"]


def test_a_kept_connection_that_the_server_has_closed(web: Served, tree: UrlFilesystem) -> None:
    """It takes one request a connection and does not say so."""
    used: list[object] = []

    def close_the_second(handler: Handler) -> bool:
        if handler.connection in used:
            handler.hang_up()
            return True
        used.append(handler.connection)
        return False

    web.misbehave = close_the_second
    assert tree.lookup("/boot/vmlinuz").size == 6
    assert tree.lookup("/a b").size == 5
    assert tree.open("/a b").size == 5


def test_the_number_of_questions_is_bounded(web: Served, tree: UrlFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvboot.fetch.tree.REQUESTS_LIMIT", 5)
    for number in range(5):
        with pytest.raises(NotFound):
            tree.lookup(f"/{number}")
    with pytest.raises(FetchError, match="too many requests"):
        tree.lookup("/more")
    assert len(web.asked) == 5


def test_the_room_for_files_is_bounded(web: Served, tree: UrlFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvboot.fetch.tree.KEPT_LIMIT_BYTES", 10)
    tree.open("/boot/vmlinuz")
    with pytest.raises(FetchError, match="too large"):
        tree.open("/a b")


def test_the_list_of_checksums_counts_from_the_base(web: Served, top: Path) -> None:
    tree = opened(f"{web.url}/top/", quick(sums={"boot/vmlinuz": sha256(b"kernel"), "a b": "0" * 64}))
    assert tree.open("/boot/vmlinuz").size == 6
    with pytest.raises(ChecksumError, match="checksum is wrong"):
        tree.open("/a b")
    with pytest.raises(ChecksumError, match="not in the list"):
        tree.open("/boot/grub/menu.lst")


# --- lists of directories


def listing(tree: UrlFilesystem, path: str) -> dict[str, tuple[str, int]]:
    return {entry.name: (entry.stat.kind, entry.stat.size) for entry in tree.listdir(path)}


def test_html(tree: UrlFilesystem) -> None:
    assert listing(tree, "/") == {"a b": ("file", 5), "boot": ("dir", 0)}
    assert sorted(tree.names("/boot")) == ["grub", "vmlinuz"]


@pytest.mark.parametrize("options", ["autoindex on;", "autoindex on; autoindex_format json;"], ids=["html", "json"])
def test_nginx(tmp_path: Path, options: str) -> None:
    (tmp_path / "html" / "d" / "sub").mkdir(parents=True)
    (tmp_path / "html" / "d" / "fil é").write_bytes(b"12345")
    with nginx(tmp_path, options) as url, closing(opened(f"{url}/d/")) as tree:
        assert listing(tree, "/") == {"fil é": ("file", 5), "sub": ("dir", 0)}
        assert (tree.lookup("/sub").kind, tree.lookup("/fil é").size) == ("dir", 5)


def test_nginx_without_an_index(tmp_path: Path) -> None:
    (tmp_path / "html" / "d").mkdir(parents=True)
    with nginx(tmp_path) as url, closing(opened(f"{url}/d/")) as tree, pytest.raises(Unsupported, match="no list"):
        listing(tree, "/")


@pytest.mark.parametrize(
    ("page", "kind", "names"),
    [
        ('<a href="/d/x">', "text/html", ["x"]),
        ('<A HREF="http://h/d/x/">', "text/html; charset=x", ["x"]),
        ('<a href="?C=M;O=A"><a href="../"><a href="/"><a href="./"><a href="x/y"><a href="#a">', "text/html", []),
        ('<a href="http://other/d/x"><a href="https://h/d/x"><a href="http://h:81/d/x">', "text/html", []),
        ('<a href="%2e%2e"><a href="a%2fb"><a href="a%00"><a href="http://["><a name="x"><a href>', "text/html", []),
        ('<a href="x"><a href="x">', "text/html", ["x"]),
        ("<a href='%ff'>", "text/html", ["\udcff"]),
        ('[{"name": "x", "type": "file", "size": 3}, {"name": "../y"}, 5, {"name": 1}, {}]', "application/json", ["x"]),
        (json.dumps({"entries": [{"name": "x/", "type": "dir"}]}), "application/json", ["x"]),
    ],
)
def test_names_that_a_page_gives(page: str, kind: str, names: list[str]) -> None:
    assert [entry.name for entry in read_index(page.encode(), kind, parse_url("http://h/d/"))] == names


@pytest.mark.parametrize(
    ("page", "kind", "error"),
    [
        ("x", "text/plain", Unsupported),
        ("x", "", Unsupported),
        ("{", "application/json", Corrupt),
        ("[" * 100_000, "application/json", Corrupt),
        ("9" * 100_000, "application/json", Corrupt),
        ("{}", "application/json", Unsupported),
        ("7", "application/json", Unsupported),
    ],
)
def test_pages_that_are_no_list(page: str, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_index(page.encode(), kind, parse_url("http://h/d/"))


@given(st.binary(max_size=300), st.sampled_from(["text/html", "application/json"]))
def test_any_page_gives_plain_names_or_an_error(page: bytes, kind: str) -> None:
    try:
        found = read_index(page, kind, parse_url("http://h/d/"))
    except FsError:
        return
    assert all(entry.name not in ("", ".", "..") and "/" not in entry.name for entry in found)


@pytest.mark.parametrize("piece", ["<a ", "<a href=", "<a\t\t\t\t\t", "<!--", "<![CDATA[", '<a href="', "<a href = ' "])
def test_large_pages_take_no_time_to_speak_of(piece: str) -> None:
    """Megabytes of what never ends: a reader that starts anew at each piece would take hours."""
    page = piece.encode() * (PAGE_LIMIT_BYTES // len(piece))
    assert read_index(page, "text/html", parse_url("http://h/d/")) == []


# --- TFTP


@pytest.fixture
def tftp(top: Path) -> Iterator[UrlFilesystem]:
    for path in (top, *top.rglob("*")):
        path.chmod(0o755)
    with tftpd_hpa(top) as url, closing(opened(f"{url}/boot/")) as tree:
        yield tree


def test_tftp_lookup(tftp: UrlFilesystem) -> None:
    assert (tftp.kind, tftp.lookup("/").kind, tftp.lookup("/vmlinuz").size) == ("tftp", "dir", 6)
    assert tftp.open("/vmlinuz").read_at(1, 3) == b"ern"
    assert tftp.open("/../../a b/../vmlinuz").size == 6
    with pytest.raises(NotFound):
        tftp.lookup("/nothing")


def test_tftp_lists_nothing(tftp: UrlFilesystem) -> None:
    with pytest.raises(Unsupported, match="TFTP lists no directories"):
        listing(tftp, "/")
