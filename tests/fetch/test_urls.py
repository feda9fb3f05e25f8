"""Reading, printing and joining URLs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.errors import NotFound
from pvboot.errors import UsageError
from pvboot.fetch.sums import read_sums
from pvboot.fetch.urls import Checksum, Url, parse_url

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://host/a/b", Url("http", "host", None, "/a/b")),
        ("HTTP://Host:8080", Url("http", "Host", 8080, "/")),
        ("https://[::1]:8443/x?y=1&z=2", Url("https", "::1", 8443, "/x", "y=1&z=2")),
        ("tftp://10.0.0.1/pxe/menu.lst", Url("tftp", "10.0.0.1", None, "/pxe/menu.lst")),
        ("http://h/a%20b/é", Url("http", "h", None, "/a%20b/%C3%A9")),
        ("http://u:p%40w@h/x", Url("http", "h", None, "/x", user="u:p%40w")),
        (f"http://h/k#sha256={DIGEST.upper()}", Url("http", "h", None, "/k", checksum=Checksum("sha256", DIGEST))),
        ("http://h/x#", Url("http", "h", None, "/x")),
        ("http://h:/x", Url("http", "h", None, "/x")),
    ],
)
def test_parts(text: str, expected: Url) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ftp://h/x",
        "file:///etc/passwd",
        "http:/h/x",
        "http://",
        "http:///x",
        "http://h:0/x",
        "http://h:99999/x",
        "http://h:8a/",
        "http://[::1/x",
        "http://[1.2.3.4]/",
        "http://a b/",
        "http://h/a b",
        "http://h/a\nb",
        "http://h/\x7f",
        "http://h/a\\b",
        "http://-h/",
        "http://h\u00e9/",
        "http://h/%zz",
        "http://h/a/../b",
        "http://h/%2e%2e/b",
        "http://h/./b",
        "http://h/%00",
        "tftp://u:p@h/x",
        "tftp://h/x?y",
        "http://h/#sha256=12",
        f"http://h/x#md5={DIGEST}",
        f"http://h/x#sha256={'x' * 64}",
        "http://h/" + "a" * 5000,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://user:secret@h:99999/x",
        "http://user:secret@h/a b",
        "gopher://user:secret@h/",
        "http://us@er:secret@h/x y",
        "http://user:secret@h/x#sha256=1",
    ],
)
def test_errors_keep_the_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert "secret" not in str(caught.value)


def test_a_url_is_printed_without_its_user() -> None:
    url = parse_url(f"https://me:secret@[fe80::1]:4/d/x?q#sha256={DIGEST}")
    assert str(url) == "https://[fe80::1]:4/d/x?q"
    assert "secret" not in repr(url)


def test_the_directory_of_a_file() -> None:
    assert str(parse_url("http://h/a/b?c").directory) == "http://h/a/"
    assert str(parse_url("http://h/a/b/").directory) == "http://h/a/b/"


def test_tftp_names_begin_behind_the_first_slash() -> None:
    assert parse_url("tftp://h/a%2f%C3%A9").tftp_name == b"a/\xc3\xa9"
    assert parse_url("tftp://h//abs").tftp_name == b"/abs"


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_children_stay_below_their_directory(parts: list[str]) -> None:
    base = parse_url("http://h/top/")
    try:
        child = base.child(tuple(parts))
    except NotFound:
        return
    assert child.path.startswith("/top/") and child.path.count("/") == len(parts) + 1
    again = parse_url(str(child))
    assert (again, again.query, again.checksum) == (child, "", None)


@given(st.text(max_size=100))
def test_any_text_is_a_url_or_a_usage_error(text: str) -> None:
    for start in ("", "http://", "tftp://h/", "http://h/#"):
        try:
            parse_url(start + text)
        except UsageError:
            continue


def test_lists_of_checksums(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "SHA256SUMS"
    path.write_text(f"{DIGEST}  ./boot/vmlinuz\n{DIGEST} *menu.lst\n")
    assert read_sums(str(path)) == {"boot/vmlinuz": DIGEST, "menu.lst": DIGEST}
    for bad in ("nonsense\n", f"{DIGEST}  a\n{DIGEST[::-1]}  a\n", f"{DIGEST[:10]}  a\n"):
        path.write_text(bad)
        with pytest.raises(UsageError):
            read_sums(str(path))
