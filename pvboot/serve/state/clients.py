"""Clients: who they are and which profile they boot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvboot.serve.state import checks
from pvboot.serve.state.errors import DescriptionError
from pvboot.serve.state.identity import KINDS, Identity, check_identity


@dataclass(frozen=True, slots=True)
class Client:
    """`profile` None is the default profile.  A client that is not `enabled` boots its own disk.

    `source` is "config" (changed by editing the file) or "api"; `version` counts the changes of the latter.
    """

    name: str
    identity: Identity
    profile: str | None = None
    enabled: bool = True
    note: str = ""
    source: str = "api"
    version: int = 0


def read_client(name: str, value: Any, where: str, source: str) -> Client:
    """The client in a TOML table or a JSON body; at least one identity.  `DescriptionError` if anything is wrong."""
    checks.name(name, where)
    given = checks.table(value, where, (*KINDS, "profile", "enabled", "note"))
    found = {
        kind: check_identity(kind, checks.text(given[kind], f"{where}.{kind}", limit=253), f"{where}.{kind}")
        for kind in KINDS
        if given.get(kind) is not None
    }
    if not found:
        raise DescriptionError("nothing tells the client from others", where=where, expected=" or ".join(KINDS))
    profile = given.get("profile")
    return Client(
        name,
        Identity(**found),
        None if profile is None else checks.name(profile, f"{where}.profile"),
        checks.yes_or_no(given.get("enabled", True), f"{where}.enabled"),
        checks.text(given.get("note", ""), f"{where}.note", empty=True, limit=1000),
        source,
    )


def describe(client: Client) -> dict[str, Any]:
    """The client as JSON, in the form that `read_client` takes."""
    identities = {kind: client.identity.get(kind) for kind in KINDS}
    return {**identities, "profile": client.profile, "enabled": client.enabled, "note": client.note}
