"""Guests' disks for both boot loaders: file systems, partition tables, menus."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fixtures.partitions import GUID_BIOS_BOOT, GUID_LINUX, LINUX, SWAP, GptEntry, MbrEntry, write_gpt, write_mbr

MIB = 1 << 20
SECTOR = 512
FS_BYTES = 3 * MIB

FILE_SYSTEMS: dict[str, list[str]] = {
    "ext2-1k": ["-t", "ext2", "-b", "1024"],
    "ext2-4k": ["-t", "ext2", "-b", "4096"],
    "ext2-rev0": ["-t", "ext2", "-r", "0", "-b", "1024", "-I", "128"],
    "ext2-128": ["-t", "ext2", "-I", "128", "-b", "1024"],
    "ext3": ["-t", "ext3", "-b", "1024", "-J", "size=1"],
    "ext4": ["-t", "ext4", "-b", "1024", "-J", "size=1"],
    "ext4-4k": ["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
    "ext4-noextents": ["-t", "ext4", "-b", "1024", "-O", "^extent,^has_journal,^64bit"],
    "ext4-inline": ["-t", "ext4", "-b", "1024", "-O", "inline_data,^has_journal", "-I", "256"],
    "ext4-metabg": ["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^has_journal"],
    "ext4-uninit": ["-t", "ext4", "-b", "1024", "-O", "uninit_bg,^metadata_csum,^has_journal"],
    "ext4-features": ["-t", "ext4", "-b", "1024", "-O", "large_dir,ea_inode,project,quota,metadata_csum_seed"],
}

LAYOUTS = ("whole", "mbr1", "mbr2", "mbr4", "gpt1", "gpt3")

_noise = random.Random(20)
FILES: dict[str, bytes] = {
    "boot/vmlinuz": _noise.randbytes(70_001),
    "boot/initrd.img": _noise.randbytes(131_072),
    "boot/vmlinuz-old": _noise.randbytes(1_025),
    "boot/initrd-old": _noise.randbytes(3),
    "vmlinuz-top": _noise.randbytes(12_289),
    "boot/deep/er/kernel": _noise.randbytes(40_000),
    "boot/vmlinuz-6.1.0-amd64_long.name+x": _noise.randbytes(4_096),
    "boot/sparse": b"k" * 5000 + bytes(60_000) + b"z",
    "xen.gz": _noise.randbytes(900),
}
LINKS = {
    "vmlinuz": "boot/vmlinuz",
    "initrd.img": "/boot/initrd.img",
    "boot/link": "../boot/./vmlinuz",
    "boot/grub-link": "/boot/deep/er",
}


def write_tree(root: Path, menus: Mapping[str, bytes]) -> None:
    """The guest's files and its menu files under a directory."""
    for name, content in {**FILES, **menus}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    # A hole for the readers to find.
    with open(root / "boot/sparse", "r+b") as file:
        file.truncate(0)
        file.write(b"k" * 5000)
        file.seek(60_000, 1)
        file.write(b"z")


def make_fs(image: Path, kind: str, tree: Path, offset: int = 0, size: int = FS_BYTES) -> None:
    """A file system of `FILE_SYSTEMS` that holds a directory."""
    place = ["-E", f"offset={offset}"] if offset else []
    command = ["mke2fs", "-q", "-F", *FILE_SYSTEMS[kind], *place, "-d", str(tree), str(image), f"{size // 1024}k"]
    subprocess.run(command, check=True, capture_output=True)


def make_disk(image: Path, kind: str, layout: str, menus: Mapping[str, bytes], folder: Path) -> None:
    """A disk with the guest's file system at the place that the layout says."""
    tree = folder / "tree"
    if tree.exists():
        shutil.rmtree(tree)
    write_tree(tree, menus)
    image.unlink(missing_ok=True)
    if kind.startswith("iso"):
        options = {"iso-rr": ["-r"], "iso-rr-joliet": ["-r", "-J"]}[kind]
        command = ["genisoimage", "-quiet", *options, "-o", str(image), str(tree)]
        subprocess.run(command, check=True, capture_output=True)
        return
    sectors = FS_BYTES // SECTOR
    with open(image, "wb") as disk:
        if layout == "whole":
            disk.truncate(FS_BYTES)
            start = 0
        else:
            disk.truncate(FS_BYTES + 3 * MIB)
            start = _write_table(disk, layout, sectors)  # type: ignore[arg-type]
    make_fs(image, kind, tree, start * SECTOR)


def _write_table(disk: object, layout: str, sectors: int) -> int:
    """Write a partition table and return the first sector of the guest's partition."""
    small = MbrEntry(SWAP, 63, 1000)
    guest = MbrEntry(LINUX, 2048, sectors)
    slots = {"mbr1": [guest], "mbr2": [small, guest], "mbr4": [None, None, None, guest]}
    if layout in slots:
        write_mbr(disk, slots[layout])  # type: ignore[arg-type]
        return 2048
    here = GptEntry(GUID_LINUX, 2048, sectors, "guest")
    before = GptEntry(GUID_BIOS_BOOT, 64, 100, "bios")
    entries = {"gpt1": [here], "gpt3": [before, None, here]}[layout]
    write_gpt(disk, FS_BYTES + 3 * MIB, entries)  # type: ignore[arg-type]
    return 2048
