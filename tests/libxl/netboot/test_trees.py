"""Installation trees are found as distributions lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.directory import DirectoryFilesystem
from fsdrivers.errors import NotFound
from pvboot.errors import BootError
from pvboot.libxl.netboot import trees

FEDORA = """\
[general]
arch = x86_64
family = Fedora
[images-x86_64]
initrd = images/pxeboot/initrd.img
kernel = images/pxeboot/vmlinuz
[images-xen]
initrd = images/pxeboot/initrd-xen.img
kernel = images/pxeboot/vmlinuz-xen
[stage2]
mainimage = images/install.img
"""


def make(folder: Path, *names: str) -> DirectoryFilesystem:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return DirectoryFilesystem(str(folder))


def read(pair: tuple[trees.File, trees.File]) -> tuple[str, str]:
    kernel, ramdisk = pair
    return kernel.read_at(0, 4096).decode(), ramdisk.read_at(0, 4096).decode()


@pytest.mark.parametrize("kernel, ramdisk", trees.PLACES)
def test_every_known_place_is_found(tmp_path: Path, kernel: str, ramdisk: str) -> None:
    filesystem = make(tmp_path, kernel, ramdisk, "README")
    assert read(trees.find_tree(filesystem)) == (kernel, ramdisk)


def test_kernels_made_for_xen_come_first(tmp_path: Path) -> None:
    names = [name for pair in trees.PLACES for name in pair]
    assert read(trees.find_tree(make(tmp_path, *names))) == trees.PLACES[0]


def test_kernel_and_ramdisk_belong_to_each_other(tmp_path: Path) -> None:
    """A kernel of one place is not given the ramdisk of another."""
    filesystem = make(tmp_path, "images/xen/vmlinuz", "isolinux/vmlinuz", "isolinux/initrd.img")
    assert read(trees.find_tree(filesystem)) == ("isolinux/vmlinuz", "isolinux/initrd.img")


def test_a_tree_that_describes_itself_is_believed_first(tmp_path: Path) -> None:
    filesystem = make(
        tmp_path,
        "images/xen/vmlinuz",
        "images/xen/initrd.img",
        "images/pxeboot/vmlinuz-xen",
        "images/pxeboot/initrd-xen.img",
    )
    (tmp_path / ".treeinfo").write_text(FEDORA)
    assert read(trees.find_tree(filesystem)) == ("images/pxeboot/vmlinuz-xen", "images/pxeboot/initrd-xen.img")


def test_what_a_description_names_but_is_not_there_is_passed_over(tmp_path: Path) -> None:
    filesystem = make(tmp_path, "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img")
    (tmp_path / ".treeinfo").write_text(FEDORA)
    assert read(trees.find_tree(filesystem)) == ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img")


def test_a_description_cannot_lead_out_of_the_tree() -> None:
    assert trees.read_treeinfo("[images-xen]\nkernel=../../etc/shadow\ninitrd=x\n") == []


@given(st.text(max_size=400))
def test_any_text_is_a_description_or_none(text: str) -> None:
    for kernel, initrd in trees.read_treeinfo(text):
        assert kernel and initrd


def test_an_unknown_tree_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BootError, match=r"no installation tree is known here.*--kernel and --ramdisk name others"):
        trees.find_tree(make(tmp_path, "something/else"))


@pytest.mark.parametrize("name", ["../x", "a/../../x", ".."])
def test_names_do_not_lead_out_of_the_location(name: str) -> None:
    with pytest.raises(BootError, match=r"\.\."):
        trees.join("/", name)


def test_an_error_of_the_server_is_not_taken_for_a_file_that_is_missing(tmp_path: Path) -> None:
    class Broken(DirectoryFilesystem):
        def lookup(self, path: str, *, follow: bool = True) -> trees.Stat:  # type: ignore[name-defined]
            raise OSError(5, "the server is down")

    with pytest.raises(OSError, match="down"):
        trees.find_tree(Broken(str(tmp_path)))
    with pytest.raises(NotFound):
        DirectoryFilesystem(str(tmp_path)).lookup("/x")
