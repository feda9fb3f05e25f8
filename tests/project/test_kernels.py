"""The tiny PV kernels: what they ask of a loader, and that the stored files are what the sources give."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests import REPOSITORY

KERNELS = REPOSITORY / "fixtures" / "kernels"

ENTRY, HYPERCALL_PAGE, VIRT_BASE, PADDR_OFFSET, XEN_VERSION, GUEST_OS, LOADER = 1, 2, 3, 4, 5, 6, 8
PAE_MODE, FEATURES, INIT_P2M, MOD_START_PFN = 9, 10, 15, 16


def elf_notes(path: Path) -> dict[int, bytes]:
    """Xen's notes of an ELF file by type, read with binutils so that pvboot's own reader is not its own judge."""
    command = ["objcopy", "-O", "binary", "--only-section=.note.Xen", path, "/dev/stdout"]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    assert output, f"{path.name} has no notes"
    notes, at = {}, 0
    while at < len(output):
        name_bytes, desc_bytes, kind = struct.unpack_from("<III", output, at)
        assert output[at + 12 : at + 12 + name_bytes] == b"Xen\0"
        at += 12 + (name_bytes + 3 & ~3)
        notes[kind] = output[at : at + desc_bytes]
        at += desc_bytes + 3 & ~3
    return notes


def number(desc: bytes) -> int:
    return int.from_bytes(desc, "little")


@pytest.mark.parametrize(
    ("name", "virt_base"), [("tiny64", 0xFFFFFFFF80000000), ("tiny64-p2m", 0xFFFFFFFF80000000), ("tiny32", 0xC0000000)]
)
def test_notes_that_every_pv_kernel_needs(name: str, virt_base: int) -> None:
    notes = elf_notes(KERNELS / f"{name}.elf")
    assert notes[XEN_VERSION] == b"xen-3.0\0"
    assert notes[LOADER] == b"generic\0"
    assert notes[GUEST_OS] == f"pvboot-{name}".encode() + b"\0"
    assert number(notes[VIRT_BASE]) == virt_base
    assert number(notes[PADDR_OFFSET]) == 0
    assert number(notes[ENTRY]) == virt_base + 0x100000


def test_the_variants_differ_in_what_they_ask_for() -> None:
    plain, own_p2m, narrow = (elf_notes(KERNELS / f"{name}.elf") for name in ("tiny64", "tiny64-p2m", "tiny32"))
    assert HYPERCALL_PAGE in plain and HYPERCALL_PAGE in narrow and HYPERCALL_PAGE not in own_p2m
    assert number(own_p2m[INIT_P2M]) == 0x8000000000 and number(own_p2m[MOD_START_PFN]) == 1
    assert INIT_P2M not in plain and MOD_START_PFN not in plain
    assert narrow[PAE_MODE] == b"yes\0" and b"pae_pgdir_above_4gb" in narrow[FEATURES]


@pytest.mark.parametrize(("name", "elf_class", "machine"), [("tiny64", 2, 62), ("tiny64-p2m", 2, 62), ("tiny32", 1, 3)])
def test_stored_files_are_small_elf_kernels(name: str, elf_class: int, machine: int) -> None:
    data = (KERNELS / f"{name}.elf").read_bytes()
    assert data[:5] == b"\x7fELF" + bytes([elf_class]) and number(data[18:20]) == machine
    assert len(data) < 16 << 10


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    subprocess.run([sys.executable, KERNELS / "build.py", folder], check=True)
    return folder


@pytest.mark.parametrize("name", ["tiny64", "tiny64-p2m", "tiny32"])
def test_the_sources_still_give_the_stored_kernels(rebuilt: Path, name: str) -> None:
    """Byte for byte with the toolchain that made them; with another one, the same notes and a similar size."""
    stored, fresh = KERNELS / f"{name}.elf", rebuilt / f"{name}.elf"
    if (rebuilt / "toolchain.txt").read_text() == (KERNELS / "toolchain.txt").read_text():
        assert fresh.read_bytes() == stored.read_bytes()
    else:
        addresses = (ENTRY, HYPERCALL_PAGE)
        fresh_notes, stored_notes = elf_notes(fresh), elf_notes(stored)
        assert {k: v for k, v in fresh_notes.items() if k not in addresses} == {
            k: v for k, v in stored_notes.items() if k not in addresses
        }
        assert fresh.stat().st_size < 2 * stored.stat().st_size
