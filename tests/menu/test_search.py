"""Which of several menus is taken, in which places they are looked for, and the guest's own boot loader."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pvboot.errors import MenuError
from pvboot.menu import find, load
from pvboot.menu.dialects import DIALECTS, dialect_of, search_order
from pvboot.sources import open_devices
from tests.conftest import RunCli
from tests.menu.trees import load_tree, messages, plant

EXTLINUX = "LABEL e\nLINUX /k\n"
MENU_LST = "title m\nroot (hd0,0)\nkernel /k\n"
BLS = "title b\nlinux /k\n"
ELILO = "image=/k\nlabel=l\n"
TEXTS = {
    "extlinux": EXTLINUX,
    "menu.lst": MENU_LST,
    "elilo": ELILO,
    "bls": BLS,
    "grub.cfg": "menuentry g {\n linux /k\n}\n",
}
ELF = "boot/xen/pvboot-x86_64.elf"


def _file_of(path: str) -> str:
    """A file that makes the path of the search order exist."""
    return path.replace("*", "debian").lstrip("/") + ("a.conf" if path.endswith("/") else "")


PLACES = [(dialect.name, path) for dialect, path in search_order()]


@pytest.mark.parametrize(("dialect", "path"), PLACES, ids=[path for _dialect, path in PLACES])
def test_every_place(tmp_path: Path, dialect: str, path: str) -> None:
    menu, files = load_tree(tmp_path, {_file_of(path): TEXTS[dialect]})
    assert (menu.dialect, menu.path) == (dialect, path.replace("*", "debian").rstrip("/"))
    assert dialect == "menu.lst" or (files[0].kernel or "").endswith("/k")
    assert messages(menu) == []


@pytest.mark.parametrize("count", range(1, len(PLACES)))
def test_order_of_places(tmp_path: Path, count: int) -> None:
    load = {_file_of(path): TEXTS[dialect] for dialect, path in PLACES[count:]}
    assert load_tree(tmp_path, load)[0].dialect == PLACES[count][0]


def test_pygrubs_places_come_first_in_its_order() -> None:
    pygrubs = [
        "/boot/isolinux/isolinux.cfg",
        "/boot/extlinux/extlinux.conf",
        "/boot/extlinux.conf",
        "/extlinux/extlinux.conf",
        "/extlinux.conf",
        "/boot/grub/menu.lst",
        "/boot/grub/grub.conf",
        "/grub/menu.lst",
        "/grub/grub.conf",
    ]
    paths = [path for dialect, path in search_order() if dialect.name != "grub.cfg"]
    assert paths[: len(pygrubs)] == pygrubs


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("", "none of its entries loads a kernel"),
        ("LABEL x\nLOCALBOOT 0\n", "none of its entries loads a kernel"),
        (b"\x1f\x8b\x08broken", "the compressed menu is damaged"),
        (b"\xff\xfe\0\1" * 100, "none of its entries loads a kernel"),
    ],
    ids=["empty", "no kernel", "damaged", "garbage"],
)
def test_menu_that_cannot_boot_is_followed_by_the_next(tmp_path: Path, first: str | bytes, reason: str) -> None:
    menu, _files = load_tree(tmp_path, {"boot/extlinux/extlinux.conf": first, "boot/grub/menu.lst": MENU_LST})
    assert menu.path == "/boot/grub/menu.lst"
    assert any(
        message.startswith("(hd0)/boot/extlinux/extlinux.conf is passed over: ") and reason in message
        for message in messages(menu)
    )


def test_menu_that_cannot_boot_is_followed_by_the_next_volume(tmp_path: Path) -> None:
    first, second = plant(tmp_path / "a", {"extlinux.conf": ""}), plant(tmp_path / "b", {"extlinux.conf": EXTLINUX})
    with open_devices(str(first), [str(second)]) as devices:
        assert load(devices, find(devices)).volume == "(hd1)"


def test_first_menu_is_shown_when_none_can_boot(tmp_path: Path) -> None:
    files = {"extlinux.conf": "LABEL x\nLOCALBOOT 0\n", "boot/grub/menu.lst": "title A\nboot\n"}
    assert load_tree(tmp_path, files)[0].path == "/extlinux.conf"


def test_only_menu_that_is_damaged_says_how(tmp_path: Path) -> None:
    with pytest.raises(MenuError, match="compressed menu is damaged"):
        load_tree(tmp_path, {"extlinux.conf": b"\x1f\x8b\x08broken"})


def test_empty_directory_of_entries_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "loader/entries").mkdir(parents=True)
    assert load_tree(tmp_path, {"elilo.conf": ELILO})[0].dialect == "elilo"


def test_file_in_place_of_a_directory(tmp_path: Path) -> None:
    assert load_tree(tmp_path, {"loader/entries": "x", "elilo.conf": ELILO})[0].dialect == "elilo"


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/x/extlinux.conf", "extlinux"),
        ("/x/ISOLINUX.CFG", "extlinux"),
        ("/a/elilo.conf", "elilo"),
        ("/a/loader/entries/", "bls"),
        ("/a/menu.lst", "menu.lst"),
        ("/a/grub.conf", "menu.lst"),
        ("/a/other", "menu.lst"),
        ("/boot/grub.cfg-01-52-54-00-12-34-56", "grub.cfg"),
        ("/boot/pxelinux.cfg/default", "extlinux"),
        ("/pxelinux.cfg/01-52-54-00-12-34-56", "extlinux"),
        ("/pxelinux.cfg", "menu.lst"),
    ],
)
def test_dialect_of_a_menu_named_by_hand(path: str, dialect: str) -> None:
    assert dialect_of(path).name == dialect


@pytest.mark.parametrize("config", ["/x/loader/entries", "(hd0)/x/loader/entries/"])
def test_directory_named_by_hand(tmp_path: Path, config: str) -> None:
    menu, _files = load_tree(tmp_path, {"x/loader/entries/a.conf": BLS}, config)
    assert (menu.dialect, len(menu.entries)) == ("bls", 1)


def test_plain_extlinux_file(tmp_path: Path) -> None:
    plant(tmp_path, {"extlinux.conf": EXTLINUX})
    with open_devices(str(tmp_path / "extlinux.conf")) as devices:
        menu = load(devices, find(devices))
    assert (menu.dialect, menu.volume) == ("extlinux", None)


def test_another_reader_for_a_found_menu(tmp_path: Path) -> None:
    plant(tmp_path, {"extlinux.conf": EXTLINUX})
    elilo = next(dialect for dialect in DIALECTS if dialect.name == "elilo")
    with open_devices(str(tmp_path)) as devices:
        found = replace(find(devices), dialect=elilo)
        assert load(devices, found).dialect == "elilo"


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (["EFI/debian"], "/EFI/debian/elilo.conf"),
        (["Efi/BOOT", "Efi/suse"], "/Efi/suse/elilo.conf"),
        (["EFI/boot"], "/EFI/boot/elilo.conf"),
        (["efi/b", "efi/a"], "/efi/a/elilo.conf"),
    ],
    ids=["capitals", "BOOT comes last", "only BOOT", "by name"],
)
def test_directories_of_the_firmware(tmp_path: Path, names: list[str], path: str) -> None:
    menu, _files = load_tree(tmp_path, {f"{name}/elilo.conf": ELILO for name in names})
    assert (menu.dialect, menu.path) == ("elilo", path)


@pytest.mark.parametrize("rock_ridge", [True, False])
def test_iso_spelt_in_capitals(tmp_path: Path, rock_ridge: bool) -> None:
    plant(tmp_path / "tree", {"ISOLINUX/ISOLINUX.CFG": "LABEL a\nKERNEL VMLINUZ\n", "ISOLINUX/VMLINUZ": "k"})
    image = tmp_path / "live.iso"
    command = ["genisoimage", "-quiet", *(["-R"] if rock_ridge else []), "-o", str(image), str(tmp_path / "tree")]
    subprocess.run(command, check=True, capture_output=True)
    with open_devices(str(image)) as devices:
        menu = load(devices, find(devices))
        assert menu.entries[0].files is not None
        kernel = menu.entries[0].files().kernel
    assert (menu.dialect, menu.path.lower()) == ("extlinux", "/isolinux/isolinux.cfg")
    assert kernel is not None
    assert kernel.lower() == "/isolinux/vmlinuz"


# --- the Xen PV bootloader protocol


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ([ELF], "/boot/xen/pvboot-x86_64.elf"),
        (["xen/pvboot-x86_64.elf"], "/xen/pvboot-x86_64.elf"),
        ([ELF, "xen/pvboot-x86_64.elf"], "/boot/xen/pvboot-x86_64.elf"),
        (["xen/pvboot-i386.elf"], "/xen/pvboot-i386.elf"),
        (["boot/xen/pvboot-i386.elf", "xen/pvboot-x86_64.elf"], "/xen/pvboot-x86_64.elf"),
    ],
)
def test_loader_of_the_guest_is_the_menu_when_there_is_none(tmp_path: Path, files: list[str], path: str) -> None:
    menu, found = load_tree(tmp_path, dict.fromkeys(files, "ELF"))
    assert (menu.dialect, menu.path, menu.default, menu.timeout) == ("pvboot", path, 0, 0)
    assert (found[0].kernel, found[0].args, found[0].root) == (path, "", "(hd0)")


def test_loader_is_the_last_entry_of_a_menu(tmp_path: Path) -> None:
    menu, found = load_tree(tmp_path, {ELF: "ELF", "extlinux.conf": EXTLINUX})
    assert (menu.dialect, [entry.id for entry in menu.entries], menu.default) == ("extlinux", ["e", "pvboot"], 0)
    assert found[1].kernel == f"/{ELF}"


def test_loader_is_chosen_when_no_menu_can_boot(tmp_path: Path) -> None:
    menu, _files = load_tree(tmp_path, {ELF: "ELF", "extlinux.conf": ""})
    assert menu.dialect == "pvboot"
    assert "extlinux.conf is passed over" in messages(menu)[0]


def test_menu_on_a_later_volume_comes_before_a_loader(tmp_path: Path) -> None:
    first, second = plant(tmp_path / "a", {ELF: "ELF"}), plant(tmp_path / "b", {"extlinux.conf": EXTLINUX})
    with open_devices(str(first), [str(second)]) as devices:
        menu = load(devices, find(devices))
        assert menu.entries[1].files is not None
        loader = menu.entries[1].files()
    assert (menu.volume, menu.default, loader.root) == ("(hd1)", 0, "(hd0)")


def test_directory_called_like_a_loader_is_none(tmp_path: Path) -> None:
    (tmp_path / ELF).mkdir(parents=True)
    with pytest.raises(MenuError, match="no boot menu"):
        load_tree(tmp_path, {})


# --- as the command line shows it


def test_json_of_a_modern_menu(tmp_path: Path, run_cli: RunCli) -> None:
    text = "MENU BEGIN More\nLABEL a\nMENU LABEL A\nLINUX ../k\nINITRD /i,/j\nAPPEND x y\nMENU END\n"
    plant(tmp_path, {"boot/extlinux/extlinux.conf": text, "boot/k": "k", ELF: "ELF"})
    document = json.loads(run_cli("menu", "--json", tmp_path).stdout)
    assert document["menu"] == {"volume": "(hd0)", "path": "/boot/extlinux/extlinux.conf", "dialect": "extlinux"}
    assert document["entries"][0] == {
        "index": 0,
        "title": "A",
        "id": "a",
        "submenu": ["More"],
        "locked": False,
        "line": 2,
        "root": "(hd0)",
        "kernel": "/boot/k",
        "args": "x y",
        "modules": [{"path": "/i", "args": ""}, {"path": "/j", "args": ""}],
        "initrds": ["/i", "/j"],
    }
    assert document["entries"][1]["kernel"] == f"/{ELF}"


def test_image_with_partitions(tmp_path: Path, images: Callable[[str], Path], run_cli: RunCli) -> None:
    document = json.loads(run_cli("menu", "--json", images("gpt.img")).stdout)
    assert document["menu"]["dialect"] == "menu.lst"
