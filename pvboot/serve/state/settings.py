"""The keys of the server's configuration about the state: `state`, `default`, `[menus]`, `[api]`, `[profiles]`,
`[clients]`.

Reading them needs no database: a configuration can be checked anywhere.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pvboot.serve.state.bodies import Line, Name, clean_path
from pvboot.serve.state.clients import Client, ClientBody, named_client
from pvboot.serve.state.identity import KINDS
from pvboot.serve.state.profiles import Profile, ProfileBody, named_profile
from pvboot.validation import Items, Mistake, Model, refusal, refuse, show, text_of

DATABASE = "/var/lib/pvboot/state.db"
_TOKEN_LENGTH = (16, 512)  # characters

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))


def digest(token: str) -> bytes:
    """The SHA-256 that is kept and compared in place of a token; all have one length."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _read_network(value: object) -> Network:
    text = text_of(value)
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise refuse("not an address or network", expected="such as 192.0.2.0/24", found=show(value)) from None


def _read_token(value: object) -> bytes:
    shortest, longest = _TOKEN_LENGTH
    token = text_of(value)
    if not shortest <= len(token) <= longest or not token.isascii() or any(char.isspace() for char in token):
        raise refuse("not a token", expected=f"{shortest} to {longest} ASCII characters without blanks")
    return digest(token)


def _read_token_file(value: object) -> bytes:
    path = Path(text_of(value))
    try:
        with path.open("rb") as file:
            token = file.read(4096).decode("ascii").strip()
    except (OSError, ValueError) as err:
        raise refuse("cannot be read", found=str(err)) from None
    return _read_token(token)


# The values are digests: what is not kept cannot be printed.
Token = Annotated[bytes, BeforeValidator(_read_token, json_schema_input_type=str)]
TokenFile = Annotated[bytes, BeforeValidator(_read_token_file, json_schema_input_type=str)]


class MenuSettings(Model):
    """`[menus]`: the directory in which menus are asked for, and the bounds of the history of boots."""

    path: Annotated[Line, Field(max_length=200), AfterValidator(clean_path)] = "/boot"
    history_boots: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    history_days: Annotated[int, Field(ge=1, le=36_500)] = 90


class ApiSettings(Model):
    """`[api]`: the addresses that the API answers (those of this host unless the configuration says otherwise), and the
    tokens; without one for writing nobody writes."""

    networks: Items[Annotated[Network, BeforeValidator(_read_network, json_schema_input_type=str)]] = ()
    read: Literal["open", "token"] = "open"
    read_token: Token | None = None
    read_token_file: TokenFile | None = None
    write_token: Token | None = None
    write_token_file: TokenFile | None = None

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        both = [key for key in ("read_token", "write_token") if {key, f"{key}_file"} <= self.model_fields_set]
        mistakes = [Mistake("stands beside a file with the token", key) for key in both]
        if self.read == "token" and not (self.reader or self.writer):
            mistakes.append(Mistake("asks for a token, and there is none", "read"))
        if mistakes:
            raise refusal(*mistakes)
        return self

    @property
    def answered(self) -> tuple[Network, ...]:
        """The networks that get answers."""
        return self.networks or _LOOPBACK

    @property
    def reader(self) -> bytes | None:
        """The digest of the token for reading."""
        return self.read_token or self.read_token_file

    @property
    def writer(self) -> bytes | None:
        """The digest of the token for writing."""
        return self.write_token or self.write_token_file


def _index(bodies: Mapping[str, ClientBody]) -> dict[tuple[str, str], str]:
    """From (kind, value) of each identity to the name of its client."""
    taken: dict[tuple[str, str], str] = {}
    mistakes = []
    for name, body in bodies.items():
        for kind in KINDS:
            value = body.get(kind)
            if value is not None and taken.setdefault((kind, value), name) != name:
                mistakes.append(Mistake("another client has it", f"{name}.{kind}", "", taken[kind, value]))
    if mistakes:
        raise refusal(*mistakes)
    return taken


def _unique(bodies: dict[str, ClientBody]) -> dict[str, ClientBody]:
    _index(bodies)
    return bodies


class StateSettings(Model):
    """The keys about the state."""

    state: Line = DATABASE
    default: Name | None = None
    menus: MenuSettings = MenuSettings()
    api: ApiSettings = ApiSettings()
    profile_bodies: dict[Name, ProfileBody] = Field(alias="profiles", default_factory=dict)
    client_bodies: Annotated[dict[Name, ClientBody], AfterValidator(_unique)] = Field(
        alias="clients", default_factory=dict
    )

    @property
    def has_state(self) -> bool:
        """True if any of the keys is there: without them the server has no database."""
        return not self.model_fields_set.isdisjoint(StateSettings.model_fields)

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """The configuration's own profiles."""
        return {name: named_profile(name, body, "config") for name, body in self.profile_bodies.items()}

    @cached_property
    def clients(self) -> Mapping[str, Client]:
        """The configuration's own clients."""
        return {name: named_client(name, body, "config") for name, body in self.client_bodies.items()}

    @cached_property
    def identities(self) -> Mapping[tuple[str, str], str]:
        """From (kind, value) to the name of one of `clients`."""
        return _index(self.client_bodies)
