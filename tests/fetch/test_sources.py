"""The kinds of source: one answer for every road on which they come."""

from __future__ import annotations

import gzip
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from fsdrivers.errors import Unsupported
from pvboot.menu import find, load
from pvboot.sources import HEAD_BYTES, MENU_LIMIT_BYTES, is_menu, is_on_server, is_url, open_devices
from tests.fetch.servers import Served

MENU = b"default 0\ntitle a\nkernel /k\n"

MENUS = {
    "menu.lst": MENU,
    "some.txt": MENU,
    "nul.txt": MENU + b"title b\0c\nkernel /k\n",
    "long.txt": MENU + b"# a comment\n" * 300_000,  # 3.6 MB
    "grub.conf": gzip.compress(MENU, mtime=0),
}
DISKS = {
    "zeros.img": bytes(1 << 20),
    "late.img": MENU + bytes(HEAD_BYTES),
    "huge.txt": b"#" * (MENU_LIMIT_BYTES + 1),
    "packed.gz": gzip.compress(bytes(range(256)) * 64, mtime=0),
}


@pytest.mark.parametrize(
    ("name", "url", "on_server"),
    [
        ("http://h/x", True, True),
        ("HTTPS://h/x", True, True),
        ("tftp://h/x", True, True),
        ("s3://bucket/x", True, False),
        ("/a/b", False, False),
        ("./http://h", False, False),
        ("a:b", False, False),
        ("1x://h", False, False),
        ("", False, False),
    ],
)
def test_schemes(name: str, url: bool, on_server: bool) -> None:
    assert (is_url(name), is_on_server(name)) == (url, on_server)


@pytest.mark.parametrize(
    ("data", "name", "menu"),
    [
        *((data, name, True) for name, data in MENUS.items()),
        *((data, name, False) for name, data in DISKS.items()),
        (b"", "empty", True),
        (MENU.decode().encode("utf-16"), "some.txt", True),
        (bytes(512), "/boot/grub/menu.lst", True),
        (b"\x7fELF" + bytes(100), "vmlinux", False),
    ],
)
def test_menus_are_told_from_disks(data: bytes, name: str, menu: bool) -> None:
    assert is_menu(data[:HEAD_BYTES], len(data), name) is menu


@pytest.mark.parametrize("where", ["file", "http", "memory"])
def test_a_menu_is_one_wherever_it_lies(where: str, tmp_path: Path, web: Served) -> None:
    top = {"file": str(tmp_path), "http": web.url, "memory": f"memory://{uuid4().hex}"}[where]
    for name, data in {**MENUS, **DISKS}.items():
        source = f"{top}/{name}"
        if where == "memory":
            fsspec.filesystem("memory").pipe_file(source, data)
        else:
            ((web.root if where == "http" else tmp_path) / name).write_bytes(data)
        if name == "packed.gz":
            with pytest.raises(Unsupported, match="gzip"):
                open_devices(source)
            continue
        with open_devices(source) as devices:
            assert (devices.menu is not None, len(devices.disks)) == ((True, 0) if name in MENUS else (False, 1)), name
            if name in MENUS:
                assert load(devices, find(devices)).entries[0].title == "a"


def test_a_menu_named_as_a_further_disk_is_a_disk(tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_bytes(MENU)
    with open_devices(str(tmp_path), [str(tmp_path / "menu.lst")]) as devices:
        assert devices.menu is None
        assert [disk.source is None for disk in devices.disks] == [True, False]
