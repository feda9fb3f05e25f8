"""TFTP: ours beside dnsmasq and tftpd-hpa.  `python benchmarks/netboot.py tftp` runs this."""

from __future__ import annotations

import os
import pwd
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accounting import running
from fixtures import make_images
from fsdrivers.api import Extent, Filesystem
from fsdrivers.blocks import open_source
from fsdrivers.probe import probe
from pvboot.serve.api import Requester, ServedFile
from pvboot.serve.tftp.server import TftpServer

HOST, PORT = "127.0.0.1", 69
BLKSIZE = 1428
MB = 1_000_000
OURS = "pvboot"
WINDOW = ", windowsize 16"
# Title, file, clients, windowsize, servers; the others know no windows.
CASES = (
    ("1 client", "file", 1, 1, (OURS, "dnsmasq", "tftpd-hpa")),
    ("128 clients", "part", 128, 1, (OURS, "dnsmasq", "tftpd-hpa")),
    ("1 client" + WINDOW, "file", 1, 16, (OURS,)),
    ("128 clients" + WINDOW, "part", 128, 16, (OURS,)),
)
LOAD = Path(__file__).resolve().parent / "tftp_load.py"
REPOSITORY = LOAD.parent.parent


@dataclass
class ImageFile:
    """A file of a file system; the image's descriptor stays open."""

    runs: Sequence[Extent]
    size: int
    mtime: float | None = None
    etag: str = "benchmark"
    content_type: str = "application/octet-stream"

    def extents(self) -> Sequence[Extent]:
        """Where its bytes lie."""
        return self.runs

    def close(self) -> None:
        """Nothing of its own is open."""


class ImageContent:
    """The files inside one image."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem

    def open(self, path: str, who: Requester) -> ServedFile:
        """The file's extents."""
        file = self._filesystem.open(path)
        return ImageFile(list(file.extents()), file.size)


class Silence:
    """A journal that keeps nothing."""

    def begin(self, who: Requester, path: str, size: int) -> int:
        """No number."""
        return 0

    def advance(self, number: int, sent: int) -> None:
        """Not kept."""

    def end(self, number: int, outcome: str, sent: int) -> None:
        """Not kept."""

    def refuse(self, who: Requester, path: str, reason: str) -> None:
        """Not kept."""

    def count(self, name: str, amount: int = 1) -> None:
        """Not kept."""


def make_files(folder: Path) -> None:
    """`disk.img` (ext4) and the plain folder `root`, both with the same `file` (40 MB) and `part` (2 MB)."""
    noise = random.Random(1)
    files: dict[str, bytes | make_images.Link] = {"file": noise.randbytes(40 * MB), "part": noise.randbytes(2 * MB)}
    make_images.make_ext(folder / "disk.img", files, 64 * MB, "ext4")
    root = folder / "root"
    root.mkdir()
    for name, data in files.items():
        assert isinstance(data, bytes)
        (root / name).write_bytes(data)
        (root / name).chmod(0o644)
    for place in (folder, root):
        # dnsmasq serves what everybody may read.
        place.chmod(0o755)


def serve(image: str) -> None:
    """Be the server until SIGTERM."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listener.bind((HOST, PORT))
    server = TftpServer([listener], ImageContent(probe(open_source(image))), Silence())
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run()


def commands(folder: Path) -> dict[str, list[str]]:
    """How each server is started in the foreground."""
    root, user = folder / "root", pwd.getpwuid(os.getuid()).pw_name
    return {
        OURS: [sys.executable, "-m", "benchmarks.netboot_tftp", str(folder / "disk.img")],
        "dnsmasq": [
            "/usr/sbin/dnsmasq",
            "--no-daemon",
            "--port=0",
            "--conf-file=/dev/null",
            f"--user={user}",
            "--enable-tftp",
            f"--tftp-root={root}",
            "--tftp-max=1000",
            "--log-facility=-",
            "--pid-file=",
        ],
        "tftpd-hpa": ["/usr/sbin/in.tftpd", "-L", "--address", f"{HOST}:{PORT}", "--user", user, "--secure", str(root)],
    }


def listening() -> bool:
    """Whether a server has bound the port (UDP has no other sign of it)."""
    return f":{PORT:04X} " in Path("/proc/net/udp").read_text()


def measure(folder: Path, name: str, file: str, clients: int, windowsize: int) -> tuple[float, float]:
    """CPU seconds a GB and MB a second of one run."""
    size = (folder / "root" / file).stat().st_size
    with running(commands(folder)[name], REPOSITORY, listening) as (_, group):
        before = group.cpu_seconds()
        load = [sys.executable, str(LOAD), HOST, str(PORT), file, str(size), "--clients", str(clients)]
        load += ["--blksize", str(BLKSIZE), "--windowsize", str(windowsize)]
        seconds = float(subprocess.run(load, check=True, capture_output=True, text=True).stdout)
        spent = group.cpu_seconds() - before
    return spent / (size * clients / 1e9), size * clients / seconds / 1e6


def compare(folder: Path, repeat: int) -> None:
    """Print a line a case and server, then how ours stands to the others; `folder` is empty."""
    make_files(folder)
    print(f"TFTP, blksize {BLKSIZE}, best of {repeat}\n{'':28}{'server':12}{'CPU s/GB':>10}{'MB/s':>10}")
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for title, file, clients, windowsize, servers in CASES:
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for _ in range(repeat):
            for name in servers:
                runs[name].append(measure(folder, name, file, clients, windowsize))
        for name in servers:
            cost, speed = min(cost for cost, _ in runs[name]), max(speed for _, speed in runs[name])
            best[title, name] = cost, speed
            print(f"{title:28}{name:12}{cost:10.2f}{speed:10.1f}", flush=True)
    print()
    for (title, name), (cost, speed) in best.items():
        if name != OURS:
            ours = best[title, OURS]
            print(f"{title}: CPU {ours[0] / cost:.2f} of {name}'s, throughput {ours[1] / speed:.2f}")
        elif title.endswith(WINDOW):
            alone = best[title.removesuffix(WINDOW), OURS]
            print(f"{title}: CPU {cost / alone[0]:.2f} of lock-step's, throughput {speed / alone[1]:.2f}")


if __name__ == "__main__":
    serve(sys.argv[1])
