"""Rules about the files that entries name: what triggers each, and what nearly does."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import pytest

from tests.check.guests import TINY64, Tree, check, grub_cfg, make_ext, menu_lst, of, plant, rules_of, run_tool

_FILE_RULES = (
    "missing-kernel-file missing-initrd-file missing-module-file wrong-case dangling-link kernel-is-directory "
    "not-a-regular-file unreadable-file empty-file truncated-file"
)
FILE_RULES = set(_FILE_RULES.split())
GOOD: Tree = {"boot/grub/menu.lst": menu_lst(), "boot/k": TINY64}


def found(tmp_path: Path, tree: Tree) -> set[str]:
    return rules_of(check(plant(tmp_path, {**GOOD, **tree}))) & FILE_RULES


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({}, set()),
        ({"boot/grub/menu.lst": menu_lst("/boot/kk")}, {"missing-kernel-file"}),
        ({"boot/grub/menu.lst": menu_lst("/bot/k")}, {"missing-kernel-file"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/k/k")}, {"missing-kernel-file"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/i")}, {"missing-initrd-file"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/i"), "boot/i": b"x"}, set()),
        ({"boot/grub/menu.lst": menu_lst("/boot/k", "module /boot/m a")}, {"missing-module-file"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/k", "module /boot/m a"), "boot/m": b"m"}, set()),
        ({"boot/grub/menu.lst": menu_lst("/boot/K")}, {"wrong-case"}),
        ({"boot/grub/menu.lst": menu_lst("/Boot/k")}, {"wrong-case"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/K"), "boot/K": TINY64}, set()),
        ({"boot/grub/menu.lst": menu_lst("/boot/l"), "boot/l": Path("gone")}, {"dangling-link"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/l"), "boot/l": Path("l")}, {"dangling-link"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/l"), "boot/l": Path("k")}, set()),
        ({"boot/grub/menu.lst": menu_lst("/boot/d"), "boot/d": None}, {"kernel-is-directory"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/d"), "boot/d": None}, {"not-a-regular-file"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/e"), "boot/e": b""}, {"empty-file"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/e"), "boot/e": b""}, {"empty-file"}),
        ({"boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/e"), "boot/e": b"1"}, set()),
        ({"boot/k": TINY64[: len(TINY64) // 3]}, {"truncated-file"}),
        ({"boot/k": TINY64 + b"signature"}, set()),
        ({"boot/k": gzip.compress(TINY64)}, set()),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, tree: Tree, expected: set[str]) -> None:
    assert found(tmp_path, tree) == expected


def test_a_device_node_is_not_a_kernel(tmp_path: Path) -> None:
    plant(tmp_path, GOOD)
    (tmp_path / "boot/k").unlink()
    os.mkfifo(tmp_path / "boot/k")
    assert rules_of(check(tmp_path)) & FILE_RULES == {"not-a-regular-file"}


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_whose_blocks_lie_outside_of_the_file_system(tmp_path: Path, damaged: bool) -> None:
    image = make_ext(tmp_path / "disk.img", plant(tmp_path / "tree", GOOD), kind="ext2", size="4M")
    if damaged:
        run_tool("debugfs", "-w", "-R", "set_inode_field /boot/k block[0] 99999999", image)
    assert rules_of(check(image)) & FILE_RULES == ({"unreadable-file"} if damaged else set())


@pytest.mark.parametrize(("cut", "expected"), [(False, set()), (True, {"truncated-file"})])
def test_a_linux_kernel_that_is_shorter_than_its_header_says(tmp_path: Path, cut: bool, expected: set[str]) -> None:
    head = bytearray(0x400)
    head[0x1F1] = 1
    head[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x20F)
    struct.pack_into("<II", head, 0x248, 0x100, 5000)
    whole = bytes(head) + bytes(0x100 + 5000)
    assert found(tmp_path, {"boot/k": whole[: -1 if cut else None]}) & {"truncated-file"} == expected


# --- what is said, and where ------------------------------------------------------------------------------


def test_the_place_is_the_name_and_the_right_spelling_is_offered(tmp_path: Path) -> None:
    tree: Tree = {"boot/grub/menu.lst": menu_lst("/boot/vmlinuz-6.1.0-50-amd46"), "boot/vmlinuz-6.1.0-50-amd64": TINY64}
    (finding,) = of(check(plant(tmp_path, tree)), "missing-kernel-file")
    assert (finding.line, finding.column, finding.end_column, finding.entry) == (4, 8, 36, 0)
    assert "did you mean /boot/vmlinuz-6.1.0-50-amd64?" in finding.message
    assert finding.severity == "error"


def test_nothing_alike_is_not_offered(tmp_path: Path) -> None:
    tree = {**GOOD, "boot/grub/menu.lst": menu_lst("/boot/x86/bz")}
    (finding,) = of(check(plant(tmp_path, tree)), "missing-kernel-file")
    assert "did you mean" not in finding.message


def test_a_name_in_other_case_says_the_right_one(tmp_path: Path) -> None:
    (finding,) = of(check(plant(tmp_path, {**GOOD, "boot/grub/menu.lst": menu_lst("/BOOT/k")})), "wrong-case")
    assert "/boot/k" in finding.message


def test_a_dangling_link_says_where_it_points(tmp_path: Path) -> None:
    tree = {**GOOD, "boot/grub/menu.lst": menu_lst("/boot/l"), "boot/l": Path("../gone")}
    (finding,) = of(check(plant(tmp_path, tree)), "dangling-link")
    assert "../gone" in finding.message


GRUB_ENTRY = grub_cfg("linux /boot/k root=/dev/xvda1", "initrd\t/boot/nowhere /boot/k")
EXTLINUX = "TIMEOUT 50\nDEFAULT a\nLABEL a\n  LINUX ../k\n  INITRD ../nowhere\n  APPEND root=/dev/xvda1\n"


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("boot/grub/grub.cfg", GRUB_ENTRY, (5, 9, 22)),
        ("boot/extlinux/extlinux.conf", EXTLINUX, (5, 10, 20)),
        ("loader/entries/a.conf", "title A\nlinux /boot/k\ninitrd /nowhere\noptions root=/dev/xvda1\n", (3, 8, 16)),
    ],
)
def test_other_dialects_name_the_line_too(tmp_path: Path, name: str, text: str, place: tuple[int, ...]) -> None:
    (finding,) = of(check(plant(tmp_path, {name: text, "boot/k": TINY64})), "missing-initrd-file")
    assert (finding.line, finding.column, finding.end_column) == place
    assert finding.file.endswith(f"/{name}")


def test_of_many_missing_files_only_the_first_get_a_hint(tmp_path: Path) -> None:
    """Listing directories and comparing names costs; a menu must not make a check do it for ever."""
    text = "default 0\ntimeout 5\n" + "".join(
        f"title {n}\nkernel (hd0)/boot/vmlinuz-{n}x root=/dev/xvda1\n" for n in range(60)
    )
    tree: Tree = {"boot/grub/menu.lst": text, **{f"boot/vmlinuz-{n}": TINY64 for n in range(60)}}
    found = of(check(plant(tmp_path, tree), per_rule=100), "missing-kernel-file")
    assert len(found) == 60
    assert ["did you mean" in finding.message for finding in found] == [True] * 50 + [False] * 10
