"""Clients as the world has them fetch from our server."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsdrivers.api import Extent
from tests.serve.tftp.peer import Peer
from tests.serve.tftp.served import Running, serving

SIZES = {"empty": 0, "one": 1, "short": 511, "even": 512, "multiple": 1428 * 20, "odd": 100_001}
# 65,600 blocks of 512 bytes and a bit, nearly all of them a hole.
ROLLOVER_BYTES = 512 * 65_600 + 7
Get = Callable[[Running, str, Path], "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("files")
    table: dict[str, object] = {}
    descriptors = []
    for name, size in SIZES.items():
        (folder / name).write_bytes(random.Random(name).randbytes(size))
        descriptors.append(os.open(folder / name, os.O_RDONLY))
        half = size // 2
        table[f"/{name}"] = [Extent(half, fd=descriptors[-1]), Extent(size - half, fd=descriptors[-1], offset=half)]
    table["/long"] = [Extent(100, data=b"a" * 100), Extent(ROLLOVER_BYTES - 200), Extent(100, data=b"z" * 100)]
    with serving(table) as server:
        yield server
    for fd in descriptors:
        os.close(fd)


def expected(running: Running, name: str) -> bytes:
    if name == "long":
        return b"a" * 100 + bytes(ROLLOVER_BYTES - 200) + b"z" * 100
    runs = running.files.table[f"/{name}"]
    assert isinstance(runs, list)
    return b"".join(os.pread(run.fd, run.length, run.offset) for run in runs)


def run(*command: object, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, input=stdin.encode(), capture_output=True, timeout=120
    )


def curl(blksize: int) -> Get:
    def get(running: Running, name: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
        url = f"tftp://127.0.0.1:{running.port}/{name}"
        return run("curl", "-sS", "--tftp-blksize", blksize, "-o", name, url, cwd=folder)

    return get


def curl_without_options(running: Running, name: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return run("curl", "-sS", "--tftp-no-options", "-o", name, f"tftp://127.0.0.1:{running.port}/{name}", cwd=folder)


def hpa(running: Running, name: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return run("tftp", "-4", "-m", "binary", "127.0.0.1", running.port, "-c", "get", name, cwd=folder)


def atftp(*options: str) -> Get:
    def get(running: Running, name: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
        chosen = [part for option in options for part in ("--option", option)]
        return run("atftp", *chosen, "--get", "-r", name, "-l", name, "127.0.0.1", running.port, cwd=folder)

    return get


def tftpy(running: Running, name: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    code = (
        "import sys, tftpy\n"
        "options = {'blksize': 1432, 'tsize': 0}\n"
        "client = tftpy.TftpClient('127.0.0.1', int(sys.argv[1]), options)\n"
        "client.download(sys.argv[2], sys.argv[2], timeout=5)\n"
    )
    return run(sys.executable, "-c", code, running.port, name, cwd=folder)


CLIENTS: dict[str, Get] = {
    **{f"curl-{blksize}": curl(blksize) for blksize in (8, 512, 1428, 65464)},
    "curl-no-options": curl_without_options,
    "tftp-hpa": hpa,
    "atftp": atftp(),
    "atftp-1428": atftp("blksize 1428"),
    "atftp-window": atftp("blksize 1428", "windowsize 16", "tsize", "timeout 3"),
    "tftpy": tftpy,
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", SIZES)
def test_clients_get_the_file(running: Running, tmp_path: Path, client: str, name: str) -> None:
    done = CLIENTS[client](running, name, tmp_path)
    assert done.returncode == 0, done
    # curl makes no file of nothing.
    got = (tmp_path / name).read_bytes() if (tmp_path / name).exists() or not client.startswith("curl") else b""
    assert got == expected(running, name)


@pytest.mark.parametrize("blksize", [64, 512, 1432, 65464])
def test_busybox_gets_the_file(running: Running, parts: Callable[[str], Path], tmp_path: Path, blksize: int) -> None:
    for name in SIZES:
        command = (parts("busybox"), "tftp", "-g", "-b", blksize, "-r", name, "-l", name, "127.0.0.1", running.port)
        done = run(*command, cwd=tmp_path)
        assert done.returncode == 0, done
        assert (tmp_path / name).read_bytes() == expected(running, name)


@pytest.mark.parametrize("client", ["curl-512", "tftp-hpa", "atftp"])
def test_clients_go_on_past_block_65535(running: Running, tmp_path: Path, client: str) -> None:
    done = CLIENTS[client](running, "long", tmp_path)
    assert done.returncode == 0, done
    assert (tmp_path / "long").read_bytes() == expected(running, "long")


@pytest.mark.parametrize("windowsize", [2, 7, 16, 64])
@pytest.mark.parametrize("blksize", [8, 512, 1428, 65464])
def test_windows_of_any_make(running: Running, blksize: int, windowsize: int) -> None:
    # What the server grants of the last one is less: it must be told by the OACK, so only fitting ones are asked.
    if windowsize * (blksize + 4) > 128 << 10:
        windowsize = 2
    for name in SIZES:
        with Peer(running) as peer:
            assert peer.fetch(name, blksize, windowsize) == expected(running, name)


def test_windows_go_on_past_block_65535(running: Running) -> None:
    with Peer(running) as peer:
        assert peer.fetch("long", 512, 16) + b"" == expected(running, "long")


@pytest.mark.parametrize("client", ["tftp-hpa", "atftp", "tftpy"])
def test_clients_are_told_what_is_wrong(running: Running, tmp_path: Path, client: str) -> None:
    done = CLIENTS[client](running, "missing", tmp_path)
    assert b"not found" in (done.stdout + done.stderr).lower()


def test_curl_tells_a_missing_file_by_its_exit_code(running: Running, tmp_path: Path) -> None:
    assert CLIENTS["curl-512"](running, "missing", tmp_path).returncode == 68


def test_ipv6(tmp_path: Path) -> None:
    data = random.Random(6).randbytes(30_000)
    with serving({"/f": data}, host="::1", family=socket.AF_INET6) as running:
        done = run("curl", "-sS", "-o", "f", f"tftp://[::1]:{running.port}/f", cwd=tmp_path)
        assert done.returncode == 0, done
        assert (tmp_path / "f").read_bytes() == data
        done = run("tftp", "-6", "-m", "binary", "::1", running.port, "-c", "get", "f", "g", cwd=tmp_path)
        assert (tmp_path / "g").read_bytes() == data
