"""The netboot server beside the usual ones, on loopback, serving the same bytes: CPU seconds a GB, MB a second.

    python benchmarks/netboot.py [tftp] [http] [--repeat N] [--size MB]

Ours serves a file out of an ext4 image, the others the same bytes as a plain file.  All run in a network namespace of
the benchmark's own (so it wants root), one at a time, in turns; each figure is the best of its runs.  CPU is that of
the server alone, its children included, from the kernel's accounting; the clients' is not counted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from fixtures import make_images  # noqa: E402

MB = 1_000_000
INSIDE = "--inside-namespace"
# Each has `compare(folder, repeat)`; `folder` holds what `make_files` made.
PARTS = {"tftp": "benchmarks.netboot_tftp", "http": "benchmarks.netboot_http"}


def make_files(folder: Path, size: int) -> None:
    """`disk.img` (ext4) and the plain folder `root`, both with the same `file` (`size` bytes) and `part` (2 MB)."""
    noise = random.Random(1)
    files: dict[str, bytes | make_images.Link] = {"file": noise.randbytes(size), "part": noise.randbytes(2 * MB)}
    make_images.make_ext(folder / "disk.img", files, size + 24 * MB, "ext4")
    root = folder / "root"
    root.mkdir()
    for name, data in files.items():
        assert isinstance(data, bytes)
        (root / name).write_bytes(data)
        (root / name).chmod(0o644)
    root.chmod(0o755)
    folder.chmod(0o755)


def main() -> None:
    """Compare the protocols asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="tftp|http", help="which protocols (default: all)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--size", type=int, default=40, help="size of the file in MB")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if not args.inside_namespace:
        # tftpd-hpa starts only where there is an address besides 127.0.0.1.
        prepare = 'ip link set lo up && ip addr add 192.0.2.1 dev lo && exec "$@"'
        again = [sys.executable, __file__, *sys.argv[1:], INSIDE]
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", prepare, "sh", *again])
    with tempfile.TemporaryDirectory(prefix="pvboot-bench-") as name:
        folder = Path(name)
        make_files(folder, args.size * MB)
        for part in args.parts or PARTS:
            importlib.import_module(PARTS[part]).compare(folder, args.repeat)


if __name__ == "__main__":
    main()
