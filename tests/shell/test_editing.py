"""Entries as editable lines, and what somebody made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pvboot.devices import Devices
from pvboot.errors import BootError
from pvboot.grub_errors import GrubError
from pvboot.menu import Menu, find, load
from pvboot.menu.model import BootFiles, Entry
from pvboot.shell.editing import command_lines
from pvboot.shell.interpreter import run_entry, run_lines
from pvboot.shell.request import BootRequest, Outcome, PowerControl
from pvboot.shell.session import Choice, boot_menu
from pvboot.shell.state import Console
from pvboot.sources import open_devices

FILES = BootFiles("/k", "ro  quiet", ("/i", "(hd0)/m"), (), "(hd0)")


@pytest.fixture
def guest(tmp_path: Path) -> tuple[Devices, Menu]:
    for name in ("k", "i", "m"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "boot/grub").mkdir(parents=True)
    (tmp_path / "boot/grub/menu.lst").write_text("fallback 1\ntitle A\nkernel /none\n title B\nkernel  /k b\n")
    devices = open_devices(str(tmp_path))
    return devices, load(devices, find(devices))


def _of_another_dialect(menu: Menu, files: BootFiles) -> Entry:
    return replace(menu.entries[0], commands=(), files=lambda: files)


def test_lines_of_grub_legacy_are_its_own(guest: tuple[Devices, Menu]) -> None:
    assert command_lines(guest[1].entries[1]) == ["kernel  /k b"]


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        (FILES, ["root (hd0)", "kernel /k ro  quiet", "initrd /i (hd0)/m"]),
        (BootFiles("/k"), ["kernel /k"]),
        (BootFiles("/k", modules=(("/i", "one two"), ("/m", ""))), ["kernel /k", "module /i one two", "module /m"]),
        (BootFiles(None), []),
    ],
)
def test_lines_of_another_dialect(guest: tuple[Devices, Menu], files: BootFiles, lines: list[str]) -> None:
    assert command_lines(_of_another_dialect(guest[1], files)) == lines


@pytest.mark.parametrize("files", [FILES, BootFiles("/k", modules=(("/i", "one two"), ("/m", "")))])
def test_unedited_lines_of_another_dialect_load_the_same(guest: tuple[Devices, Menu], files: BootFiles) -> None:
    devices, menu = guest
    entry = _of_another_dialect(menu, files)
    assert _facts(run_lines(devices, menu, entry, command_lines(entry))) == _facts(run_entry(devices, menu, entry))


def _facts(outcome: Outcome | None) -> object:
    assert isinstance(outcome, BootRequest)
    modules = [(module.name, module.cmdline, module.kind, module.file.size) for module in outcome.modules]
    return outcome.name, outcome.cmdline, modules


def test_grub_legacys_initrd_takes_one_file(guest: tuple[Devices, Menu]) -> None:
    outcome = run_lines(*guest, guest[1].entries[1], ["kernel /k", "initrd /i /m"])
    assert isinstance(outcome, BootRequest)
    assert [module.name for module in outcome.modules] == ["(hd0)/i"]


@pytest.mark.parametrize("bad", ["", "   ", "# comment", "title X", "nonsense"])
def test_an_edited_line_that_is_no_command_fails(guest: tuple[Devices, Menu], bad: str) -> None:
    with pytest.raises(GrubError, match=r"edited entry:2:\d+: Error 27"):
        run_lines(*guest, guest[1].entries[1], ["kernel /k", bad])


def test_edited_lines_are_booted_in_the_entrys_place(guest: tuple[Devices, Menu]) -> None:
    said: list[str] = []
    choice = Choice(0, True, lines=("kernel /k edited",))
    request = boot_menu(*guest, lambda request: request, choose=lambda _menu: choice, console=Console(said.append))
    assert isinstance(request, BootRequest)
    assert request.cmdline == b"edited"
    assert "command-list" in "".join(said)


def test_broken_edited_lines_have_no_fallback(guest: tuple[Devices, Menu]) -> None:
    with pytest.raises(BootError, match=r"edited entry 0 'A': .*Error 15") as caught:
        boot_menu(*guest, lambda request: request, choose=lambda _menu: Choice(0, lines=("kernel /none",)))
    assert "entry 1" not in str(caught.value)


def test_what_the_prompt_led_to_needs_no_entry(guest: tuple[Devices, Menu]) -> None:
    halt = PowerControl("halt")
    assert boot_menu(*guest, lambda request: request, choose=lambda _menu: Choice(0, outcome=halt)) == halt


def test_a_terminal_that_is_gone_does_not_try_for_ever(guest: tuple[Devices, Menu]) -> None:
    devices, menu = guest
    menu = replace(menu, fallback=())
    with pytest.raises(BootError, match="Error 15"):
        boot_menu(devices, menu, lambda request: request, choose=lambda menu: Choice(menu.default), interactive=True)
