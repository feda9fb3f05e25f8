"""Rules about kernels, their arguments and what is in their ramdisks."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.check.guests import TINY32, TINY64, Tree, check, linux, make_ext, menu_lst, of, plant, rules_of
from tests.check.test_initrd import PACKERS, newc
from tests.oracle.images import CODECS, NoteValue, TinyKernel, bzimage, patch

VERSION = "6.1.0-50-amd64"
_KERNEL_RULES = (
    "not-a-kernel not-a-pv-kernel inconsistent-notes no-pae arch-mismatch unsupported-compression truncated-file"
)
KERNEL_RULES = set(_KERNEL_RULES.split())


def found(tmp_path: Path, kernel: bytes, target: str | None = None) -> set[str]:
    tree = plant(tmp_path, {"boot/grub/menu.lst": menu_lst(), "boot/k": kernel})
    return rules_of(check(tree, target)) & KERNEL_RULES


def pvh_only() -> bytes:
    names = ("ENTRY", "VIRT_BASE", "XEN_VERSION", "GUEST_OS", "LOADER", "HYPERCALL_PAGE")
    notes: dict[str | int, NoteValue] = dict.fromkeys(names)
    return TinyKernel(notes={**notes, "PHYS32_ENTRY": 0x100000}).build()


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (TINY64, set()),
        (TINY32, set()),
        (gzip.compress(TINY64), set()),
        (linux(VERSION), set()),
        (b"#!/bin/sh\necho no kernel\n" * 100, {"not-a-kernel"}),
        (bytes(5000), {"not-a-kernel"}),
        (gzip.compress(TINY64)[:-200], {"not-a-kernel"}),
        (bzimage(b"no known compression" * 20), {"not-a-kernel"}),
        (bzimage(gzip.compress(TINY64), version=0x207), {"not-a-kernel"}),
        (pvh_only(), {"not-a-pv-kernel"}),
        (TinyKernel(note_phdr=False).build(), {"not-a-pv-kernel"}),
        (TinyKernel(notes={"XEN_VERSION": "xen-4.0"}).build(), {"not-a-pv-kernel"}),
        (TinyKernel(bits=32, notes={"ENTRY": None, "PAE_MODE": "yes"}, entry=0x100000).build(), {"not-a-pv-kernel"}),
        (TinyKernel(notes={"FEATURES": "!dom0"}).build(), {"not-a-pv-kernel"}),
        (TinyKernel(notes={"FEATURES": "!from_the_future"}).build(), {"inconsistent-notes"}),
        (TinyKernel(notes={"VIRT_BASE": 0xFFFFFFFF90000000}).build(), {"inconsistent-notes"}),
        (TinyKernel(notes={"ENTRY": 0x1000}).build(), {"inconsistent-notes"}),
        (TinyKernel(notes={"INIT_P2M": 0xFFFFFFFF80101000}).build(), {"inconsistent-notes"}),
        (TinyKernel(bits=32, notes={"PAE_MODE": "no"}).build(), {"no-pae"}),
        (TinyKernel(bits=32, notes={"PAE_MODE": "yes"}).build(), set()),
    ],
)
def test_what_a_kernel_is(tmp_path: Path, kernel: bytes, expected: set[str]) -> None:
    assert found(tmp_path, kernel) == expected


@pytest.mark.parametrize(
    ("kernel", "arch", "fits"),
    [(TINY64, "x86_64", True), (TINY64, "x86_32p", False), (TINY32, "x86_32p", True), (TINY32, "x86_64", False)],
)
def test_the_width_of_the_host(tmp_path: Path, kernel: bytes, arch: str, fits: bool) -> None:
    assert found(tmp_path, kernel, f"arch={arch}") == (set() if fits else {"arch-mismatch"})


# The first release of which the domain builder's own source decodes it.
SINCE = {"gzip": "3.4", "bzip2": "4.0", "lzma": "4.0", "lzo": "4.1", "xz": "4.2", "lz4": "4.4", "zstd": "4.15"}


@pytest.mark.parametrize("codec", CODECS)
def test_a_compression_and_the_domain_builders_that_know_it(
    tmp_path: Path, codec: str, parts: Callable[[str], Path]
) -> None:
    kernel = linux(VERSION, codec, parts("oracle"))
    major, minor = map(int, SINCE[codec].split("."))
    before = f"{major}.{minor - 1}" if minor else f"{major - 1}.9"
    assert found(tmp_path, kernel, f"xen={SINCE[codec]},loader=pygrub") == set()
    assert found(tmp_path, kernel, f"xen={before},loader=pygrub") == (
        set() if codec == "gzip" else {"unsupported-compression"}
    )
    assert found(tmp_path, kernel) == set()
    known_to_grub = codec in ("gzip", "xz", "lzo")
    assert found(tmp_path, kernel, "xen=4.17,loader=pvgrub2") == (
        set() if known_to_grub else {"unsupported-compression"}
    )


# --- arguments --------------------------------------------------------------------------------------------


def about(tmp_path: Path, args: str, kernel: bytes | None = None, **options: Any) -> set[str]:
    tree: Tree = {"boot/grub/menu.lst": menu_lst(args=args), "boot/k": kernel or linux(VERSION)}
    return rules_of(check(plant(tmp_path, tree), **options)) & {
        "root-device-foreign",
        "no-hvc-console",
        "cmdline-too-long",
        "libxl-item-too-long",
        "does-not-fit",
    }


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("root=/dev/xvda1 console=hvc0", set()),
        ("root=/dev/sda1 console=hvc0", {"root-device-foreign"}),
        ("root=/dev/hda console=hvc0", {"root-device-foreign"}),
        ("root=/dev/nvme0n1p2 console=hvc0", {"root-device-foreign"}),
        ("root=/dev/mapper/sda1 console=hvc0", set()),
        ("root=UUID=1234 resume=/dev/sda2 console=hvc0", set()),
        ("root=/dev/xvda1", {"no-hvc-console"}),
        ("root=/dev/xvda1 console=tty0", {"no-hvc-console"}),
        ("root=/dev/xvda1 console=tty0 console=hvc0,115200", set()),
        ("root=/dev/xvda1 console=hvc0 " + "x" * 8140, {"cmdline-too-long"}),
        ("root=/dev/xvda1 console=hvc0 " + "x" * 8170, {"cmdline-too-long", "libxl-item-too-long"}),
    ],
)
def test_the_arguments_of_a_kernel(tmp_path: Path, args: str, expected: set[str]) -> None:
    name = "boot/extlinux/extlinux.conf"  # lines of any length
    text = f"TIMEOUT 50\nDEFAULT a\nLABEL a\nKERNEL /boot/k\nAPPEND {args}\n"
    tree = plant(tmp_path, {name: text, "boot/k": linux(VERSION)})
    rules = {"root-device-foreign", "no-hvc-console", "cmdline-too-long", "libxl-item-too-long"}
    assert rules_of(check(tree)) & rules == expected


def test_a_foreign_disk_is_shown_where_it_stands_and_named_right(tmp_path: Path) -> None:
    tree = plant(tmp_path, {"boot/grub/menu.lst": menu_lst(args="ro root=/dev/sdb3"), "boot/k": linux(VERSION)})
    (finding,) = of(check(tree), "root-device-foreign")
    assert (finding.line, finding.column, finding.end_column) == (4, 19, 33)
    assert "/dev/xvdb3" in finding.message


@pytest.mark.parametrize(("version", "expected"), [("2.6.18-398.el5xen", 0), (VERSION, 1)])
def test_the_console_of_the_first_ports_to_xen(tmp_path: Path, version: str, expected: int) -> None:
    text = menu_lst(args="root=/dev/xvda1 console=xvc0")
    tree = plant(tmp_path, {"boot/grub/menu.lst": text, "boot/k": linux(version)})
    assert len(of(check(tree), "no-hvc-console")) == expected


@pytest.mark.parametrize(("default", "severity"), [(0, "warning"), (1, "error")])
def test_a_memory_test_that_nobody_boots_is_not_an_error(tmp_path: Path, default: int, severity: str) -> None:
    text = menu_lst().replace("default 0", f"default {default}") + "title test\nkernel /boot/memtest86+.bin\n"
    tree = plant(tmp_path, {"boot/grub/menu.lst": text, "boot/k": TINY64, "boot/memtest86+.bin": bytes(5000)})
    assert [finding.severity for finding in of(check(tree), "not-a-kernel")] == [severity]


def test_kernels_other_than_linux_need_no_hvc0(tmp_path: Path) -> None:
    assert about(tmp_path, "root=/dev/sda1", TINY64) == set()


# --- memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("memory", "fits"), [(None, True), (16, True), (7, False)])
def test_kernel_and_ramdisk_in_the_memory_of_the_guest(tmp_path: Path, memory: int | None, fits: bool) -> None:
    menu = menu_lst("/boot/k", "initrd /boot/i")
    tree: Tree = {"boot/grub/menu.lst": menu, "boot/k": TINY64, "boot/i": bytes(6 << 20)}
    assert bool(of(check(plant(tmp_path, tree), memory_mib=memory), "does-not-fit")) is not fits


@pytest.mark.parametrize(("target", "fits"), [("xen=4.20,loader=pygrub", True), ("xen=4.17,loader=pygrub", False)])
def test_a_ramdisk_that_old_domain_builders_unpack(tmp_path: Path, target: str, fits: bool) -> None:
    tree: Tree = {
        "boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/i"),
        "boot/k": TINY64,
        "boot/i": gzip.compress(bytes(12 << 20)),
    }
    assert bool(of(check(plant(tmp_path, tree), target, memory_mib=12), "does-not-fit")) is not fits


# --- ramdisks ---------------------------------------------------------------------------------------------

BLKFRONT = f"lib/modules/{VERSION}/kernel/drivers/block/xen-blkfront.ko"
OTHER = f"lib/modules/{VERSION}/kernel/fs/ext4/ext4.ko"
ON_DISK: Tree = {BLKFRONT: b"ko", f"lib/modules/{VERSION}/modules.builtin": "kernel/drivers/char/random.ko\n"}
INITRD_RULES = {"initrd-without-blkfront", "module-version-mismatch", "damaged-initrd"}


def inside(tmp_path: Path, initrd: bytes | None, disk: Tree, kernel: bytes | None = None) -> set[str]:
    lines = ["initrd /boot/i"] if initrd is not None else []
    tree: Tree = {
        "boot/grub/menu.lst": menu_lst("/boot/k", *lines),
        "boot/k": kernel or linux(VERSION),
        **({"boot/i": initrd} if initrd is not None else {}),
        **disk,
    }
    return rules_of(check(plant(tmp_path, tree))) & INITRD_RULES


@pytest.mark.parametrize(
    ("names", "disk", "expected"),
    [
        ([BLKFRONT], ON_DISK, set()),
        ([BLKFRONT + ".xz"], ON_DISK, set()),
        (["usr/" + BLKFRONT.replace("xen-", "xen_") + ".zst"], ON_DISK, set()),
        ([OTHER], ON_DISK, {"initrd-without-blkfront"}),
        ([], ON_DISK, {"initrd-without-blkfront"}),
        ([OTHER], {}, set()),  # nobody knows how the kernel was built
        ([OTHER], {f"lib/modules/{VERSION}/modules.builtin": "kernel/drivers/block/xen-blkfront.ko\n"}, set()),
        ([OTHER], {f"lib/modules/{VERSION}/kernel/drivers/block/loop.ko": b""}, set()),
        ([OTHER], {BLKFRONT.replace("50", "51"): b""}, set()),  # of another kernel
        ([BLKFRONT.replace("50", "51")], {}, {"module-version-mismatch"}),
        ([OTHER, BLKFRONT.replace("50", "51")], {}, set()),
    ],
)
def test_the_driver_of_the_disk_is_in_the_ramdisk(
    tmp_path: Path, names: list[str], disk: Tree, expected: set[str]
) -> None:
    initrd = gzip.compress(newc({"init": b"#!/bin/sh", **dict.fromkeys(names, b"ko")}))
    assert inside(tmp_path, initrd, disk) == expected


def test_a_driver_built_in_by_the_list_in_the_ramdisk(tmp_path: Path) -> None:
    builtin = {f"lib/modules/{VERSION}/modules.builtin": b"kernel/drivers/block/xen-blkfront.ko\n"}
    assert inside(tmp_path, newc(builtin), ON_DISK) == set()


def test_without_a_ramdisk_a_module_is_out_of_reach(tmp_path: Path) -> None:
    assert inside(tmp_path, None, ON_DISK) == {"initrd-without-blkfront"}
    assert inside(tmp_path / "2", None, {}) == set()


def test_a_kernel_without_a_version_is_not_judged(tmp_path: Path) -> None:
    kernel = TinyKernel(notes={"GUEST_OS": "linux"}).build()
    assert inside(tmp_path, newc({BLKFRONT.replace("50", "51"): b""}), ON_DISK, kernel) == set()


def test_the_version_in_the_banner_of_an_elf_kernel(tmp_path: Path) -> None:
    banner = b"Linux version 6.1.0-50-amd64 (somebody@somewhere) #1 SMP\0"
    kernel = TinyKernel(notes={"GUEST_OS": "linux"}, code=banner).build()
    assert inside(tmp_path, newc({BLKFRONT.replace("50", "51"): b""}), {}, kernel) == {"module-version-mismatch"}


@pytest.mark.parametrize("codec", PACKERS)
def test_a_cut_ramdisk(tmp_path: Path, codec: str) -> None:
    whole = PACKERS[codec](newc({"init": bytes(range(256)) * 40, OTHER: b""}))
    assert inside(tmp_path / "whole", whole, {}) == set()
    assert inside(tmp_path / "cut", whole[:-60], {}) == {"damaged-initrd"}


def test_a_ramdisk_that_is_not_an_archive_is_the_kernels_own_matter(tmp_path: Path) -> None:
    assert inside(tmp_path, b"a module of some other system" * 100, ON_DISK) == set()


def test_several_ramdisks_are_one(tmp_path: Path) -> None:
    text = "\n".join(["menuentry 'a' {", "linux /boot/k root=/dev/xvda1", "initrd /boot/ucode /boot/i", "}", ""])
    tree: Tree = {
        "boot/grub/grub.cfg": text,
        "boot/k": linux(VERSION),
        **ON_DISK,
        "boot/ucode": newc({"kernel/x86/microcode/AuthenticAMD.bin": b"m"}),
        "boot/i": gzip.compress(newc({BLKFRONT: b"ko"})),
    }
    assert rules_of(check(plant(tmp_path, tree))) & INITRD_RULES == set()


# --- real ones --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_debians_kernel_and_a_ramdisk_without_its_driver(tmp_path: Path, parts: Callable[[str], Path]) -> None:
    kernel = parts("vmlinuz-6.1").read_bytes()
    start = 0x200 + int.from_bytes(kernel[0x20E:0x210], "little")
    version = kernel[start : start + 100].split()[0].decode()
    tree: Tree = {
        "boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/i", root="(hd0)"),
        "boot/k": kernel,
        "boot/i": parts("initrd-busybox.cpio.gz").read_bytes(),
        f"lib/modules/{version}/kernel/drivers/block/xen-blkfront.ko": b"ko",
    }
    image = make_ext(tmp_path / "disk.img", plant(tmp_path / "tree", tree), size="64M")
    findings = check(image, "xen=4.17,loader=pygrub,arch=x86_64", memory_mib=512)
    assert rules_of(findings, "error", "warning") == {"initrd-without-blkfront"}
    assert version in of(findings, "initrd-without-blkfront")[0].message


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("grub-i386-xen_pvh.bin", {"not-a-pv-kernel"}),
        ("grub-i386-xen.bin", set()),
        ("grub-x86_64-xen.bin", set()),
        ("vmlinuz-6.1-cloud", set()),
    ],
)
def test_kernels_as_they_are_shipped(
    tmp_path: Path, part: str, expected: set[str], parts: Callable[[str], Path]
) -> None:
    assert found(tmp_path, parts(part).read_bytes(), "xen=4.17,loader=pygrub") == expected


def test_a_header_with_a_version_beyond_the_file_is_harmless(tmp_path: Path) -> None:
    assert found(tmp_path, patch(linux(VERSION), 0x20E, "H", 0xFFFF)) == set()
