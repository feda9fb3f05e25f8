"""The parts of the server's configuration that this room reads: `state`, `default`, `[menus]`, `[api]`, `[profiles]`,
`[clients]`.

Reading them needs no database: a configuration can be checked anywhere.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvboot.serve.state import checks
from pvboot.serve.state.clients import Client, read_client
from pvboot.serve.state.errors import DescriptionError
from pvboot.serve.state.identity import KINDS
from pvboot.serve.state.profiles import Profile, read_profile

DATABASE = "/var/lib/pvboot/state.db"
_MENU_KEYS = ("path", "history_boots", "history_days")
_API_KEYS = ("networks", "read", "read_token", "read_token_file", "write_token", "write_token_file")
_TOKEN_LENGTH = (16, 512)  # characters

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))


@dataclass(frozen=True, slots=True)
class Settings:
    """`read_token` and `write_token` are the SHA-256 digests of the tokens; without one for writing nobody writes.

    `api_networks` are the addresses that the API answers: the host itself, since its menus are for the network and its
    history is not.  `menus` is the directory in which menus are asked for; `history_boots` and `history_days` bound the
    history.
    """

    database: str = DATABASE
    menus: str = "/boot"
    default_profile: str | None = None
    history_boots: int = 10_000
    history_days: int = 90
    api_networks: tuple[Network, ...] = _LOOPBACK
    read_open: bool = True
    read_token: bytes | None = None
    write_token: bytes | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)
    identities: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (kind, value) -> client, of `clients`


def load(config: Mapping[str, Any]) -> Settings:
    """The settings in a whole configuration; tables of other rooms are not looked at.

    `DescriptionError` names the place of what is wrong, and profiles that are named but not described.
    """
    menus = checks.table(config.get("menus", {}), "menus", _MENU_KEYS)
    profiles = _named(config, "profiles", read_profile)
    clients = _named(config, "clients", lambda name, value, where: read_client(name, value, where, "config"))
    default = config.get("default")
    return Settings(
        database=checks.text(config.get("state") or DATABASE, "state"),
        menus=_read_prefix(menus.get("path", "/boot")),
        default_profile=None if default is None else checks.name(default, "default"),
        history_boots=checks.whole(menus.get("history_boots", 10_000), "menus.history_boots", 1, 1_000_000),
        history_days=checks.whole(menus.get("history_days", 90), "menus.history_days", 1, 36_500),
        profiles=profiles,
        clients=clients,
        identities=_index(clients),
        **_read_api(config.get("api", {})),
    )


def _named(config: Mapping[str, Any], key: str, read: Any) -> dict[str, Any]:
    found = config.get(key, {})
    if not isinstance(found, Mapping):
        raise DescriptionError("is no table", where=key, found=type(found).__name__)
    return {name: read(name, value, f"{key}.{name}") for name, value in found.items()}


def _index(clients: Mapping[str, Client]) -> dict[tuple[str, str], str]:
    taken: dict[tuple[str, str], str] = {}
    for client in clients.values():
        for kind in KINDS:
            value = client.identity.get(kind)
            if value is not None and taken.setdefault((kind, value), client.name) != client.name:
                raise DescriptionError(
                    "another client has it", where=f"clients.{client.name}.{kind}", found=taken[kind, value]
                )
    return taken


def _read_prefix(value: Any) -> str:
    prefix = checks.text(value, "menus.path", limit=200)
    if not prefix.startswith("/") or any(part in ("", ".", "..") for part in prefix[1:].split("/")):
        raise DescriptionError("is no clean path", where="menus.path", expected="/name", found=ascii(prefix))
    return prefix


def _read_api(value: Any) -> dict[str, Any]:
    given = checks.table(value, "api", _API_KEYS)
    read = given.get("read", "open")
    if read not in ("open", "token"):
        raise DescriptionError("is unknown", where="api.read", expected="open or token", found=ascii(read)[:80])
    tokens = {kind: _read_token(given, f"{kind}_token") for kind in ("read", "write")}
    if read == "token" and not any(tokens.values()):
        raise DescriptionError("asks for a token, and there is none", where="api.read")
    networks = checks.several(given.get("networks", []), "api.networks", _read_network) or _LOOPBACK
    return {
        "api_networks": networks,
        "read_open": read == "open",
        "read_token": tokens["read"],
        "write_token": tokens["write"],
    }


def _read_network(value: Any, where: str) -> Network:
    try:
        return ipaddress.ip_network(checks.text(value, where))
    except ValueError as err:
        raise DescriptionError(
            "is no address or network", where=where, expected="192.0.2.0/24", found=ascii(value)[:80]
        ) from err


def _read_token(given: Mapping[str, Any], key: str) -> bytes | None:
    if key in given and f"{key}_file" in given:
        raise DescriptionError("stands beside a file with the token", where=f"api.{key}")
    token, where = given.get(key), f"api.{key}"
    if f"{key}_file" in given:
        where = f"api.{key}_file"
        path = Path(checks.text(given[f"{key}_file"], where))
        try:
            with path.open("rb") as file:
                token = file.read(4096).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise DescriptionError("cannot be read", where=where, found=str(err)) from err
    if token is None:
        return None
    token = checks.text(token, where, limit=_TOKEN_LENGTH[1])
    if len(token) < _TOKEN_LENGTH[0] or not token.isascii() or any(char.isspace() for char in token):
        raise DescriptionError("is no token", where=where, expected=f"{_TOKEN_LENGTH[0]} or more ASCII characters")
    return digest(token)


def digest(token: str) -> bytes:
    """What is kept and compared in place of a token; all have one length."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
