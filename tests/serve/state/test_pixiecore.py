"""pixiecore's boot API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvboot.serve.state.server import ServerState
from tests.serve.state.helpers import BASES, CONFIG, FILES, MAC, OTHER_MAC, MemoryContent, ask, call, load, state_in

UNKNOWN = "52:54:00:99:99:99"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[ServerState]:
    with state_in(tmp_path) as one:
        yield one


def boot(state: ServerState, mac: str) -> tuple[int, object]:
    return ask(state, "GET", f"/v1/boot/{mac}", token=False)


def test_known_machine(state: ServerState) -> None:
    status, body = boot(state, MAC)
    assert (status, body) == (
        200,
        {
            "kernel": "http://192.0.2.1/debian/vmlinuz",
            "initrd": ["http://192.0.2.1/debian/initrd"],
            "cmdline": "quiet",
            "message": "Debian",
        },
    )


def test_unknown_machine_boots_the_default_profile(state: ServerState) -> None:
    status, body = boot(state, UNKNOWN)
    assert isinstance(body, dict)
    assert (status, body["message"]) == (200, "Rescue")


def test_unknown_machine_is_not_ours_without_a_default_profile(tmp_path: Path) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "default"}
    with state_in(tmp_path, config) as state:
        assert boot(state, UNKNOWN)[0] == 404


@pytest.mark.parametrize("mac", [OTHER_MAC, "no-mac", "", "52:54"])
def test_machine_to_be_ignored(mac: str, state: ServerState) -> None:
    assert boot(state, mac)[0] == 404


def test_the_address_of_the_pixiecore_server_is_nobodys(tmp_path: Path) -> None:
    clients = {"it": {"address": "198.51.100.1", "profile": "debian"}}
    with state_in(tmp_path, clients=clients) as state:
        body = boot(state, UNKNOWN)[1]
        assert isinstance(body, dict)
        assert body["message"] == "Rescue"


def test_next_boot_is_given_once_and_recorded(state: ServerState) -> None:
    ask(state, "PUT", "/api/v1/clients/web/next-boot", {"profile": "rescue"})
    assert call(state, "HEAD", f"/v1/boot/{MAC}").status == 200
    messages = [json.loads(call(state, "GET", f"/v1/boot/{MAC}").body)["message"] for _ in range(2)]
    assert messages == ["Rescue", "Debian"]
    boots = ask(state, "GET", "/api/v1/boots")[1]["items"]
    assert [(one["dialect"], one["next_boot"]) for one in boots] == [("pixiecore", False), ("pixiecore", True)]


def test_template_in_arguments_is_an_error(tmp_path: Path) -> None:
    with state_in(tmp_path, profiles={"rescue": {"kernel": "/k", "args": "{{ URL }}"}}, clients={}) as state:
        assert boot(state, MAC)[0] == 500


def test_only_reading(state: ServerState) -> None:
    assert ask(state, "PUT", f"/v1/boot/{MAC}")[0] == 405


def test_without_an_address_of_ours_urls_are_relative(tmp_path: Path) -> None:
    whole = {**CONFIG, "state": str(tmp_path / "state.db")}
    bases = {"tftp": BASES["tftp"]}
    state = ServerState(load(whole), MemoryContent(FILES), bases)
    try:
        body = boot(state, MAC)[1]
        assert isinstance(body, dict)
        assert body["kernel"] == "/debian/vmlinuz"
    finally:
        state.close()
