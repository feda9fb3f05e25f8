"""Guests that pygrub does not start, or starts wrongly, and that are started rightly here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from gzip import compress
from pathlib import Path

import pytest

from fixtures.partitions import EXTENDED, GUID_LINUX, LINUX, GptEntry, MbrEntry, write_gpt, write_mbr
from tests.libxl.pygrub.conftest import Loader
from tests.libxl.pygrub.guests import FILES, FS_BYTES, MIB, make_disk, make_fs, write_tree
from tests.libxl.pygrub.menus import TWO

K, R = FILES["boot/vmlinuz"], FILES["boot/initrd.img"]
OLD, OLD_R = FILES["boot/vmlinuz-old"], FILES["boot/initrd-old"]
KERNEL, INITRD = "linux /boot/vmlinuz", "initrd /boot/initrd.img"
GRUBENV = b"# GRUB Environment Block\nsaved_entry=two\n".ljust(1024, b"#")
CHOICES = """
menuentry 'One' --id one {
 linux /boot/vmlinuz-old
}
menuentry 'Two' --id two {
 linux /boot/vmlinuz x
 initrd /boot/initrd.img
}
submenu 'More' --id more {
 menuentry 'Three' --id three {
  linux /boot/deep/er/kernel
 }
}
"""
DEEP = FILES["boot/deep/er/kernel"]
Guest = tuple[bytes, bytes | None, bytes | None]
WHOLE: Guest = (K, R, b"x")


def entry(body: str, head: str = "") -> bytes:
    return f"{head}\nmenuentry 'a' {{\n{body}\n}}\n".encode()


SAVED = 'load_env\nset default="${saved_entry}"\n'
# name -> (menus, the guest)
MENUS: dict[str, tuple[dict[str, bytes], Guest]] = {
    # menu.lst
    "latin-1 comment": ({"boot/grub/menu.lst": b"# gr\xfc\xdfe\ntitle a\nkernel /boot/vmlinuz\n"}, (K, None, None)),
    "two slashes": ({"boot/grub/menu.lst": b"title a\nkernel //boot//vmlinuz\n"}, (K, None, None)),
    "kernel options": ({"boot/grub/menu.lst": b"title a\nkernel --type=linux /boot/vmlinuz x\n"}, (K, None, b"x")),
    "negative default": ({"boot/grub/menu.lst": b"default -1\ntitle a\nkernel /boot/vmlinuz\n"}, (K, None, None)),
    "fallback": (
        {"boot/grub/menu.lst": b"fallback 1\ntitle a\nkernel /none\ntitle b\nkernel /boot/vmlinuz\n"},
        (K, None, None),
    ),
    "linux as a module of xen": (
        {"boot/grub/menu.lst": b"title a\nkernel /xen.gz m\nmodule /boot/vmlinuz x\nmodule /boot/initrd.img\n"},
        WHOLE,
    ),
    "broken first menu": (
        {"boot/grub/grub.cfg": b"# nothing here\n", "boot/grub/menu.lst": b"title a\nkernel /boot/vmlinuz\n"},
        (K, None, None),
    ),
    "compressed menu": ({"boot/grub/menu.lst": compress(b"title a\nkernel /boot/vmlinuz\n")}, (K, None, None)),
    # grub.cfg
    "no blank before the brace": ({"grub/grub.cfg": f"menuentry 'a'{{\n{KERNEL} x\n{INITRD}\n}}\n".encode()}, WHOLE),
    "unquoted title": ({"boot/grub/grub.cfg": f"menuentry a {{\n{KERNEL} x\n{INITRD}\n}}\n".encode()}, WHOLE),
    "brace on the next line": ({"grub/grub.cfg": f"menuentry 'a' \\\n{{\n{KERNEL} x\n{INITRD}\n}}\n".encode()}, WHOLE),
    "one line": ({"boot/grub2/grub.cfg": f"menuentry 'a' {{ {KERNEL} x; {INITRD}; }}\n".encode()}, WHOLE),
    "efi commands": ({"boot/grub/grub.cfg": entry("linuxefi /boot/vmlinuz x\ninitrdefi /boot/initrd.img")}, WHOLE),
    "two initrds": (
        {"boot/grub/grub.cfg": entry(f"{KERNEL} x\ninitrd /boot/initrd-old /boot/initrd.img")},
        (K, OLD_R + b"\0" + R, b"x"),
    ),
    "comment behind": ({"boot/grub/grub.cfg": entry(f"{KERNEL} x # y\n{INITRD} # z")}, WHOLE),
    "continued line": ({"boot/grub/grub.cfg": entry(f"linux /boot/vmlinuz \\\n x\n{INITRD}")}, WHOLE),
    "variables": ({"boot/grub/grub.cfg": entry(f"{KERNEL} $arg $none\n{INITRD}", "set arg=x\nexport arg")}, WHOLE),
    "two equal signs": ({"boot/grub/grub.cfg": entry(f"{KERNEL} x\n{INITRD}", 'set k="a=b=c"')}, WHOLE),
    "condition": (
        {"boot/grub/grub.cfg": entry(f'if [ "$a" = 1 ]; then\n{KERNEL} x\nelse\nlinux /none\nfi\n{INITRD}', "set a=1")},
        WHOLE,
    ),
    "default by title": ({"boot/grub/grub.cfg": f"set default=Two\n{CHOICES}".encode()}, WHOLE),
    "default by id": ({"boot/grub/grub.cfg": f"set default=two\n{CHOICES}".encode()}, WHOLE),
    "default in a submenu": (
        {"boot/grub/grub.cfg": f"set default='more>three'\n{CHOICES}".encode()},
        (DEEP, None, None),
    ),
    "saved entry": ({"boot/grub/grub.cfg": f"{SAVED}{CHOICES}".encode(), "boot/grub/grubenv": GRUBENV}, WHOLE),
    "source": (
        {"boot/grub/grub.cfg": b"source /boot/grub/more.cfg\n", "boot/grub/more.cfg": entry(f"{KERNEL} x\n{INITRD}")},
        WHOLE,
    ),
    "configfile": ({"boot/grub/grub.cfg": b"configfile /x.cfg\n", "x.cfg": entry(f"{KERNEL} x\n{INITRD}")}, WHOLE),
    "on an efi partition": ({"EFI/debian/grub.cfg": entry(f"{KERNEL} x\n{INITRD}")}, WHOLE),
    # extlinux
    "linux and initrd": (
        {"extlinux.conf": b"DEFAULT a\nLABEL a\nLINUX /boot/vmlinuz\nINITRD /boot/initrd.img\nAPPEND x\n"},
        WHOLE,
    ),
    "include": (
        {"extlinux.conf": b"INCLUDE /more.conf\n", "more.conf": b"LABEL a\nLINUX /boot/vmlinuz\n"},
        (K, None, None),
    ),
    "menu default": (
        {"extlinux.conf": b"LABEL a\nKERNEL /boot/vmlinuz-old\nLABEL b\nMENU DEFAULT\nKERNEL /boot/vmlinuz\n"},
        (K, None, None),
    ),
    "relative paths": (
        {"boot/extlinux/extlinux.conf": b"LABEL a\nLINUX ../vmlinuz\nINITRD ../initrd.img\nAPPEND x\n"},
        WHOLE,
    ),
    "late default": (
        {"extlinux.conf": b"LABEL a\nKERNEL /x\nLABEL b\nKERNEL /boot/vmlinuz\nDEFAULT b\n"},
        (K, None, None),
    ),
    # others
    "boot loader specification": (
        {"loader/entries/a.conf": b"title a\nlinux /boot/vmlinuz\ninitrd /boot/initrd.img\noptions x\n"},
        WHOLE,
    ),
    "xen's pv bootloader protocol": ({"boot/xen/pvboot-x86_64.elf": OLD}, (OLD, None, None)),
}


def right(loader: Loader, image: Path, guest: Guest) -> bool:
    boot = loader(image)
    return boot.code == 0 and boot.guest == guest


@pytest.mark.parametrize("name", MENUS)
def test_menu(name: str, ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    menus, guest = MENUS[name]
    make_disk(tmp_path / "d", "ext4", "mbr2", menus, tmp_path)
    boot = ours(tmp_path / "d")
    assert (boot.code, boot.guest) == (0, guest), boot.stderr
    assert not right(pygrub, tmp_path / "d", guest)


# --- where the file system is

SECTORS = FS_BYTES // 512


def logical(image: Path, tree: Path) -> None:
    inside = MbrEntry(LINUX, 4096, SECTORS)
    with open(image, "wb") as disk:
        disk.truncate(4 * MIB + FS_BYTES)
        write_mbr(disk, [None, MbrEntry(EXTENDED, 2048, SECTORS + 4096)], [inside])
    make_fs(image, "ext4", tree, inside.start * 512)


def large_sectors(image: Path, tree: Path) -> None:
    with open(image, "wb") as disk:
        disk.truncate(3 * MIB + FS_BYTES)
        write_gpt(disk, 3 * MIB + FS_BYTES, [GptEntry(GUID_LINUX, 256, FS_BYTES // 4096, "a")], 4096)
    make_fs(image, "ext4", tree, MIB)


def other_partition(image: Path, tree: Path) -> None:
    """The menu is on the first partition; its root command names the second, which alone has the kernel."""
    slots = [MbrEntry(LINUX, 2048 + i * SECTORS, SECTORS) for i in range(2)]
    with open(image, "wb") as disk:
        disk.truncate(MIB + 2 * FS_BYTES)
        write_mbr(disk, slots)
    make_fs(image, "ext4", tree, slots[1].start * 512)
    shutil.rmtree(tree / "boot/grub")
    menu = tree.parent / "menu"
    (menu / "grub").mkdir(parents=True)
    (menu / "grub/menu.lst").write_bytes(TWO.replace(b"(hd0,0)", b"(hd0,1)"))
    make_fs(image, "ext2-1k", menu, slots[0].start * 512)


def iso(*options: str) -> Callable[[Path, Path], None]:
    def make(image: Path, tree: Path) -> None:
        command = ["genisoimage", "-quiet", *options, "-o", str(image), str(tree)]
        subprocess.run(command, check=True, capture_output=True)

    return make


def hybrid(image: Path, tree: Path) -> None:
    """An ISO whose MBR shows an EFI partition, as installers' images have it."""
    iso("-r")(image, tree)
    with open(image, "r+b") as disk:
        write_mbr(disk, [None, MbrEntry(0xEF, 64, 128)])


PLACES: dict[str, Callable[[Path, Path], None]] = {
    "logical partition": logical,
    "sectors of 4096 bytes": large_sectors,
    "root on another partition": other_partition,
    "joliet alone": iso("-J"),
    "iso names alone": iso("-l"),
    "hybrid iso": hybrid,
}


@pytest.mark.parametrize("name", PLACES)
def test_place(name: str, ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write_tree(tree, {"boot/grub/menu.lst": TWO})
    if name == "iso names alone":  # and their links cannot be told
        for path in list(tree.rglob("*")):
            if path.is_symlink():
                path.unlink()
    PLACES[name](tmp_path / "d", tree)
    guest = (K, R, b"root=/dev/xvda1 ro")
    boot = ours(tmp_path / "d")
    assert (boot.code, boot.guest) == (0, guest), boot.stderr
    assert not right(pygrub, tmp_path / "d", guest)


def test_rock_ridge_link(ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write_tree(tree, {"boot/grub/menu.lst": b"title a\nkernel /vmlinuz\n"})
    iso("-r")(tmp_path / "d", tree)
    boot = ours(tmp_path / "d")
    assert (boot.code, boot.guest) == (0, (K, None, None)), boot.stderr
    assert not right(pygrub, tmp_path / "d", (K, None, None))
