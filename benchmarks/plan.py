"""Layout and relocation plan against Xen's own domain builder, in one run, CPU time of the work alone.

    python benchmarks/plan.py [--memory MIB] [--repeat N]

Both sides get Debian's unpacked kernel and a 60 MiB ramdisk.  Xen's side is libxenguest under the oracle of
tests/oracle (allocate ... gnttab_init, its own CPU figure).  Ours is measured twice: the plan as data, and the plan
carried out into fresh anonymous memory, page for page what the builder writes.  A ratio below 1 means we are faster.
"""

from __future__ import annotations

import argparse
import json
import mmap
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fixtures import fetch_parts
from pvboot.handoff.loader import TRAMPOLINE_PFN, loader_kernel
from pvboot.handoff.machine import store
from pvboot.kernel.image import KernelImage
from pvboot.kernel.loader import parse_kernel
from pvboot.kexec.build import build_domain
from pvboot.kexec.layout import BytesBlob, plan_layout
from pvboot.kexec.relocate import KexecPlan, plan_relocation
from pvboot.kexec.source import SourceDomain, running_loader

RAMDISK_BYTES = 62_914_511


class Frames:
    """Machine memory with nothing around it: frame n is row n - first."""

    def __init__(self, nr_pages: int) -> None:
        self.memory = mmap.mmap(-1, nr_pages * 4096)
        self.frames = np.frombuffer(self.memory, dtype=np.uint64)

    def write(self, mfn: int, offset: int, data: bytes) -> None:
        """Part of a page."""
        self.memory[mfn * 4096 + offset : mfn * 4096 + offset + len(data)] = data


def xen_cpu_ms(kernel: Path, ramdisk: Path, memory_mib: int) -> float:
    """CPU milliseconds of the real builder."""
    oracle = fetch_parts.ensure("oracle") / "oracle"
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        options = ["--mem", str(memory_mib), "--no-hash", "--quiet", "--json", report.name]
        subprocess.run([oracle, kernel, "--ramdisk", ramdisk, *options], check=True)
        timing: dict[str, float] = json.loads(Path(report.name).read_bytes())["timing_ms"]
    return timing["build_cpu"]


def running(nr_pages: int) -> SourceDomain:
    """A loader that already runs in a domain of that size."""
    frames = np.arange(nr_pages, dtype=np.uint64)
    image = build_domain(plan_layout(loader_kernel(64), nr_pages), frames, nr_pages)
    return running_loader(image, TRAMPOLINE_PFN)


def our_cpu_ms(kernel: KernelImage, ramdisk: bytes, source: SourceDomain, carry_out: bool) -> float:
    """CPU milliseconds from a parsed kernel to the plan (and to the domain's memory)."""
    memory = Frames(source.nr_pages) if carry_out else None
    start = time.process_time()
    layout = plan_layout(kernel, source.nr_pages, ramdisk=BytesBlob(ramdisk))
    plan: KexecPlan = plan_relocation(layout, source)
    if memory is not None:
        store(memory, plan.image.p2m, plan.image.writes())  # type: ignore[arg-type]
    return (time.process_time() - start) * 1000


def main() -> None:
    """Print both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, default=4096, metavar="MIB")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    kernel_path = fetch_parts.ensure("vmlinux-6.1.elf")
    ramdisk = b"070701" + bytes(range(251)) * (RAMDISK_BYTES // 251)
    with tempfile.NamedTemporaryFile(suffix=".cpio") as file:
        file.write(ramdisk)
        file.flush()
        xen = [xen_cpu_ms(kernel_path, Path(file.name), args.memory) for _ in range(args.repeat)]
    kernel = parse_kernel(kernel_path.read_bytes(), name="vmlinux")
    source = running(args.memory * 256)
    plan_only = [our_cpu_ms(kernel, ramdisk, source, carry_out=False) for _ in range(args.repeat)]
    carried = [our_cpu_ms(kernel, ramdisk, source, carry_out=True) for _ in range(args.repeat)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"domain of {args.memory} MiB, Debian's kernel, {len(ramdisk)} bytes of ramdisk")
    print(f"CPU ms, best of {args.repeat}:")
    print(f"  Xen's builder (libxenguest)        {min(xen):8.1f}")
    print(f"  pvboot: layout + plan              {min(plan_only):8.1f}   ratio {min(plan_only) / min(xen):.2f}")
    print(f"  pvboot: the same, memory filled    {min(carried):8.1f}   ratio {min(carried) / min(xen):.2f}")
    print(f"  peak memory of this process        {peak:8.0f} MiB")


if __name__ == "__main__":
    main()
