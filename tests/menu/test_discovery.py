"""Which menu is found, and what happens to those that cannot be read."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from fsdrivers.errors import FsError
from pvboot.errors import MenuError, PvbootError
from pvboot.menu import Menu, find, load
from pvboot.menu.discovery import MENU_LIMIT_BYTES
from pvboot.sources import open_devices

MENU = b"title A\nboot\n"
NAMES = ["boot/grub/menu.lst", "boot/grub/grub.conf", "grub/menu.lst", "grub/grub.conf"]


def _write(root: Path, name: str, content: bytes = MENU) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _load(source: Path, *disks: Path, config: str | None = None) -> Menu:
    with open_devices(str(source), [str(disk) for disk in disks]) as devices:
        return load(devices, find(devices, config))


@pytest.mark.parametrize("count", range(1, len(NAMES) + 1))
def test_order_of_names(tmp_path: Path, count: int) -> None:
    for name in NAMES[-count:]:
        _write(tmp_path, name)
    menu = _load(tmp_path)
    assert (menu.volume, menu.path, menu.dialect) == ("(hd0)", f"/{NAMES[-count]}", "menu.lst")


def test_symbolic_link_to_the_menu(tmp_path: Path) -> None:
    _write(tmp_path, "boot/grub/grub.conf")
    (tmp_path / "boot/grub/menu.lst").symlink_to("/boot/grub/grub.conf")
    assert _load(tmp_path).path == "/boot/grub/menu.lst"


@pytest.mark.parametrize("kind", ["directory", "link loop"])
def test_unreadable_candidate_is_passed_over_with_a_warning(tmp_path: Path, kind: str) -> None:
    _write(tmp_path, "boot/grub/grub.conf")
    bad = tmp_path / "boot/grub/menu.lst"
    bad.mkdir() if kind == "directory" else bad.symlink_to("menu.lst")
    menu = _load(tmp_path)
    assert menu.path == "/boot/grub/grub.conf"
    assert "menu.lst is passed over" in str(menu.warnings[0])


def test_second_disk_is_looked_at_when_the_first_has_no_menu(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    _write(second, NAMES[0])
    assert _load(first, second).volume == "(hd1)"


@pytest.mark.parametrize(("image", "volume"), [("ext2.img", "(hd0)"), ("mbr.img", "(hd0,0)"), ("gpt.img", "(hd0,2)")])
def test_volume_of_an_image(images: Callable[[str], Path], image: str, volume: str) -> None:
    assert _load(images(image)).volume == volume


def test_plain_menu_file(tmp_path: Path) -> None:
    menu = _load(_write(tmp_path, "my-menu"))
    assert (menu.volume, menu.path, len(menu.entries)) == (None, str(tmp_path / "my-menu"), 1)


@pytest.mark.parametrize("config", ["/x/my.lst", "(hd0)/x/my.lst", "(hd0,0)/x/my.lst", "x/my.lst"])
def test_menu_named_by_hand(tmp_path: Path, config: str) -> None:
    _write(tmp_path, NAMES[0], b"title other\nboot\n")
    _write(tmp_path, "x/my.lst")
    assert _load(tmp_path, config=config).entries[0].title == "A"


def test_default_saved_reads_the_file_beside_the_menu(tmp_path: Path) -> None:
    _write(tmp_path, NAMES[0], b"default saved\n" + MENU * 3)
    _write(tmp_path, "boot/grub/default", b"2\n\n\n")
    assert _load(tmp_path).default == 2


def test_compressed_menu(tmp_path: Path) -> None:
    _write(tmp_path, NAMES[0], gzip.compress(MENU))
    assert len(_load(tmp_path).entries) == 1


def test_menu_beyond_the_limit_is_cut_at_a_line_with_a_warning(tmp_path: Path) -> None:
    _write(tmp_path, NAMES[0], gzip.compress(MENU + b"#" * 70 + b"\n" * 2 * MENU_LIMIT_BYTES))
    menu = _load(tmp_path)
    assert len(menu.entries) == 1
    assert f"only the first {MENU_LIMIT_BYTES} bytes" in str(menu.warnings[0])


@pytest.mark.parametrize("damage", [b"", b"\xff" * 20, b"\x07garbage"], ids=["short", "filler", "garbage"])
def test_damaged_compressed_menu(tmp_path: Path, damage: bytes) -> None:
    _write(tmp_path, NAMES[0], gzip.compress(MENU)[:10] + damage)
    with pytest.raises(MenuError, match="compressed menu is damaged"):
        _load(tmp_path)


def test_no_menu_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MenuError, match=r"no boot menu.*expected .*/boot/grub/menu.lst, .*found none of them on 1"):
        _load(tmp_path)


def test_disk_without_file_system_says_what_it_holds(tmp_path: Path) -> None:
    image = tmp_path / "zero.img"
    image.write_bytes(bytes(1 << 20))
    with pytest.raises(PvbootError, match=r"no boot menu|no file system") as caught:
        _load(image)
    assert caught.value.exit_code == 3


def test_unknown_kinds_of_urls_are_refused_by_name() -> None:
    with pytest.raises(FsError, match="nothing://host/x: cannot open"):
        open_devices("nothing://host/x")
