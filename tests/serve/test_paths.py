"""Names from clients: cleaned before anybody opens a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.paths import BadPath, clean


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"", "/"),
        (b"/", "/"),
        (b"menu.lst", "/menu.lst"),
        (b"/boot//grub/./menu.lst", "/boot/grub/menu.lst"),
        (b"dir/", "/dir"),
        (b"...", "/..."),
        (b"..a/b..", "/..a/b.."),
        (b"a\\..\\b", "/a\\..\\b"),
        (b"%2e%2e/x", "/%2e%2e/x"),
        ("grün".encode(), "/grün"),
        ("grün", "/grün"),
        (b"\xff\xfe", "/\udcff\udcfe"),
        ("\udcc3\udcbc", "/ü"),
        (b"\xc0\xae\xc0\xae/x", "/\udcc0\udcae\udcc0\udcae/x"),
    ],
)
def test_names_become_absolute_paths(raw: bytes | str, path: str) -> None:
    assert clean(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"..",
        b"../x",
        b"/a/../b",
        b"a/..",
        b"//..//etc/passwd",
        b"a\0b",
        b"\x1b[2J",
        b"a\nb",
        b"a\x7f",
        "\x9b31m",
        "\ud800",
        "a/\udc2e\udc2e",
        b"a" * 4097,
    ],
)
def test_names_that_stand_for_nothing_served_are_refused(raw: bytes | str) -> None:
    with pytest.raises(BadPath):
        clean(raw)


@given(st.binary(max_size=64) | st.text(max_size=64) | st.text("./\\%2e\0a", max_size=32))
def test_whatever_comes_the_path_has_plain_components_only(raw: bytes | str) -> None:
    try:
        path = clean(raw)
    except BadPath:
        return
    assert path.startswith("/")
    assert path == "/" or not {"", ".", ".."} & set(path[1:].split("/"))
    assert path.isprintable() or all(not ("\0" <= char < " ") for char in path)
    assert clean(path) == path
