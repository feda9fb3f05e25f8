"""A running `pvboot serve` and its clients."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import REPOSITORY

START_SECONDS = 60
END_SECONDS = 60


class Server:
    """`pvboot serve` on a configuration in `folder`; its log is in `folder/log`."""

    def __init__(
        self,
        folder: Path,
        config: str,
        *options: str,
        prefix: Sequence[str] = (),
        wait: bool = True,
        env: dict[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:
        self.config = folder / "serve.toml"
        self.config.write_text(config)
        self.log_path = folder / "log"
        receive, send = os.pipe()
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, python, "-m", "pvboot", "serve", str(self.config), "--ready-fd", str(send), *options],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[send],
                env={**os.environ, **(env or {})},
            )
        os.close(send)
        self.addresses: dict[str, Any] = {}
        try:
            if wait:
                assert select.select([receive], [], [], START_SECONDS)[0], self.log
                # A shell's `read` is content with a line, `cat` waits for the end: the descriptor is closed.
                with os.fdopen(receive, closefd=False) as ready:
                    self.addresses = json.loads(ready.read() or pytest.fail(self.log))
        except BaseException:
            self.kill()
            raise
        finally:
            os.close(receive)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return int(self.addresses["pid"])

    def port(self, protocol: str, index: int = 0) -> int:
        return int(self.addresses[protocol][index][1])

    def url(self, path: str, protocol: str = "http") -> str:
        return f"{protocol.replace('admin', 'http')}://127.0.0.1:{self.port(protocol)}{path}"

    def get(self, path: str, protocol: str = "http", **headers: str) -> bytes:
        request = urllib.request.Request(self.url(path, protocol), headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            data = answer.read()
        assert isinstance(data, bytes)
        return data

    def status(self, path: str, protocol: str = "http") -> int:
        try:
            self.get(path, protocol)
        except urllib.error.HTTPError as err:
            return err.code
        return 200

    def names(self, path: str) -> list[str]:
        return [entry["name"] for entry in json.loads(self.get(path, Accept="application/json"))["entries"]]

    def tftp(self, path: str, target: Path, index: int = 0) -> bytes:
        """By tftp-hpa; b"" if it gets nothing."""
        host, port = self.addresses["tftp"][index]
        done = subprocess.run(
            ["tftp", "-m", "binary", host, str(port), "-c", "get", path, str(target)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return target.read_bytes() if target.exists() and "Error" not in done.stdout else b""

    def metrics(self) -> dict[str, float]:
        lines = self.get("/metrics", "admin").decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def children(self) -> dict[str, int]:
        """The workers' process ids by name."""
        return {name(pid): pid for pid in children(self.pid)}

    def reload(self) -> None:
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            os.kill(self.addresses.get("pid", self.process.pid), signal.SIGTERM)
        return self.process.wait(END_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(END_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def family(pid: int) -> list[int]:
    """All processes below one."""
    found = []
    for child in children(pid):
        found += [child, *family(child)]
    return found


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def hear(sock: socket.socket, seconds: float = END_SECONDS) -> bytes:
    assert select.select([sock], [], [], seconds)[0], "nothing was said"
    return sock.recv(65536)
