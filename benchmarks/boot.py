"""CPU time of a whole boot of Debian's kernel from a disk image: to its first line, to user space, to power-off.

    python benchmarks/boot.py [--repeat N]

Each figure is user + system CPU of one `pvboot boot` process from its start, payload decompression included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from fixtures import fetch_parts, make_images  # noqa: E402

STAGES = {
    "first kernel line": ["--until", "Linux version"],
    "user space": ["--until", "hello from user space"],
    "power-off": [],
    "power-off, frames shuffled": ["--shuffle", "1"],
    "power-off, built directly": ["--direct"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """CPU seconds of one run, which must end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "pvboot", "boot", *arguments],
        cwd=REPOSITORY,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print one line a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    image = make_images.make("debian.img", fetch_parts.parts_directory())
    print(f"CPU seconds of `pvboot boot`, best of {args.repeat}")
    for stage, options in STAGES.items():
        times = [cpu_seconds([str(image), "--no-menu", *options]) for _ in range(args.repeat)]
        print(f"  {stage:<28} {min(times):6.2f}")


if __name__ == "__main__":
    main()
