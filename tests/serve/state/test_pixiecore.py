"""pixiecore's boot API."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fsdrivers.errors import NotFound
from pvboot.serve.state.errors import InexpressibleError
from pvboot.serve.state.server import ServerState
from tests.serve.state.helpers import (
    BASES,
    CONFIG,
    FILES,
    MAC,
    OTHER_MAC,
    MemoryContent,
    Served,
    ask,
    load,
    read,
    state_in,
    who,
)

UNKNOWN = "52:54:00:99:99:99"


def boot(state: Served | ServerState, mac: str, **claims: str) -> Any:
    """The answer to a pixiecore server."""
    return json.loads(read(state, f"/v1/boot/{mac}", who("http", **claims)))


def test_known_machine(state: Served) -> None:
    assert boot(state, MAC) == {
        "kernel": "http://192.0.2.1/debian/vmlinuz",
        "initrd": ["http://192.0.2.1/debian/initrd"],
        "cmdline": "quiet",
        "message": "Debian",
    }


def test_unknown_machine_boots_the_default_profile(state: Served) -> None:
    assert boot(state, UNKNOWN)["message"] == "Rescue"


def test_unknown_machine_is_not_ours_without_a_default_profile(tmp_path: Path) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "default"}
    with state_in(tmp_path, config) as state, pytest.raises(NotFound):
        boot(state, UNKNOWN)


@pytest.mark.parametrize("mac", [OTHER_MAC, "no-mac", "", "52:54"])
def test_machine_to_be_ignored(mac: str, state: Served) -> None:
    with pytest.raises(NotFound):
        boot(state, mac)


def test_the_address_of_the_pixiecore_server_is_nobodys(tmp_path: Path) -> None:
    clients = {"it": {"address": "198.51.100.1", "profile": "debian"}}
    with state_in(tmp_path, clients=clients) as state:
        assert boot(state, UNKNOWN)["message"] == "Rescue"


def test_next_boot_is_given_once_and_recorded(state: Served) -> None:
    ask(state, "PUT", "/api/v1/clients/web/next-boot", {"profile": "rescue"})
    assert boot(state, MAC, peek="yes")["message"] == "Rescue"
    assert [boot(state, MAC)["message"] for _ in range(2)] == ["Rescue", "Debian"]
    boots = ask(state, "GET", "/api/v1/boots")[1]["items"]
    assert [(one["dialect"], one["next_boot"]) for one in boots] == [("pixiecore", False), ("pixiecore", True)]


def test_template_in_arguments_is_an_error(tmp_path: Path) -> None:
    profiles = {"rescue": {"kernel": "/k", "args": "{{ URL }}"}}
    with state_in(tmp_path, profiles=profiles, clients={}) as state, pytest.raises(InexpressibleError):
        boot(state, MAC)


def test_it_is_not_there_over_tftp(state: Served) -> None:
    with pytest.raises(NotFound):
        read(state, f"/v1/boot/{MAC}", who())


def test_without_an_address_of_ours_urls_are_relative(tmp_path: Path) -> None:
    settings = load({**CONFIG, "state": str(tmp_path / "state.db")})
    with closing(ServerState(settings, MemoryContent(FILES), {"tftp": BASES["tftp"]})) as state:
        assert boot(state, MAC)["kernel"] == "/debian/vmlinuz"
