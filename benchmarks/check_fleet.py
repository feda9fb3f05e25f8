"""pvboot check on a fleet: images a second with one, two and more workers, and what a second run with --state costs.

    python benchmarks/check_fleet.py [--images N] [--jobs N ...] [--repeat N]

The images are made here: ext2 with a menu of four entries and a tiny PV kernel, every one different.  Each figure is of
the whole command, by the clock and the best of N; it needs as many idle CPUs as workers.  The last column is the CPU
time of all processes.
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


def make_fleet(folder: Path, count: int) -> list[str]:
    """Copies of one image with holes, each with a label of its own."""
    first = make_images.make("ext2.img", folder)
    fleet = folder / "fleet"
    fleet.mkdir()
    paths = []
    for number in range(count):
        path = fleet / f"guest-{number:04}.img"
        subprocess.run(["cp", "--sparse=always", first, path], check=True)
        with path.open("r+b") as image:
            image.seek(1024 + 120)  # s_volume_name of the superblock
            image.write(f"guest-{number}".encode().ljust(16, b"\0"))
        paths.append(str(path))
    return paths


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pvboot", "check", "--severity", "error", *arguments], cwd=REPOSITORY,
                          stdout=subprocess.DEVNULL)  # fmt: skip
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(f"exit code {done.returncode}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pvboot-fleet-"))
    try:
        images = make_fleet(folder, options.images)
        print(f"{len(images)} images, {len(os.sched_getaffinity(0))} CPUs")
        print(f"{'':<22}{'seconds':>9}{'images/s':>10}{'times one':>11}{'CPU s':>8}")
        rates: dict[int, float] = {}
        for jobs in options.jobs:
            seconds, cpu = min(run(["--jobs", str(jobs), *images]) for _ in range(options.repeat))
            rates[jobs] = len(images) / seconds
            times = f"{rates[jobs] / rates[1]:.2f}" if 1 in rates else ""
            print(f"--jobs {jobs:<15}{seconds:>9.2f}{rates[jobs]:>10.0f}{times:>11}{cpu:>8.2f}")
        state = ["--state", str(folder / "state"), *images]
        for name in ("--state, first run", "--state, second run"):
            seconds, cpu = run(state)
            print(f"{name:<22}{seconds:>9.2f}{len(images) / seconds:>10.0f}{'':>11}{cpu:>8.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
