"""The HTTP server against nginx: CPU time and wall time for a 40 MB file, and memory with 1,000 clients at once.

    python benchmarks/netboot_http.py [--repeat N] [--no-storm]

nginx (one worker, sendfile) serves the bytes as a plain file; `pvboot serve` serves them from inside an ext4 image,
through the file's extents.  Both run in turn, everything in the page cache, over loopback.  CPU is that of all the
server's processes, in seconds per 10^9 bytes; each figure is the median of N rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from fixtures import make_images  # noqa: E402
from fsdrivers.blocks import open_source  # noqa: E402
from fsdrivers.probe import probe  # noqa: E402

FILE_BYTES = 40_000_000
FILLER_BYTES = 2_000_000
STORM_BYTES, STORM_CLIENTS = 5_000_000, 1000
CLIENTS = {1: 20, 64: 1}  # clients at once: files that each fetches
CONFIG = """
[listen]
http = ["127.0.0.1:0"]
admin = ["127.0.0.1:0"]

[[content]]
path = "/images"
images = "images"

[limits.http]
connections_per_address = 4096
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; user {user};
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; root {folder}/plain; client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its first process, its port and the directory of the files."""

    pid: int
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Round:
    """CPU seconds per 10^9 bytes and wall seconds."""

    cpu: float
    wall: float


def process_tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of all its threads so far, in the scheduler's nanoseconds: the clock ticks of `stat` are too coarse."""
    threads = (task for one in process_tree(pid) for task in Path(f"/proc/{one}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) / 1e9


def peak_bytes(pid: int) -> int:
    """Peak resident memory of a process and its descendants, pages that they share counted each time."""
    states = (Path(f"/proc/{one}/status").read_text() for one in process_tree(pid))
    return sum(int(state.partition("VmHWM:")[2].split()[0]) * 1024 for state in states)


def fetch_all(port: int, path: str, clients: int, size: int) -> None:
    """`clients` connections at once fetch the path; each must get `size` bytes behind the head."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    buffer = memoryview(bytearray(1 << 20))
    with selectors.EpollSelector() as selector:
        left: dict[socket.socket, int] = {}
        for _ in range(clients):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(request)
            left[sock] = -1
            selector.register(sock, selectors.EVENT_READ)
        while left:
            for key, _ in selector.select(30) or _stuck(left):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                count = sock.recv_into(buffer)
                if left[sock] < 0:  # the head comes in one piece
                    head = bytes(buffer[:4096]).partition(b"\r\n\r\n")[0]
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    left[sock], count = size, count - len(head) - 4
                left[sock] -= count
                if count == 0 or left[sock] <= 0:
                    assert left[sock] == 0, f"{left[sock]} bytes are missing"
                    selector.unregister(sock)
                    sock.close()
                    del left[sock]


def _stuck(left: dict[socket.socket, int]) -> list[tuple[selectors.SelectorKey, int]]:
    raise TimeoutError(f"{len(left)} clients have got nothing for 30 seconds")


def measure(server: Server, clients: int, times: int) -> Round:
    """One round."""
    cpu, wall = cpu_seconds(server.pid), time.perf_counter()
    for _ in range(times):
        fetch_all(server.port, f"{server.path}/initrd", clients, FILE_BYTES)
    wall = time.perf_counter() - wall
    return Round((cpu_seconds(server.pid) - cpu) / (clients * times * FILE_BYTES / 1e9), wall)


@contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    """nginx over the plain files."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    user = "root" if os.geteuid() == 0 else "nobody"
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, user=user))
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], env=environment
    )
    try:
        for _ in range(100):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Server(process.pid, port, "")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def pvboot(folder: Path) -> Iterator[Server]:
    """`pvboot serve` over the image."""
    (folder / "serve.toml").write_text(CONFIG)
    receive, send = os.pipe()
    command = [sys.executable, "-m", "pvboot", "serve", str(folder / "serve.toml"), "--ready-fd", str(send)]
    with (folder / "log").open("wb") as log, open(receive, "rb") as ready:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, pass_fds=[send])
        os.close(send)
        try:
            told = ready.readline()
            if not told:
                raise SystemExit((folder / "log").read_text())
            yield Server(process.pid, json.loads(told)["http"][0][1], "/images/guest.img")
        finally:
            process.terminate()
            process.wait()


def make_image(folder: Path) -> int:
    """The same bytes as a plain file and inside an image, where they lie in pieces; gives their number."""
    noise = random.Random(1)
    plain = folder / "plain"
    plain.mkdir()
    (plain / "initrd").write_bytes(noise.randbytes(FILE_BYTES))
    image, fillers = folder / "images" / "guest.img", [f"filler{number:02}" for number in range(24)]
    tree = {"storm": noise.randbytes(STORM_BYTES), **{name: noise.randbytes(FILLER_BYTES) for name in fillers}}
    image.parent.mkdir()
    make_images.make_ext(image, tree, 96 << 20, "ext4")
    commands = [*(f"rm {name}" for name in fillers[::2]), f"write {plain / 'initrd'} initrd"]
    make_images.run_tool("debugfs", "-w", "-f", "-", image, stdin="\n".join(commands) + "\n")
    for path in (plain / "initrd", image):
        read_anew(path)
    return len(tuple(probe(open_source(image)).open("/initrd").extents()))


def read_anew(path: Path) -> None:
    """Fill the page cache from the disk.

    What was just written in small pieces lies there in small pages, which costs sendfile twice the time.
    """
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 20):
            pass


def compare(folder: Path, repeat: int, *, with_storm: bool = True) -> None:
    """Print all figures; works in a folder of its own below `folder`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    own = folder / "http"
    own.mkdir()
    for one in (folder, own):
        one.chmod(0o755)  # the server gives up root
    extents = make_image(own)
    print(f"HTTP, {FILE_BYTES / 1e6:.0f} MB from an ext4 image ({extents} extents), median of {repeat}")
    side_by_side(own, repeat)
    if with_storm:
        storm(own)


def side_by_side(folder: Path, repeat: int) -> None:
    """One line for each number of clients."""
    with nginx(folder) as reference, pvboot(folder) as ours:
        for clients, times in CLIENTS.items():
            rounds = [(measure(reference, clients, times), measure(ours, clients, times)) for _ in range(repeat)]
            figures = [
                [statistics.median(getattr(pair[side], name) for pair in rounds) for side in (0, 1)]
                for name in ("cpu", "wall")
            ]
            (cpu_nginx, cpu_ours), (wall_nginx, wall_ours) = figures
            print(
                f"  {clients:2} clients: CPU s/GB nginx {cpu_nginx:.3f}, pvboot {cpu_ours:.3f}, "
                f"ratio {cpu_ours / cpu_nginx:.2f} (bar 1.5); wall s {wall_nginx:.2f} and {wall_ours:.2f}, "
                f"throughput ratio {wall_nginx / wall_ours:.2f} (bar 0.8)"
            )


def storm(folder: Path) -> None:
    """Memory of the server when a thousand clients fetch at once."""
    with pvboot(folder) as server:
        idle = peak_bytes(server.pid)
        fetch_all(server.port, f"{server.path}/storm", STORM_CLIENTS, STORM_BYTES)
        print(
            f"  {STORM_CLIENTS} clients, {STORM_BYTES / 1e6:.0f} MB each: peak memory "
            f"{peak_bytes(server.pid) / 2**20:.0f} MiB, {idle / 2**20:.0f} MiB before (bar 300 MiB)"
        )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--no-storm", action="store_true", help="leave the thousand clients out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pvboot-http-") as name:
        compare(Path(name), args.repeat, with_storm=not args.no_storm)


if __name__ == "__main__":
    main()
