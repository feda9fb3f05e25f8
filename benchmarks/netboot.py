"""The netboot server beside the usual ones, on loopback, serving the same bytes: CPU seconds a GB, MB a second.

    python benchmarks/netboot.py [tftp] [http] [--repeat N]

Ours serves a file out of an ext4 image, the others the same bytes as a plain file.  All run in a network namespace of
the benchmark's own (so it wants root), one at a time, in turns; each figure is the best of its runs.  CPU is that of
the server alone, its children included, from the kernel's accounting; the clients' is not counted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

INSIDE = "--inside-namespace"
# Each has `compare(folder, repeat)` and makes what it needs in that folder.
PARTS = {"tftp": "benchmarks.netboot_tftp", "http": "benchmarks.netboot_http"}


def main() -> None:
    """Compare the protocols asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="tftp|http", help="which protocols (default: all)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if not args.inside_namespace:
        # tftpd-hpa starts only where there is an address besides 127.0.0.1.
        prepare = 'ip link set lo up && ip addr add 192.0.2.1 dev lo && exec "$@"'
        again = [sys.executable, __file__, *sys.argv[1:], INSIDE]
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", prepare, "sh", *again])
    for part in args.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="pvboot-bench-") as folder:
            importlib.import_module(PARTS[part]).compare(Path(folder), args.repeat)


if __name__ == "__main__":
    main()
