"""The made images, judged by the tools of their formats."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import make_images
from fixtures.make_images import IMAGES, MIB

Images = Callable[[str], Path]

# Where the file system with the menu begins, in bytes.
MENU_OFFSETS = {
    "ext2.img": 0,
    "mbr.img": MIB,
    "gpt.img": 2 * MIB,
    "gpt4096.img": 2 * MIB,
    "gpt-hybrid.img": 2 * MIB,
    "debian.img": MIB,
}
ISOS = ["rockridge-joliet.iso", "hybrid.iso"]


def debugfs(image: Path, offset_bytes: int, command: str) -> bytes:
    target = f"{image}?offset={offset_bytes}"
    done = subprocess.run(["/usr/sbin/debugfs", "-R", command, target], capture_output=True, check=True)
    return done.stdout


def cut_out(image: Path, offset_bytes: int, into: Path) -> Path:
    """The rest of an image from an offset on, as e2fsck wants it."""
    with open(image, "rb") as source:
        source.seek(offset_bytes)
        into.write_bytes(source.read())
    return into


@pytest.mark.parametrize("name", MENU_OFFSETS)
def test_e2fsck_finds_nothing_wrong(images: Images, name: str, tmp_path: Path) -> None:
    volume = cut_out(images(name), MENU_OFFSETS[name], tmp_path / "volume")
    done = subprocess.run(["/usr/sbin/e2fsck", "-fn", volume], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", MENU_OFFSETS)
def test_the_menu_is_where_grub_looks_for_it(images: Images, name: str) -> None:
    menu = debugfs(images(name), MENU_OFFSETS[name], "cat /boot/grub/menu.lst").decode()
    assert menu.count("\ntitle") >= 2 and "\ndefault" in menu


@pytest.mark.parametrize("name", ISOS)
def test_iso_holds_menu_and_kernels_by_their_long_names(images: Images, name: str, tmp_path: Path) -> None:
    command = ["xorriso", "-indev", images(name), "-osirrox", "on", "-extract", "/", tmp_path / "tree"]
    subprocess.run(command, check=True, capture_output=True)
    for path, content in make_images.tiny_tree("(hd0)").items():
        if isinstance(content, bytes):
            assert (tmp_path / "tree" / path).read_bytes() == content
        else:
            assert (tmp_path / "tree" / path).readlink() == Path(content.target)


def partitions(image: Path) -> dict[int, int]:
    """Partition number -> start in bytes, as sfdisk sees the table."""
    table = json.loads(subprocess.check_output(["/usr/sbin/sfdisk", "-J", image]))["partitiontable"]
    return {int(part["node"].removeprefix(str(image))): part["start"] * 512 for part in table["partitions"]}


def test_sfdisk_sees_primary_swap_extended_and_two_logical_partitions(images: Images) -> None:
    found = partitions(images("mbr.img"))
    assert set(found) == {1, 2, 4, 5, 6} and found[1] == MIB
    for number, text in ((5, b"first logical\n"), (6, b"second logical\n")):
        assert debugfs(images("mbr.img"), found[number], "cat /which.txt") == text


@pytest.mark.parametrize("name", ["gpt.img", "gpt-hybrid.img"])
def test_sfdisk_sees_the_gpt_and_its_unused_slot(images: Images, name: str) -> None:
    assert partitions(images(name)) == {1: MIB, 3: 2 * MIB}
    verified = subprocess.run(["/usr/sbin/sfdisk", "-V", images(name)], capture_output=True, text=True, check=True)
    assert "No errors detected" in verified.stdout


def test_gpt_of_a_4096_byte_disk_counts_4096_byte_sectors(images: Images) -> None:
    """sfdisk has no sector size option for files, so its header is checked against the rule: LBA 1 is byte 4096."""
    data = images("gpt4096.img").read_bytes()
    assert data[4096:4104] == b"EFI PART" and data[-4096:-4088] == b"EFI PART"
    entry = data[2 * 4096 + 2 * 128 :]
    assert int.from_bytes(entry[32:40], "little") * 4096 == MENU_OFFSETS["gpt4096.img"]


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_the_same_on_every_run(images: Images, name: str, tmp_path: Path) -> None:
    assert make_images.make(name, tmp_path).read_bytes() == images(name).read_bytes()


def test_debian_disk_holds_the_kernel_its_menu_names(images: Images, parts: Callable[[str], Path]) -> None:
    image = images("debian.img")
    menu = debugfs(image, MIB, "cat /boot/grub/menu.lst").decode()
    lines = [line.split() for line in menu.splitlines()]
    kernel = next(words[1] for words in lines if words[:1] == ["kernel"])
    initrd = next(words[1] for words in lines if words[:1] == ["initrd"])
    assert debugfs(image, MIB, f"cat {kernel}") == parts("vmlinuz-6.1").read_bytes()
    assert debugfs(image, MIB, f"cat {initrd}") == parts("initrd-busybox.cpio.gz").read_bytes()


def test_files_of_an_ext_tree_lie_where_they_belong(tmp_path: Path) -> None:
    tree = {"a/b/deep": b"1", "d/e": b"2", "top": b"3"}
    make_images.make_ext(tmp_path / "image", tree, MIB)
    for path, content in tree.items():
        assert debugfs(tmp_path / "image", 0, f"cat /{path}") == content


def test_a_tree_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(make_images.ImageError, match=r"debugfs: .*Could not allocate"):
        make_images.make_ext(tmp_path / "image", {"big": bytes(range(1, 256)) * 10_000}, MIB)


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_program(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("mke2fs")

    monkeypatch.setattr(subprocess, "run", no_such_program)
    with pytest.raises(make_images.ImageError, match=r"mke2fs not found.*debian-packages\.txt"):
        make_images.make("ext2.img", tmp_path)


def test_unknown_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(make_images.ImageError, match=r"unknown image 'floppy\.img'"):
        make_images.make("floppy.img", tmp_path)
