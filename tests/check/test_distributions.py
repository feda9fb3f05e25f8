"""Real menus must not be called wrong: what distributions write has only the warnings that it deserves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.check.engine import check_source
from pvboot.check.loaders import LOADERS
from pvboot.check.model import CheckOptions, Target
from tests.distributions import INITRD, KERNEL, boots, check_of, distributions, menu_check_of, rules_of
from tests.libxl.pygrub.conftest import Loader, pygrub

__all__ = ["pygrub"]

Disks = Callable[[str], tuple[str, ...]]
# Made of all words that there are; it names menus and servers that no guest has.
GUESTS = sorted(set(distributions()) - {"menu-lst-words"})
# Menus that these loaders do not obey whole: PV-GRUB knows neither `uuid` nor hashes of passwords, pygrub
# neither modules nor a `root` without a device.
TROUBLE = {
    "pv-grub": {"ubuntu-9.04", "rhel-5-dom0", "rhel-6", "menu-lst-words"},
    "pygrub": {"debian-5", "debian-7-dom0", "opensuse-11.4-dom0", "opensuse-13.1", "rhel-5-dom0", "menu-lst-words"},
    "pvboot": set(),
}


@pytest.mark.parametrize("name", distributions())
def test_what_is_said_of_a_menu_and_its_guest(name: str, guest_disks: Disks) -> None:
    guest = distributions()[name]
    found = {"menu": menu_check_of(guest.menu), "guest": check_of(guest_disks(name))}
    assert found == guest.expect["check"]


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_that_boots_is_not_called_wrong(name: str, guest_disks: Disks) -> None:
    expected = distributions()[name].expect
    assert "error" not in expected["check"]["guest"].values() and "pvboot" in expected["boots"]
    assert [loader for loader in LOADERS if boots(guest_disks(name), loader)] == expected["boots"]


@pytest.mark.parametrize("name", distributions("menu.lst"))
@pytest.mark.parametrize("loader", TROUBLE)
def test_what_a_loader_does_not_understand_in_menu_lst(name: str, loader: str, tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_bytes(distributions()[name].menu.read_bytes())
    found = rules_of(check_source(str(tmp_path / "menu.lst"), CheckOptions(target=Target(loader=loader))))
    assert ("error" in found.values()) is (name in TROUBLE[loader])


@pytest.mark.parametrize("name", ["fedora-40", "alpine"])
def test_pygrub_and_words_that_it_does_not_know(name: str, guest_disks: Disks) -> None:
    assert check_of(guest_disks(name), "pygrub")["word-not-known-to-loader"] == "error"


@pytest.mark.parametrize("name", [name for name in GUESTS if "second_disk" not in distributions()[name].expect])
def test_the_verdict_about_pygrub_is_what_pygrub_does(name: str, guest_disks: Disks, pygrub: Loader) -> None:
    boot = pygrub(Path(guest_disks(name)[0]))
    guest = distributions()[name].expect
    ramdisk = INITRD if guest["entries"][guest["default"]]["modules"] else None
    assert ((boot.kernel, boot.ramdisk) == (KERNEL, ramdisk)) is ("pygrub" in guest["boots"]), boot.stderr
