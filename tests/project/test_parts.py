"""The fetched parts are what their names promise."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import fetch_parts

Parts = Callable[[str], Path]


def test_vmlinuz_is_a_debian_bzimage_of_the_promised_series(parts: Parts) -> None:
    image = parts("vmlinuz-6.1").read_bytes()
    assert image[0x202:0x206] == b"HdrS"
    version = image[0x200 + int.from_bytes(image[0x20E:0x210], "little") :][:64]  # kernel_version of the boot protocol
    assert version.startswith(b"6.1.")


@pytest.mark.parametrize(
    ("name", "elf_class", "machine"),
    [("vmlinux-6.1.elf", 2, 62), ("grub-x86_64-xen.bin", 2, 62), ("grub-i386-xen.bin", 1, 3)],
)
def test_kernels_are_elf_of_the_right_width(parts: Parts, name: str, elf_class: int, machine: int) -> None:
    with open(parts(name), "rb") as file:
        head = file.read(20)
    assert head[:5] == b"\x7fELF" + bytes([elf_class])
    assert int.from_bytes(head[18:20], "little") == machine


def test_busybox_runs(parts: Parts) -> None:
    assert subprocess.check_output([parts("busybox"), "echo", "here"]) == b"here\n"


def test_initrd_is_read_by_a_foreign_cpio(parts: Parts, tmp_path: Path) -> None:
    archive = gzip.decompress(parts("initrd-busybox.cpio.gz").read_bytes())
    listing = subprocess.run([parts("busybox"), "cpio", "-tv"], input=archive, capture_output=True, check=True)
    lines = {line.split()[-1]: line for line in listing.stdout.decode().splitlines()}
    assert lines["dev/console"].startswith("crw") and lines["init"].startswith("-rwxr-xr-x")
    subprocess.run([parts("busybox"), "cpio", "-id", "init", "bin/busybox"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "init").read_bytes().startswith(b"#!/bin/sh")
    assert (tmp_path / "bin/busybox").read_bytes() == parts("busybox").read_bytes()


def test_grub_legacy_shell_runs_from_its_folder(parts: Parts) -> None:
    root = parts("grub-legacy/root")
    loader = next(root.glob("lib*/ld-linux.so.2"), None) or next(root.glob("usr/lib*/ld-linux.so.2"))
    done = subprocess.run(
        [loader.resolve(), "--library-path", loader.resolve().parent, root / "usr/sbin/grub", "--version"],
        capture_output=True,
        text=True,
    )
    assert "GNU GRUB 0.97" in done.stdout, done.stderr


def test_unknown_part_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(fetch_parts.PartsError, match="unknown part 'vmlinuz-9'") as caught:
        fetch_parts.ensure("vmlinuz-9", tmp_path)
    assert caught.value.exit_code == 2


def test_an_interrupted_part_leaves_nothing_behind_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(parts: Path) -> bytes:
        raise fetch_parts.PartsError("no network", exit_code=4)

    monkeypatch.setitem(fetch_parts.FILES, "busybox", broken)
    with pytest.raises(fetch_parts.PartsError):
        fetch_parts.ensure("initrd-busybox.cpio.gz", tmp_path)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    monkeypatch.setitem(fetch_parts.FILES, "busybox", lambda parts: b"complete")
    assert fetch_parts.ensure("busybox", tmp_path).read_bytes() == b"complete"


def test_without_apt_the_message_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(fetch_parts.PartsError, match=r"apt-get not found.*Debian") as caught:
        fetch_parts.ensure("busybox", tmp_path / "parts")
    assert caught.value.exit_code == 3
