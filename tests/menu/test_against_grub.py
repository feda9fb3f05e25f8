"""Menus as the real GRUB Legacy shell shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.devices import Devices
from pvboot.menu import Menu, find, load
from pvboot.sources import open_devices
from tests.grub_oracle.shell import GrubShell, make_disk
from tests.menu import corpus

SAVED = {
    "default 1": b"1\n\n\n\n",
    "old and new": b"0:2\n",
    "colon first": b":2",
    "nothing behind the colon": b"1:",
    "junk": b"x",
    "overflow": b"9999999999",
    "hex": b"0x2",
}
FALLBACKS = [
    b"1",
    b"1 2",
    b"1 1",
    b"1 1 2",
    b"2 9 1",
    b"9 8",
    b"1 x",
    b"x",
    b"",
    b"1 2\nfallback 3",
    b"3 1\nfallback 1 x",
    b"3 1 2\nfallback 1 1 2",
    b"1 2\nfallback",
    b"1 2 3 1",
    b"0x1",
    b"1,2",
    b"2  1",
]
FAILING = b"".join(b"title %c\ncat (hd0,0)/nowhere\n" % letter for letter in b"ABCD")
RANDOM_MENUS = 120


def _menus() -> dict[str, bytes]:
    menus = {f"m{number}": text for number, text in enumerate(corpus.written().values())}
    menus |= {f"r{seed}": corpus.random_menu(seed) for seed in range(RANDOM_MENUS)}
    menus |= {f"s{number}": b"timeout 9\ndefault saved\n" + corpus.THREE for number in range(len(SAVED))}
    menus |= {f"f{number}": b"timeout 0\nfallback " + line + b"\n" + FAILING for number, line in enumerate(FALLBACKS)}
    return menus


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One disk with all menus, each in a directory of its own for the sake of its file `default`."""
    tree = {f"{name}/menu.lst": text for name, text in _menus().items()}
    tree |= {f"s{number}/default": saved for number, saved in enumerate(SAVED.values())}
    return make_disk(tmp_path_factory.mktemp("menus") / "disk.img", tree)


@pytest.fixture(scope="module")
def grub(disk: Path, parts: Callable[[str], Path]) -> GrubShell:
    return GrubShell(parts("grub-legacy") / "root", disk)


@pytest.fixture(scope="module")
def devices(disk: Path) -> Devices:
    return open_devices(str(disk))


def _load(devices: Devices, name: str) -> Menu:
    return load(devices, find(devices, f"(hd0,0)/{name}/menu.lst"))


def _latin1(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _compare(grub: GrubShell, devices: Devices, name: str) -> None:
    shown = grub.menu(f"(hd0,0)/{name}/menu.lst")
    menu = _load(devices, name)
    if shown is None:
        assert menu.entries == ()
        return
    assert [_latin1(entry.title) for entry in menu.entries] == shown.titles
    assert (menu.default, menu.timeout) == (shown.default, shown.timeout)
    assert (menu.hidden and menu.timeout is not None) == shown.hidden
    assert (menu.password is not None) == shown.locked
    if not shown.locked:
        assert [[_latin1(command.text) for command in entry.commands] for entry in menu.entries] == shown.commands


@pytest.mark.parametrize("number", range(len(corpus.written())), ids=list(corpus.written()))
def test_written_menus(grub: GrubShell, devices: Devices, number: int) -> None:
    _compare(grub, devices, f"m{number}")


@pytest.mark.parametrize("seed", range(RANDOM_MENUS))
def test_random_menus(grub: GrubShell, devices: Devices, seed: int) -> None:
    _compare(grub, devices, f"r{seed}")


@pytest.mark.parametrize("number", range(len(SAVED)), ids=list(SAVED))
def test_default_saved(grub: GrubShell, devices: Devices, number: int) -> None:
    _compare(grub, devices, f"s{number}")


@pytest.mark.parametrize("number", range(len(FALLBACKS)), ids=[line.decode() for line in FALLBACKS])
def test_order_of_fallbacks(grub: GrubShell, devices: Devices, number: int) -> None:
    menu = _load(devices, f"f{number}")
    tried = [menu.entries[index].title for index in (menu.default, *menu.fallback)]
    assert tried == grub.booted(f"(hd0,0)/f{number}/menu.lst")
