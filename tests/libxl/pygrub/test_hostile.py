"""Guests that attack: every one ends in exit code 1 with one line, in 2 s of CPU and 256 MiB, and leaves no file.

The defects behind the first ones: XSA-25 (sizes), XSA-443 (super block fields), XSA-497 (CVE-2026-42494, -42495,
-62423, -62424, -62425: Rock Ridge lengths), CVE-2007-4993 (a menu that is executed).  XSA-198 is in test_command_line.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.partitions import EXTENDED, GUID_LINUX, GptEntry, MbrEntry, mbr_sector, write_gpt
from tests import REPOSITORY
from tests.libxl.pygrub.guests import FILE_SYSTEMS, FS_BYTES, MIB, make_disk, make_fs, write_tree
from tests.libxl.pygrub.menus import PATHS, TWO

MENU = b"title a\nkernel /boot/vmlinuz\ninitrd /boot/initrd.img\n"
# The bounds of the operating system itself: whoever goes over them is killed.
BOUNDS = 'ulimit -t 2; ulimit -v 262144; exec "$@"'

Maker = Callable[[Path, Path], None]


def menu(text: bytes, path: str = PATHS[0]) -> Maker:
    def make(image: Path, folder: Path) -> None:
        make_disk(image, "ext2-1k", "whole", {path: text}, folder)

    return make


def grub_cfg(text: str) -> Maker:
    return menu(text.encode(), "boot/grub/grub.cfg")


def rock_ridge(change: Callable[[bytearray, int, int], None]) -> Maker:
    """An ISO in which the records of menu and kernel are damaged: `change(image, record, NM entry)`."""

    def make(image: Path, folder: Path) -> None:
        tree = folder / "tree"
        write_tree(tree, {PATHS[0]: MENU})
        command = ["genisoimage", "-quiet", "-r", "-o", str(image), str(tree)]
        subprocess.run(command, check=True, capture_output=True)
        data = bytearray(image.read_bytes())
        damaged = 0
        for name in (b"boot", b"grub", b"menu.lst", b"vmlinuz"):
            wanted = b"NM" + bytes([5 + len(name), 1, 0]) + name
            at = data.find(wanted)
            while at >= 0:
                record = record_of(data, at)
                if record <= at < record + data[record]:
                    change(data, record, at)
                    damaged += 1
                at = data.find(wanted, at + len(wanted))
        assert damaged >= 3
        image.write_bytes(data)

    return make


def record_of(data: bytearray, at: int) -> int:
    """The directory record that holds a place, found by walking its sector."""
    record = at - at % 2048
    while data[record] and not record <= at < record + data[record]:
        record += data[record]
    return record


def put(where: str, value: int, offset: int = 0) -> Callable[[bytearray, int, int], None]:
    def change(data: bytearray, record: int, entry: int) -> None:
        data[(record if where == "record" else entry) + offset] = value

    return change


def bad_continuation(block: int, offset: int, length: int) -> Callable[[bytearray, int, int], None]:
    """The system use area becomes a CE entry."""

    def change(data: bytearray, record: int, entry: int) -> None:
        area = entry
        end = record + data[record]
        ce = b"CE\x1c\x01" + b"".join(struct.pack("<I", v) + struct.pack(">I", v) for v in (block, offset, length))
        data[area:end] = ce[: end - area].ljust(end - area, b"\0")

    return change


def ext_field(offset: int, code: str, value: int, kind: str = "ext2-1k") -> Maker:
    """A field of the super block of an ext file system."""

    def make(image: Path, folder: Path) -> None:
        make_disk(image, kind, "whole", {PATHS[0]: MENU}, folder)
        with open(image, "r+b") as disk:
            disk.seek(1024 + offset)
            disk.write(struct.pack("<" + code, value))

    return make


def debugfs(commands: str, kind: str = "ext4") -> Maker:
    def make(image: Path, folder: Path) -> None:
        make_disk(image, kind, "whole", {PATHS[0]: MENU}, folder)
        subprocess.run(
            ["debugfs", "-w", "-f", "-", str(image)], input=commands, text=True, check=True, capture_output=True
        )

    return make


def xfs(image: Path, _folder: Path) -> None:
    """A super block whose shifts and sizes are absurd (XSA-443), followed by noise."""
    block = bytearray(b"\xff" * 4096)
    block[:4] = b"XFSB"
    image.write_bytes(bytes(block) * 512)


def gpt_sizes(image: Path, _folder: Path) -> None:
    """An entry array of 2^31 entries of 2^31 bytes."""
    with open(image, "w+b") as disk:
        disk.truncate(MIB)
        write_gpt(disk, MIB, [GptEntry(GUID_LINUX, 64, 64, "a")])
        for sector in (1, MIB // 512 - 1):
            disk.seek(sector * 512 + 80)
            disk.write(struct.pack("<II", 1 << 31, 1 << 31))


def record_loop(image: Path, _folder: Path) -> None:
    """An extended boot record that follows itself."""
    with open(image, "wb") as disk:
        disk.truncate(MIB)
        disk.write(mbr_sector([MbrEntry(EXTENDED, 10, 100)]))
        disk.seek(10 * 512)
        disk.write(mbr_sector([None, MbrEntry(EXTENDED, 0, 100)]))


def huge_kernel(image: Path, folder: Path) -> None:
    """A hole of 3 GiB as kernel: more than Xen takes, and it would fill dom0's memory."""
    tree = folder / "tree"
    write_tree(tree, {PATHS[0]: b"title a\nkernel /huge\n"})
    with open(tree / "huge", "wb") as file:
        file.truncate(3 << 30)
    make_fs(image, "ext4-4k", tree)


def huge_initrd(image: Path, folder: Path) -> None:
    tree = folder / "tree"
    write_tree(tree, {PATHS[0]: b"title a\nkernel /boot/vmlinuz\ninitrd /huge\n"})
    with open(tree / "huge", "wb") as file:
        file.truncate(3 << 30)
    make_fs(image, "ext4-4k", tree)


def noise(image: Path, _folder: Path) -> None:
    image.write_bytes(b"\xee\x55\xaa" * 400_000)


PYTHON = b"""default "+str(0*os.system(" touch /tmp/pvboot-executed "))+"
default __import__('os').system('touch /tmp/pvboot-executed')
timeout=os.system('touch /tmp/pvboot-executed')
title a
kernel $(touch /tmp/pvboot-executed) `touch /tmp/pvboot-executed` ; touch /tmp/pvboot-executed
"""

ATTACKS: dict[str, Maker] = {
    "XSA-25 huge kernel": huge_kernel,
    "XSA-25 huge initrd": huge_initrd,
    "XSA-25 size of 8 EiB": debugfs("set_inode_field /boot/vmlinuz size 0x7fffffffffffffff\n"),
    "XSA-443 xfs": xfs,
    "XSA-443 block size": ext_field(24, "I", 31),
    "XSA-443 block size 2^64": ext_field(24, "I", 0xFFFFFFFF),
    "XSA-443 inode size": ext_field(88, "H", 1),
    "XSA-443 inodes per group": ext_field(40, "I", 0),
    "XSA-443 blocks per group": ext_field(32, "I", 0),
    "XSA-443 descriptor size": ext_field(254, "H", 0xFFFF, "ext4"),
    "XSA-497 CVE-2026-42494": rock_ridge(put("record", 10)),
    "XSA-497 CVE-2026-42495": rock_ridge(put("record", 255, 32)),
    "XSA-497 CVE-2026-62423 zero": rock_ridge(put("entry", 0, 2)),
    "XSA-497 CVE-2026-62423 long": rock_ridge(put("entry", 255, 2)),
    "XSA-497 CVE-2026-62424": rock_ridge(put("entry", 4, 2)),
    "XSA-497 CVE-2026-62425 offset": rock_ridge(bad_continuation(16, 2040, 2000)),
    "XSA-497 CVE-2026-62425 block": rock_ridge(bad_continuation(0xFFFFFFFF, 0, 2048)),
    "CVE-2007-4993": menu(PYTHON),
    "CVE-2007-4993 in grub.cfg": grub_cfg("set default=$(touch /tmp/pvboot-executed)\nmenuentry a { linux `x` }\n"),
    "link loop": debugfs("rm /boot/vmlinuz\nsymlink /boot/vmlinuz vmlinuz\n"),
    "kernel is a directory": menu(b"title a\nkernel /boot\n"),
    "kernel outside of the guest": menu(b"title a\nkernel ../../../../etc/passwd\n"),
    "empty menu": menu(b""),
    "a menu of titles": menu(b"title\n" * 170_000),
    "a menu of entries": menu(b"title a\nkernel /none\nfallback 1\n" * 30_000),
    "a menu of one line": menu(b"title a\nkernel /" + b"x" * 1_000_000),
    "a menu of noise": menu(bytes(range(256)) * 4000),
    "endless loop": grub_cfg("while true; do set a=b; done\n"),
    "endless loop in an entry": grub_cfg("menuentry a {\nuntil false; do set a=$a$a; done\nlinux /boot/vmlinuz\n}\n"),
    "growing variable": grub_cfg("set a=xxxxxxxx\n" + "set a=$a$a$a$a\n" * 60 + "menuentry a { linux /$a }\n"),
    "recursion": grub_cfg("function f {\nf\n}\nf\n"),
    "menus that source themselves": grub_cfg("source /boot/grub/grub.cfg\nsource /boot/grub/grub.cfg\n"),
    "deep braces": grub_cfg("submenu a { " * 5000),
    "included by itself": menu(b"INCLUDE /extlinux.conf\n" * 50, "extlinux.conf"),
    "table of 2^62 bytes": gpt_sizes,
    "boot record loop": record_loop,
    "noise": noise,
    "zeros": lambda image, _folder: image.write_bytes(bytes(MIB)) and None,
    "one byte": lambda image, _folder: image.write_bytes(b"x") and None,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, tmp_path: Path) -> None:
    executed = Path("/tmp/pvboot-executed")
    assert not executed.exists()
    ATTACKS[name](tmp_path / "disk.img", tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    output = tmp_path / "output"
    output.touch()
    loader = [sys.executable, "-m", "pvboot.libxl.pygrub", "-q", "--output-format=simple0"]
    command = [*loader, f"--output={output}", f"--output-directory={results}", str(tmp_path / "disk.img")]
    done = subprocess.run(["bash", "-c", BOUNDS, "bash", *command], capture_output=True, cwd=REPOSITORY, timeout=60)
    lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("pvboot-pygrub: warning: ")]
    assert done.returncode == 1, (done, output.read_bytes())
    assert len(lines) == 1, lines
    assert "internal error" not in lines[0]
    assert lines[0].isprintable()
    assert not list(results.iterdir())
    assert not output.read_bytes()
    assert not executed.exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*FILE_SYSTEMS, "iso-rr"])
def test_random_damage(kind: str, tmp_path: Path) -> None:
    """Bytes overwritten at random in the metadata: it boots, or it fails with one line."""
    import random

    noise = random.Random(kind)
    make_disk(tmp_path / "good", kind, "whole", {PATHS[0]: TWO}, tmp_path)
    good = (tmp_path / "good").read_bytes()
    results = tmp_path / "results"
    results.mkdir()
    loader = [sys.executable, "-m", "pvboot.libxl.pygrub", "-q", f"--output-directory={results}", str(tmp_path / "bad")]
    for _ in range(6):
        data = bytearray(good)
        for _ in range(40):
            at = noise.randrange(32768, 90_000) if kind.startswith("iso") else noise.randrange(1024, FS_BYTES // 8)
            data[at] = noise.randrange(256)
        (tmp_path / "bad").write_bytes(data)
        done = subprocess.run(["bash", "-c", BOUNDS, "bash", *loader], capture_output=True, cwd=REPOSITORY, timeout=60)
        lines = [line for line in done.stderr.decode().splitlines() if "warning: " not in line]
        assert done.returncode in (0, 1), done
        assert len(lines) == done.returncode, lines
        assert "internal error" not in " ".join(lines)
        if done.returncode:
            assert not list(results.iterdir())
        for path in results.iterdir():
            path.unlink()
