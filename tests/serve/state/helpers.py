"""Content in memory, requests, and a state over both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fsdrivers.errors import NotFound
from pvboot.serve.api import Requester, ServedDirectory, ServedFile
from pvboot.serve.metrics import SharedCounters
from pvboot.serve.state.bodies import read_body
from pvboot.serve.state.clients import Client, ClientBody, named_client
from pvboot.serve.state.menus import MadeFile
from pvboot.serve.state.profiles import Profile, ProfileBody, named_profile
from pvboot.serve.state.server import ServerState
from pvboot.serve.state.settings import StateSettings
from tests.serve.http.support import administered

TOKEN = "a token for the tests"
BASES = {"tftp": "tftp://192.0.2.1", "http": "http://192.0.2.1"}
MAC, OTHER_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"

CONFIG: dict[str, Any] = {
    "default": "rescue",
    "profiles": {
        "rescue": {"title": "Rescue", "kernel": "/k", "initrd": "/i", "args": "rescue"},
        "debian": {"title": "Debian", "kernel": "/debian/vmlinuz", "initrd": ["/debian/initrd"], "args": "quiet"},
    },
    "clients": {
        "web": {"mac": MAC, "profile": "debian", "address": "192.0.2.10"},
        "off": {"mac": OTHER_MAC, "enabled": False},
    },
    "api": {"write_token": TOKEN.replace(" ", "-")},
}
AUTHORIZED = {"Authorization": f"Bearer {TOKEN.replace(' ', '-')}"}


def load(values: Mapping[str, Any]) -> StateSettings:
    return read_body(StateSettings, values, "")


def read_profile(name: str, value: Any) -> Profile:
    return named_profile(name, read_body(ProfileBody, value, "profile"), "api")


def read_client(name: str, value: Any) -> Client:
    return named_client(name, read_body(ClientBody, value, "client"), "api")


class MemoryContent:
    """Files by path."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        if path == "/":
            return ServedDirectory(())
        if path not in self.files:
            raise NotFound("no such file", where=path)
        return MadeFile(self.files[path])


FILES = dict.fromkeys(("/k", "/i", "/debian/vmlinuz", "/debian/initrd"), b"x" * 100)


class Served:
    """A state whose API and page are served at a port of the loopback."""

    def __init__(self, state: ServerState, port: int, shared: SharedCounters) -> None:
        self.content, self.journal, self.warnings = state.content, state.journal, state.warnings
        self.state, self.port, self.shared = state, port, shared


@contextmanager
def served(state: ServerState) -> Iterator[Served]:
    """A state, closed in the end, and a server of its API and page."""
    shared = SharedCounters(1)
    try:
        with administered(lambda application: state.add_routes(application, shared)) as server:
            yield Served(state, server.port, shared)
    finally:
        state.close()


@contextmanager
def state_in(folder: Path, config: Mapping[str, Any] = CONFIG, **more: Any) -> Iterator[Served]:
    """A state with a SQLite file in `folder`."""
    whole = {"state": str(folder / "state.db"), **config, **more}
    with served(ServerState(load(whole), MemoryContent(FILES), BASES)) as state:
        yield state


def who(protocol: str = "tftp", address: str = "198.51.100.1", **claims: str) -> Requester:
    return Requester(protocol, address, claims=claims)


def read(state: Served | ServerState, path: str, asker: Requester) -> str:
    """The text of a file."""
    opened = state.content.open(path, asker)
    assert isinstance(opened, MadeFile)
    return opened.data.decode()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API or the page."""

    status: int
    headers: Message
    body: bytes


def call(
    state: Served,
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    query: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    token: bool = True,
) -> Reply:
    """The answer to a request; by default with the token."""
    data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(AUTHORIZED if token else {}), **(headers or {})}
    target = quote(path.encode("utf-8", "surrogateescape"), safe="/%")
    if query:
        target += "?" + urlencode(query, doseq=True, encoding="utf-8", errors="surrogateescape")
    client = HTTPConnection("127.0.0.1", state.port, timeout=60)
    try:
        client.request(method, target, data, sent)
        answer = client.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        client.close()


def ask(state: Served, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
    """Status and decoded body."""
    answer = call(state, method, path, body, **more)
    return answer.status, json.loads(answer.body) if answer.body else None
