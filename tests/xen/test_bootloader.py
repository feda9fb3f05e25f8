"""`xl create` with `bootloader=` pvboot-pygrub: guests from their own disks, started by the real toolstack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import make_images
from fixtures.partitions import LINUX, MbrEntry, write_mbr
from tests.xen.guests import Outcome, run_guest
from tests.xen.machine import Machine

pytestmark = pytest.mark.slow

Images = Callable[[str], Path]

PVBOOT = "/host/pvboot-pygrub"


@pytest.fixture(scope="module")
def grub_cfg_disk(parts: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 partition with the kernels in its root and a grub.cfg that finds them by UUID."""
    text = (Path(__file__).parent / "grub.cfg").read_text()
    text = text.replace("@UUID@", make_images.ROOT_UUID).replace("@MODULE_WORDS@", make_images.MODULE_WORDS)
    tree = {
        "boot/grub/grub.cfg": text.encode(),
        "vmlinuz": parts("vmlinuz-6.1").read_bytes(),
        "initrd.img": parts("initrd-busybox.cpio.gz").read_bytes(),
        "tiny64.elf": make_images.kernel("tiny64.elf"),
        "module.txt": make_images.MODULE,
    }
    disk = tmp_path_factory.mktemp("grub-cfg") / "disk.img"
    partition = MbrEntry(LINUX, 2048, (30 << 20) // 512, active=True)
    with open(disk, "wb") as file:
        file.truncate(32 << 20)
        write_mbr(file, [partition])
    make_images.make_ext(disk, tree, partition.sectors * 512, "ext4", partition.start * 512)
    return disk


def assert_reached_user_space(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome
    assert "pvboot-initrd: hello from user space" in outcome.console, outcome
    assert "pvboot-initrd: powering off" in outcome.console, outcome


def test_linux_starts_from_menu_lst(xen: Machine, images: Images) -> None:
    """The countdown of the menu runs out, as when nobody looks at the console."""
    outcome = run_guest(xen, disk=images("debian.img"), bootloader=PVBOOT)
    assert_reached_user_space(outcome)
    words = f"command line: root=UUID={make_images.ROOT_UUID} ro console=hvc0 earlyprintk=xen"
    assert words in outcome.console, outcome


def test_linux_starts_from_grub_cfg(xen: Machine, grub_cfg_disk: Path) -> None:
    outcome = run_guest(xen, disk=grub_cfg_disk, bootloader=PVBOOT)
    assert_reached_user_space(outcome)
    assert f"command line: root=UUID={make_images.ROOT_UUID} ro quiet console=hvc0" in outcome.console, outcome


def test_an_entry_of_a_submenu_starts(xen: Machine, grub_cfg_disk: Path) -> None:
    outcome = run_guest(xen, disk=grub_cfg_disk, bootloader=PVBOOT, bootloader_args=["--quiet", "--entry=1"])
    assert outcome.status == 0, outcome
    assert "pvboot-tiny64: all checks passed" in outcome.console, outcome
    assert f"command line: console=hvc0 {make_images.MODULE_WORDS}" in outcome.console, outcome


@pytest.mark.parametrize("image", ["ext2.img", "mbr.img", "gpt.img", "rockridge-joliet.iso"])
def test_kernel_and_ramdisk_of_an_entry_reach_the_guest_unharmed(xen: Machine, images: Images, image: str) -> None:
    """The guest knows its ramdisk's length and checksum from the command line."""
    outcome = run_guest(xen, disk=images(image), bootloader=PVBOOT, bootloader_args=["--quiet", "--entry=1"])
    assert outcome.status == 0, outcome
    assert f"command line: console=hvc0 {make_images.MODULE_WORDS}" in outcome.console, outcome
    assert "pvboot-tiny64: all checks passed" in outcome.console, outcome


def test_the_guest_hears_the_same_from_pygrub_and_from_pvboot(xen: Machine, images: Images) -> None:
    consoles = []
    for bootloader in ("pygrub", PVBOOT):
        arguments = ["--quiet", "--entry=2"]
        outcome = run_guest(xen, disk=images("ext2.img"), bootloader=bootloader, bootloader_args=arguments)
        assert "pvboot-tiny64-p2m: all checks passed" in outcome.console, outcome
        lines = outcome.console.splitlines()
        consoles.append([line for line in lines if "_mfn " not in line and "(mfn)" not in line])
    assert consoles[0] == consoles[1]


def test_a_disk_with_nothing_to_boot_is_refused_with_a_reason(xen: Machine, tmp_path: Path) -> None:
    disk = tmp_path / "empty.img"
    make_images.make_ext(disk, {"README": b"nothing here\n"}, 1 << 20)
    outcome = run_guest(xen, disk=disk, bootloader=PVBOOT)
    assert outcome.status not in (0, None), outcome
    assert outcome.bootloader.startswith("pvboot-pygrub: "), outcome
    assert len(outcome.bootloader.splitlines()) == 1, outcome
