"""grub.cfg as the real GRUB 2 runs it, on real disks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.errors import PvbootError
from pvboot.menu import Menu, find, load
from pvboot.menu.grub2_rules import read_device_name
from pvboot.menu.grub_cfg import HypervisorEntryError
from pvboot.sources import open_devices
from tests.grub_oracle.emu import Call, EmuEntry, GrubEmu, make_emu_disk
from tests.menu.grub_corpus import WRITTEN, Case, generated

GENERATED = 60
KERNEL = ("linux", "linux16", "linuxefi")
INITRD = ("initrd", "initrd16", "initrdefi")


def _ours(folder: Path, case: Case) -> tuple[Menu, list[tuple[str | None, str, tuple[str, ...]] | str]]:
    """The menu and what each entry loads, or why it cannot."""
    images = [
        make_emu_disk(folder / f"disk{number}.img", disk, transformed=False) for number, disk in enumerate(case.disks())
    ]
    loaded: list[tuple[str | None, str, tuple[str, ...]] | str] = []
    with open_devices(str(images[0]), [str(image) for image in images[1:]]) as devices:
        menu = load(devices, find(devices))
        for entry in menu.entries:
            assert entry.files is not None
            try:
                files = entry.files()
                loaded.append((files.kernel, files.args, files.initrds))
            except HypervisorEntryError:
                loaded.append("hypervisor")
            except PvbootError as err:
                loaded.append(str(err))
    return menu, loaded


def _name(call: Call, word: str) -> str:
    """The file that a word of a call means, named as pvboot does."""
    if word.startswith("("):
        device, _, path = word[1:].partition(")")
    else:
        device, path = call.root, word
    return f"{read_device_name(device)}{path}"


def _join(words: list[str]) -> str:
    """The command line of GRUB's loaders; Fedora's leave a byte in hexadecimal alone."""
    joined = []
    for word in words:
        quoted = "".join("\\" + letter if letter in "\\'\"" else letter for letter in word)
        for letter in "0123456789abcdef":
            quoted = quoted.replace(f"\\\\x2{letter}", f"\\x2{letter}")
        joined.append(f'"{quoted}"' if " " in word else quoted)
    return " ".join(joined)


def _theirs(entry: EmuEntry) -> tuple[str | None, str, tuple[str, ...]]:
    kernel: str | None = None
    args = ""
    initrds: tuple[str, ...] = ()
    for call in entry.calls:
        if call.name in KERNEL and call.words:
            kernel, args, initrds = _name(call, call.words[0]), _join(call.words[1:]), ()
        elif call.name in INITRD and kernel is not None:
            initrds = tuple(_name(call, word) for word in call.words)
    return kernel, args, initrds


def _compare(parts: Callable[[str], Path], folder: Path, case: Case) -> None:
    real = GrubEmu(parts("grub-emu"), folder, case.disks(), case.config).menu()
    menu, loaded = _ours(folder, case)
    assert [(entry.title, entry.submenu) for entry in menu.entries] == [(e.title, e.submenu) for e in real.entries]
    assert [entry.id for entry in menu.entries] == [entry.split_options()[0] or entry.title for entry in real.entries]
    assert loaded == [_theirs(entry) for entry in real.entries]
    timeout = real.variables["timeout"]
    assert menu.timeout == (int(timeout) if timeout.isdigit() else None)


@pytest.mark.parametrize("name", WRITTEN)
def test_written_menu(parts: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    _compare(parts, tmp_path, WRITTEN[name])


@pytest.mark.parametrize("name", ["live", "control flow", "errors"])
def test_variables_at_the_end(parts: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    case = WRITTEN[name]
    shown = Case(case.text + '\nmenuentry "<$result>" { linux /k }\n', case.files, case.others)
    _compare(parts, tmp_path, shown)


@pytest.mark.parametrize("seed", range(GENERATED))
def test_generated_menu(parts: Callable[[str], Path], tmp_path: Path, seed: int) -> None:
    case = generated(seed)
    _compare(parts, tmp_path, Case(case.text + '\nmenuentry "<$result><$v><$w><$?>" { linux /k }\n'))
