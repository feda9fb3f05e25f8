"""The table of file system features, held to the loaders themselves: GRUB 2's readers and pygrub of Xen 4.17."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.check.loaders import LOADERS
from pvboot.check.volumes import ext_superblock, unreadable_features
from pvboot.device_names import Device
from pvboot.sources import open_devices
from tests.check.guests import TINY64, make_ext, menu_lst, plant
from tests.libxl.pygrub.conftest import Loader, pygrub

__all__ = ["pygrub"]

_FEATURES = (
    "64bit metadata_csum metadata_csum,metadata_csum_seed inline_data large_dir casefold bigalloc meta_bg encrypt "
    "ea_inode mmp"
)
FEATURES = tuple(_FEATURES.split())


def image_with(folder: Path, features: str, block_bytes: int) -> Path:
    tree = plant(folder / "tree", {"boot/grub/menu.lst": menu_lst(), "boot/k": TINY64})
    base = "none,filetype,sparse_super,extent,flex_bg"
    return make_ext(folder / "disk.img", tree, "-O", f"{base},{features}", "-b", str(block_bytes), size="8M")


def predicted(image: Path, loader: str) -> bool:
    with open_devices(str(image)) as devices:
        superblock = ext_superblock(devices, Device("hd"))
        assert superblock is not None
        return not unreadable_features(superblock, LOADERS[loader])


@pytest.mark.parametrize("block_bytes", [1024, 4096])
@pytest.mark.parametrize("features", FEATURES)
def test_grub_2_reads_what_the_table_says(
    tmp_path: Path, features: str, block_bytes: int, parts: Callable[[str], Path]
) -> None:
    image = image_with(tmp_path, features, block_bytes)
    program = parts("grub-emu") / "root/usr/bin/grub-fstest"
    done = subprocess.run([program, image, "cat", "(loop0)/boot/k"], capture_output=True)
    assert (done.stdout == TINY64) is predicted(image, "pvgrub2")


@pytest.mark.parametrize("block_bytes", [1024, 4096])
@pytest.mark.parametrize("features", FEATURES)
def test_pygrub_reads_what_the_table_says(tmp_path: Path, features: str, block_bytes: int, pygrub: Loader) -> None:
    image = image_with(tmp_path, features, block_bytes)
    assert (pygrub(image).kernel == TINY64) is predicted(image, "pygrub")
