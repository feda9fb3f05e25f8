"""Content in memory, requests, and a state over both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsdrivers.errors import NotFound
from pvboot.serve.api import Request, Requester, Response, ServedDirectory, ServedFile
from pvboot.serve.state.bodies import read_body
from pvboot.serve.state.clients import Client, ClientBody, named_client
from pvboot.serve.state.menus import MadeFile
from pvboot.serve.state.profiles import Profile, ProfileBody, named_profile
from pvboot.serve.state.server import ServerState
from pvboot.serve.state.settings import StateSettings

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
AUTHORIZED = {"authorization": f"Bearer {TOKEN.replace(' ', '-')}"}


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


@contextmanager
def state_in(folder: Path, config: Mapping[str, Any] = CONFIG, **more: Any) -> Iterator[ServerState]:
    """A state with a SQLite file in `folder`."""
    whole = {"state": str(folder / "state.db"), **config, **more}
    state = ServerState(load(whole), MemoryContent(FILES), BASES)
    try:
        yield state
    finally:
        state.close()


def who(protocol: str = "tftp", address: str = "198.51.100.1", **claims: str) -> Requester:
    return Requester(protocol, address, claims=claims)


def read(state: ServerState, path: str, asker: Requester) -> str:
    """The text of a file."""
    opened = state.content.open(path, asker)
    assert isinstance(opened, MadeFile)
    return opened.data.decode()


def request(
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    query: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    token: bool = True,
    address: str = "127.0.0.1",
) -> Request:
    """A request as the HTTP server makes it; by default with the token."""
    data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", **(AUTHORIZED if token else {}), **(headers or {})}
    return Request(method, path, query or {}, sent, data, who("http", address))


def call(state: ServerState, method: str, path: str, body: Any = None, **more: Any) -> Response:
    """The answer of the first handler that has one."""
    asked = request(method, path, body, **more)
    return next(answer for handler in state.handlers if (answer := handler(asked)) is not None)


def ask(state: ServerState, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
    """Status and decoded body."""
    answer = call(state, method, path, body, **more)
    return answer.status, json.loads(answer.body) if answer.body else None
