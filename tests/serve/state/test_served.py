"""The state in the whole server: its workers, its protocols, several servers."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.journal import wait_until
from tests.serve.server import Server
from tests.serve.state.helpers import MAC

TOKEN = "token-of-the-whole-server"
SIZE = 6 << 20
CONFIG = """
state = "{state}"
default = "rescue"
[api]
write_token = "{token}"
[listen]
tftp = ["127.0.0.1:0"]
http = ["127.0.0.1:0"]
admin = ["127.0.0.1:0"]
[[content]]
path = "/files"
directory = "{folder}/files"
[profiles.rescue]
kernel = "/files/rescue"
[profiles.web]
kernel = "/files/vmlinuz"
initrd = "/files/initrd"
[clients.web]
mac = "{mac}"
profile = "web"
"""

Start = Callable[..., Server]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to the user that the server becomes, as pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="pvboot-state-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts a server on a database; all end with the test."""
    files = folder / "files"
    files.mkdir()
    for name in ("rescue", "vmlinuz", "initrd"):
        (files / name).write_bytes(name.encode() * (SIZE // len(name)))
    (folder / "state").mkdir()
    (folder / "state").chmod(0o777)
    running: list[Server] = []

    def make(state: str = "") -> Server:
        own = folder / f"server{len(running)}"
        own.mkdir()
        text = CONFIG.format(state=state or folder / "state" / "state.db", token=TOKEN, folder=folder, mac=MAC)
        running.append(Server(own, text))
        return running[-1]

    yield make
    for server in running:
        server.kill()


def ask(server: Server, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url(f"/api/v1{path}", "admin"), data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def head(server: Server, path: str) -> int:
    with urllib.request.urlopen(urllib.request.Request(server.url(path), method="HEAD"), timeout=30) as answer:
        return int(answer.headers["Content-Length"])


def test_boot_by_two_protocols_is_one_boot(start: Start, tmp_path: Path) -> None:
    server = start()
    # tftp-hpa takes what stands before a colon for a host.
    menu = server.tftp(f"/boot/menu.lst.{MAC.replace(':', '-')}", tmp_path / "menu")
    assert b"kernel (nd)/files/vmlinuz" in menu
    assert server.tftp("/files/vmlinuz", tmp_path / "kernel")
    assert len(server.get("/files/initrd")) == SIZE // 6 * 6
    boots = wait_until(
        lambda: [one for one in ask(server, "GET", "/boots")["items"] if one["outcome"] == "complete"],
        "the boot is complete",
    )
    assert [(one["client"], one["protocol"]) for one in boots] == [("web", "tftp")]


def test_next_boot_survives_a_look_and_is_given_once(start: Start, tmp_path: Path) -> None:
    server = start()
    ask(server, "PUT", "/clients/web/next-boot", {"profile": "rescue"})
    path = f"/boot/grub.cfg-01-{MAC.replace(':', '-')}"
    size = head(server, path)
    menus = [server.get(path) for _ in range(2)]
    assert [b"/files/rescue" in menu for menu in menus] == [True, False]
    assert len(menus[0]) == size


def test_query_says_who_asks(start: Start) -> None:
    server = start()
    assert b"/files/vmlinuz" in server.get(f"/boot/boot.ipxe?mac={MAC}")
    assert b"/files/rescue" in server.get("/boot/boot.ipxe")
    assert json.loads(server.get(f"/v1/boot/{MAC}"))["kernel"].endswith("/files/vmlinuz")


def test_menus_name_the_server_as_clients_reach_it(start: Start) -> None:
    server = start()
    menu = server.get("/boot/boot.ipxe").decode()
    kernel = next(line for line in menu.splitlines() if line.startswith("kernel ")).split()[1]
    with urllib.request.urlopen(kernel, timeout=30) as answer:
        assert answer.status == 200


def test_acknowledged_change_outlives_the_server(start: Start) -> None:
    first = start()
    ask(first, "PUT", "/clients/new", {"hostname": "new"})
    first.kill()
    assert [one["name"] for one in ask(start(), "GET", "/clients")["items"]] == ["new", "web"]


def test_page_and_description_are_there(start: Start) -> None:
    server = start()
    assert b"page.js" in server.get("/ui/", "admin")
    assert server.get("/ui/page.js", "admin")
    assert json.loads(server.get("/api/v1/openapi.json", "admin"))["openapi"] == "3.1.0"
    assert server.status("/files/rescue", "admin") == 404
    assert delete(server, "admin") == 401


def test_guests_reach_nothing_of_the_administrator(start: Start) -> None:
    server = start()
    for path in (
        "/api",
        "/api/v1/clients",
        "/api/v1/openapi.json",
        "/ui",
        "/ui/",
        "/ui/page.js",
        "/metrics",
        "/healthz",
    ):
        assert server.status(path) == 404
    assert delete(server, "http") == 405


def delete(server: Server, protocol: str) -> int:
    request = urllib.request.Request(server.url("/api/v1/clients/x", protocol), method="DELETE")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    return caught.value.code


def test_two_servers_share_a_postgresql_database(start: Start, postgresql_database: Callable[[], str]) -> None:
    place = postgresql_database()
    servers = [start(place), start(place)]
    ask(servers[0], "PUT", "/clients/web/next-boot", {"profile": "rescue"})
    menus = [server.get(f"/boot/menu.lst.{MAC}") for server in reversed(servers)]
    assert [b"/files/rescue" in menu for menu in menus] == [True, False]
