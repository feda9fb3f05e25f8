"""pvboot-pygrub against Xen's pygrub: wall time, CPU and peak memory of whole runs on the same images.

    python benchmarks/bootloader.py [--repeat N]

Both programs run in turn under this interpreter, quiet, with simple0 output, page cache warm.  Each figure is the best
of N runs; the ratios are pvboot-pygrub over pygrub.  Peak memory is that of the largest process of a run.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from fixtures import fetch_parts, make_images  # noqa: E402
from fixtures.partitions import GUID_LINUX, LINUX, GptEntry, MbrEntry, write_gpt, write_mbr  # noqa: E402

MIB = 1 << 20
KERNEL_BYTES, INITRD_BYTES = 8 * MIB + 200_000, 35 * MIB
MENU_LST = "timeout 5\ntitle Linux\nroot (hd0,0)\nkernel /boot/vmlinuz root=/dev/xvda1 ro\ninitrd /boot/initrd\n"
GRUB_CFG = "set default=0\nmenuentry 'Linux' {\n linux /boot/vmlinuz root=/dev/xvda1 ro\n initrd /boot/initrd\n}\n"


# A process inherits the peak memory of the one that starts it, so a small one does.
MEASURE = """
import os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - started
print()
print(os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program; seconds and bytes."""

    wall: float
    cpu: float
    peak: int


def tree(menu: str, text: str, kernel: int, initrd: int) -> dict[str, bytes | make_images.Link]:
    """A guest whose files do not compress or share blocks."""
    noise = random.Random(1)
    return {menu: text.encode(), "boot/vmlinuz": noise.randbytes(kernel), "boot/initrd": noise.randbytes(initrd)}


def make_whole(image: Path) -> None:
    """ext4 on the whole disk."""
    files = tree("boot/grub/menu.lst", MENU_LST, KERNEL_BYTES, INITRD_BYTES)
    make_images.make_ext(image, files, 96 * MIB, "ext4")


def make_mbr(image: Path, menu: str = "boot/grub/menu.lst", text: str = MENU_LST) -> None:
    """ext4 in the first partition of an MBR disk."""
    partition = MbrEntry(LINUX, 2048, 96 * MIB // 512)
    with open(image, "wb") as disk:
        disk.truncate(98 * MIB)
        write_mbr(disk, [partition])
    make_images.make_ext(image, tree(menu, text, KERNEL_BYTES, INITRD_BYTES), 96 * MIB, "ext4", MIB)


def make_tiny(image: Path) -> None:
    """Nothing to copy: the fixed cost."""
    make_images.make_ext(image, tree("boot/grub/menu.lst", MENU_LST, 4096, 4096), 8 * MIB, "ext4")


def make_iso(image: Path) -> None:
    """An ISO image with Rock Ridge."""
    make_images.make_iso(image, tree("boot/grub/menu.lst", MENU_LST, KERNEL_BYTES, INITRD_BYTES))


def make_nothing(image: Path) -> None:
    """A GPT disk with two file systems and nothing to boot."""
    entries = [GptEntry(GUID_LINUX, 2048 + 16384 * index, 16384, f"data{index}") for index in range(2)]
    with open(image, "wb") as disk:
        disk.truncate(20 * MIB)
        write_gpt(disk, 20 * MIB, entries)
    for entry in entries:
        make_images.make_ext(image, {"etc/fstab": b"\n"}, entry.sectors * 512, "ext4", entry.start * 512)


CASES: dict[str, Callable[[Path], None]] = {
    "ext4, menu.lst": make_whole,
    "MBR + ext4, menu.lst": make_mbr,
    "MBR + ext4, grub.cfg": lambda image: make_mbr(image, "boot/grub/grub.cfg", GRUB_CFG),
    "ISO 9660, menu.lst": make_iso,
    "tiny kernel": make_tiny,
    "GPT, nothing bootable": make_nothing,
}


def measure(command: list[str], image: Path) -> tuple[int, Run]:
    """One run into a fresh output directory; exit code and cost."""
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        output = Path(folder) / "result"
        output.touch()
        arguments = ["-q", f"--output={output}", "--output-format=simple0", f"--output-directory={folder}", str(image)]
        environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY)}
        # Both as they are when installed: their modules compiled.
        environment["PYTHONPYCACHEPREFIX"] = str(image.parent / "compiled")
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        helper = [sys.executable, "-I", "-S", "-c", MEASURE, *command, *arguments]
        done = subprocess.run(helper, env=environment, capture_output=True, text=True, check=True)
        code, wall, cpu, peak = done.stdout.splitlines()[-1].split()
    return int(code), Run(float(wall), float(cpu), int(peak) * 1024)


def best(runs: list[Run]) -> Run:
    """The least of each figure."""
    return Run(min(run.wall for run in runs), min(run.cpu for run in runs), min(run.peak for run in runs))


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which cases (default: all)")
    args = parser.parse_args()
    ours = [sys.executable, "-c", "from pvboot.libxl.pygrub.main import main; main()"]
    theirs = [str(fetch_parts.ensure("pygrub") / "pygrub")]
    print(f"best of {args.repeat}: ours / pygrub's (ratio)\n{'':24}{'wall ms':>22}{'CPU ms':>22}{'peak MiB':>22}")
    with tempfile.TemporaryDirectory(prefix="pvboot-bench-") as folder:
        for name in args.cases or CASES:
            image = Path(folder) / "disk.img"
            CASES[name](image)
            runs: tuple[list[Run], list[Run]] = ([], [])
            codes = set()
            for _ in range(args.repeat):
                for command, list_of_runs in zip((ours, theirs), runs, strict=True):
                    code, run = measure(command, image)
                    codes.add(code)
                    list_of_runs.append(run)
            left, right = best(runs[0]), best(runs[1])
            columns = [
                f"{a * scale:7.0f} /{b * scale:6.0f} ({a / b:4.2f})"
                for a, b, scale in (
                    (left.wall, right.wall, 1e3),
                    (left.cpu, right.cpu, 1e3),
                    (left.peak, right.peak, 1 / MIB),
                )
            ]
            print(f"{name:24}" + "".join(f"{column:>22}" for column in columns) + f"  exit {sorted(codes)}", flush=True)
            image.unlink()


if __name__ == "__main__":
    main()
