"""50 layouts that Xen's builder makes without complaint: real and tiny kernels, all memory sizes, ramdisks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.oracle.images import TinyKernel

Parts = Callable[[str], Path]
GUEST_PAE = (
    "GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=0xc0000000,ELF_PADDR_OFFSET=0x0,HYPERCALL_PAGE=0x101,"
    "PAE=yes,LOADER=generic"
)


@dataclass(frozen=True)
class Layout:
    """One domain: a kernel, its memory, and further options of the oracle."""

    name: str
    kernel: Path
    memory_mib: int
    args: tuple[str, ...] = ()

    @property
    def oracle_args(self) -> tuple[str, ...]:
        return ("--mem", str(self.memory_mib), *self.args)


def good_layouts(folder: Path, parts: Parts) -> list[Layout]:
    """Write kernels and ramdisks into `folder` (about 61 MB) and return the layouts."""

    def file(name: str, data: bytes) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    rd1 = ("--ramdisk", str(file("rd1m", b"070701" + b"\x33" * ((1 << 20) - 6))))
    rd60 = ("--ramdisk", str(file("rd60m", b"070701" + bytes(range(251)) * ((60 << 20) // 251) + b"z" * 100)))
    cmdline = ("--cmdline", "root=/dev/xvda1 ro console=hvc0 " + "x" * 990)
    linux, vmlinuz = parts("vmlinux-6.1.elf"), parts("vmlinuz-6.1")
    grub64, grub32 = parts("grub-x86_64-xen.bin"), parts("grub-i386-xen.bin")
    tiny64 = file("tiny64.elf", TinyKernel().build())
    tiny32 = file("tiny32.elf", TinyKernel(32).build())
    unmapped = TinyKernel(notes={"INIT_P2M": 0x8000000000, "MOD_START_PFN": 1})
    tiny_p2m = file("tiny64-p2m.elf", unmapped.build())
    tiny_pae = file("tiny32-pae.elf", TinyKernel(32, guest=GUEST_PAE).build())

    sizes = {
        "linux-elf": (linux, (77, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536, 131072)),
        "grub64": (grub64, (32, 64, 128, 512, 1024, 4096, 8192, 65536)),
        "grub32": (grub32, (32, 64, 512, 4096, 8192, 65536)),
    }
    layouts = [Layout("linux-bz-xz-256", vmlinuz, 256)]
    for name, (kernel, memories) in sizes.items():
        layouts += [Layout(f"{name}-{mib}", kernel, mib) for mib in memories]
    return [
        *layouts,
        Layout("linux-elf-512-rd1", linux, 512, rd1),
        Layout("linux-elf-512-rd60", linux, 512, rd60),
        Layout("linux-elf-8192-rd60", linux, 8192, (*rd60, *cmdline)),
        Layout("grub64-128-rd1", grub64, 128, rd1),
        Layout("grub64-128-rd60", grub64, 128, rd60),
        Layout("grub64-8192-rd60", grub64, 8192, (*rd60, *cmdline)),
        Layout("grub32-128-rd1", grub32, 128, rd1),
        Layout("grub32-128-rd60", grub32, 128, rd60),
        Layout("tiny64-32", tiny64, 32),
        Layout("tiny64-32-cmd", tiny64, 32, ("--cmdline", "a=b")),
        Layout("tiny64-32-vcpus8", tiny64, 32, ("--vcpus", "8")),
        Layout("tiny64-64-rd1", tiny64, 64, rd1),
        Layout("tiny64-p2m-32", tiny_p2m, 32),
        Layout("tiny64-p2m-64-rd1", tiny_p2m, 64, rd1),
        Layout("tiny64-p2m-8192", tiny_p2m, 8192),
        Layout("tiny32-32", tiny32, 32),
        Layout("tiny32-4096", tiny32, 4096),
        Layout("tiny32-65536", tiny32, 65536),
        Layout("tiny32-pae-32-low", tiny_pae, 32, ("--mfn-offset", "0x1000")),
        Layout("tiny32-pae-32-high", tiny_pae, 32),
        Layout("tiny32-32-rd1", tiny32, 32, rd1),
        Layout("grub64-64-shuffle", grub64, 64, ("--shuffle", "1")),
        Layout("grub64-64-shuffle2m", grub64, 64, ("--shuffle-2m", "1")),
        Layout("grub64-64-poison", grub64, 64, ("--poison",)),
    ]
