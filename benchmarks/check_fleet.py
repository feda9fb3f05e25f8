"""pvboot check on a fleet: images a second with one, two and more workers, and what a second run with --state costs.

    python benchmarks/check_fleet.py [--images N] [--real N] [--jobs N ...] [--repeat N]

The images are made here, every one different: N with a tiny PV kernel, where all is overhead, N with Debian's kernel
and ramdisk, which are unpacked.  Each figure is of the whole command, by the clock and the best of N; it needs as many
idle CPUs as workers.  The last column is the CPU time of all processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from fixtures import make_images  # noqa: E402

MIB = 1 << 20
LABEL_AT = 1024 + 120  # s_volume_name of ext2's superblock; Debian's image has its file system at 1 MiB


def make_fleet(folder: Path, name: str, label_at: int, count: int) -> list[str]:
    """Copies of one image with holes, each with a file system label of its own."""
    first = make_images.make(name, folder)
    fleet = folder / f"fleet-{name}"
    fleet.mkdir()
    paths = []
    for number in range(count):
        path = fleet / f"guest-{number:04}.img"
        subprocess.run(["cp", "--sparse=always", first, path], check=True)
        with path.open("r+b") as image:
            image.seek(label_at)
            image.write(f"guest-{number}".encode().ljust(16, b"\0"))
        paths.append(str(path))
    return paths


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pvboot", "check", "--severity", "error", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
    )
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(f"exit code {done.returncode}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--real", type=int, default=16)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pvboot-fleet-"))
    try:
        print(f"{len(os.sched_getaffinity(0))} CPUs")
        print(f"{'':<34}{'seconds':>9}{'images/s':>10}{'times one':>11}{'CPU s':>8}")
        tiny = make_fleet(folder, "ext2.img", LABEL_AT, options.images)
        show_rates("tiny", tiny, options.jobs, options.repeat)
        show_rates("Debian", make_fleet(folder, "debian.img", MIB + LABEL_AT, options.real), options.jobs, 1)
        for name in ("first", "second"):
            show(f"{len(tiny)} tiny, --state, {name} run", len(tiny), *run(["--state", str(folder / "state"), *tiny]))
    finally:
        shutil.rmtree(folder)


def show_rates(kind: str, images: list[str], jobs: list[int], repeat: int) -> None:
    """A line for each number of workers, compared with the first."""
    first = 0.0
    for number in jobs:
        seconds, cpu = min(run(["--jobs", str(number), *images]) for _ in range(repeat))
        first = first or seconds
        show(f"{len(images)} {kind}, --jobs {number}", len(images), seconds, cpu, f"{first / seconds:.2f}")


def show(name: str, count: int, seconds: float, cpu: float, times: str = "") -> None:
    """One line of the table."""
    print(f"{name:<34}{seconds:>9.2f}{count / seconds:>10.1f}{times:>11}{cpu:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
