"""Many clients behind a network that loses packets."""

from __future__ import annotations

import ast
import contextlib
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A Python module as a process that prints its port."""
    command = [sys.executable, "-m", *map(str, arguments)]
    child = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def storm(folder: Path, size: int, clients: int, percent: float, windowsize: int) -> tuple[int, dict[str, int]]:
    """All clients fetch the same file through the lossy proxy; the server's peak memory and its outcomes."""
    data = random.Random(7).randbytes(size)
    (folder / "file").write_bytes(data)
    with (
        process("tests.serve.tftp.standalone", folder / "file") as (server, port),
        process("tests.fetch.lossy", port, percent, "seed") as (_, proxy_port),
    ):
        load = [
            sys.executable,
            str(REPOSITORY / "benchmarks" / "tftp_load.py"),
            "127.0.0.1",
            str(proxy_port),
            "file",
            str(size),
            "--clients",
            str(clients),
            "--windowsize",
            str(windowsize),
            "--crc32",
            str(zlib.crc32(data)),
        ]
        done = subprocess.run(load, capture_output=True, text=True, timeout=280)
        assert (done.returncode, done.stderr) == (0, "")
        status = Path(f"/proc/{server.pid}/status").read_text().split()
        peak = int(status[status.index("VmHWM:") + 1]) * 1024
        server.terminate()
        outcomes, _ = server.communicate(timeout=60)
    return peak, ast.literal_eval(outcomes.partition("}")[0] + "}")


@pytest.mark.parametrize(("windowsize", "size"), [(1, 15_000), (16, 90_000)])
def test_a_few_clients_survive_heavy_loss(tmp_path: Path, windowsize: int, size: int) -> None:
    _, outcomes = storm(tmp_path, size, 8, 10, windowsize)
    # The last ACK may be lost and the client gone: then the server cannot know, and waits until it is stopped.
    assert sum(outcomes.values()) >= 8
    assert set(outcomes) <= {"done", "aborted", "timeout", "error: server stopped"}


@pytest.mark.slow
def test_two_hundred_clients_at_once_survive_two_percent_loss(tmp_path: Path) -> None:
    peak, outcomes = storm(tmp_path, 5_000_000, 200, 2, 1)
    assert outcomes["done"] >= 180
    assert peak < 300 << 20
