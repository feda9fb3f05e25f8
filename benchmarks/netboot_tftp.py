"""TFTP: ours beside dnsmasq and tftpd-hpa.  `python benchmarks/netboot.py tftp` runs this."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accounting import running
from fsdrivers.api import Extent, Filesystem
from fsdrivers.blocks import open_source
from fsdrivers.probe import probe
from pvboot.net.serve.api import Requester, ServedFile
from pvboot.net.serve.tftp.server import TftpServer

HOST, PORT = "127.0.0.1", 69
BLKSIZE = 1428
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
        "pvboot": [sys.executable, "-m", "benchmarks.netboot_tftp", str(folder / "disk.img")],
        "dnsmasq": ["/usr/sbin/dnsmasq", "--no-daemon", "--port=0", "--conf-file=/dev/null", f"--user={user}",
                    "--enable-tftp", f"--tftp-root={root}", "--tftp-max=1000", "--log-facility=-", "--pid-file="],
        "tftpd-hpa": ["/usr/sbin/in.tftpd", "-L", "--address", f"{HOST}:{PORT}", "--user", user,
                      "--secure", str(root)],
    }  # fmt: skip


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


CASES = (
    ("1 client", "file", 1, 1, ("pvboot", "dnsmasq", "tftpd-hpa")),
    ("128 clients", "part", 128, 1, ("pvboot", "dnsmasq", "tftpd-hpa")),
    ("1 client, windowsize 16", "file", 1, 16, ("pvboot",)),
    ("128 clients, windowsize 16", "part", 128, 16, ("pvboot",)),
)


def compare(folder: Path, repeat: int) -> None:
    """Print a line a case and server."""
    print(f"TFTP, blksize {BLKSIZE}; best of {repeat}, ratio to pvboot's own first line of as many clients in brackets")
    print(f"{'':28}{'server':12}{'CPU s/GB':>20}{'MB/s':>20}")
    lockstep: dict[int, tuple[float, float]] = {}
    for title, file, clients, windowsize, servers in CASES:
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for _ in range(repeat):
            for name in servers:
                runs[name].append(measure(folder, name, file, clients, windowsize))
        for name in servers:
            cost, speed = min(cost for cost, _ in runs[name]), max(speed for _, speed in runs[name])
            base = lockstep.setdefault(clients, (cost, speed))
            columns = f"{cost:11.2f} ({cost / base[0]:5.2f}x){speed:12.1f} ({speed / base[1]:5.2f}x)"
            print(f"{title:28}{name:12}  {columns}", flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
