"""The command blocks of the documentation, and a shell that runs them in a scratch folder."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.fetch.servers import Handler, free_port, http_server

PROGRAMS = (
    r"pvboot[\w-]*|make|curl|python3|pip|pytest|ln|xl|for|jq|gpgv|dask|useradd|systemctl|\S*/(?:python|pip|oracle)"
)
_BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$|((?:^ {4,}\S[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:[A-Z_]+=\$\(|\. |(?:{PROGRAMS})(?![\w.(:-]))")
_GOES_ON = re.compile(r"(?:\\|&&|\|)$")
_FILE = re.compile(r"^```\w+\n(# (\S+\.toml)\n.*?)^```$", re.MULTILINE | re.DOTALL)
_HOST_PATH = re.compile(r"(?<![\w./:)])/(?=(?:etc|srv|tmp|usr|var|opt|shared|dev/vg0)/)")
_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d{4}\b")
HOSTS = ("server", "10.0.0.1")  # as the pages call the web server


def commands_of(page: Path) -> Iterator[str]:
    """The commands of a page's indented and fenced blocks; one that goes on in the next line is one command."""
    for match in _BLOCK.finditer(
        re.sub(r"^```(?!sh)\w+\n.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    ):
        lines = (match[1] or match[2]).splitlines()
        if not _COMMAND.match(lines[0].strip()):
            continue
        whole: list[str] = []
        for line in lines:
            whole.append(line.strip())
            if not (_GOES_ON.search(line) or (whole[0].startswith("for ") and whole[-1] != "done")):
                yield "\n".join(whole)
                whole = []
        assert not whole, f"{page.name}: {whole[0]} does not end"


class Shell:
    """Runs commands in `folder`: paths of the host lie below it, ports are free ones, web servers have its files."""

    def __init__(self, folder: Path, proxy: str) -> None:
        self.folder = folder
        self._ports: dict[str, int] = {}
        self._servers: list[subprocess.Popen[str]] = []
        self._variables = ""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self._environment = {
            **os.environ,
            "PATH": path,
            "HOME": str(folder),
            "NO_COLOR": "1",
            "http_proxy": proxy,
            "no_proxy": "127.0.0.1",
        }

    def local(self, text: str) -> str:
        """A text of a page with this shell's paths and ports."""
        text = _HOST_PATH.sub(f"{self.folder}/", text)
        return _PORT.sub(lambda port: str(self._ports.setdefault(port[0], free_port(socket.SOCK_STREAM))), text)

    def write_files(self, page: Path) -> None:
        """Write the files that a page shows and names in their first line."""
        for text, name in _FILE.findall(page.read_text()):
            path = self.folder / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:  # a page may show a file in pieces
                file.write(self.local(text))

    def run(self, command: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command; a server is left running once it serves."""
        if re.match(r"[A-Z]+=\$\(", command):
            self._variables += command + "\n"
        start = ["bash", "-euo", "pipefail", "-c", self.local(self._variables + command)]
        if not re.match(r"pvboot serve \S+\.toml\b(?! -)", command):
            return subprocess.run(
                start, cwd=self.folder, env=self._environment, input=typed, capture_output=True, text=True, timeout=200
            )
        log = self.folder / "server.log"
        with log.open("w") as errors:
            server = subprocess.Popen(
                [*start[:-1], "exec " + start[-1]],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._servers.append(server)
        assert server.stdout is not None
        serving = server.stdout.readline()  # its first address, once it serves; nothing, if it has ended
        return subprocess.CompletedProcess(start, 0 if serving else server.wait(30), serving, log.read_text())

    def end(self) -> None:
        """End the servers."""
        for server in self._servers:
            server.terminate()
            server.wait(30)
            assert server.stdout is not None
            server.stdout.close()


@contextlib.contextmanager
def shell() -> Iterator[Shell]:
    """A shell in a new folder, whose `www` is what the pages' web servers have."""

    def as_proxy(handler: Handler) -> bool:
        asked = urlsplit(handler.path)
        handler.path = asked.path if asked.hostname in HOSTS else "/none"
        return False

    # Not below the tests' own folder: a server that was started by root reads it as another user.
    with tempfile.TemporaryDirectory(prefix="pvboot-docs-") as name, http_server(Path(name) / "www") as web:
        web.misbehave = as_proxy
        Path(name).chmod(0o755)
        opened = Shell(Path(name), web.url)
        try:
            yield opened
        finally:
            opened.end()
