"""Who boots what: clients and profiles from the configuration and the database, next boots, and their changes.

Records of the configuration come first and are read-only here; those of the database are shared by all servers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import IntegrityError

from pvboot.serve.state.bodies import read_body
from pvboot.serve.state.clients import Client
from pvboot.serve.state.database import Database
from pvboot.serve.state.errors import ConflictError, StaleError, StateError, UnknownRecordError
from pvboot.serve.state.identity import KINDS, Identity
from pvboot.serve.state.profiles import LOCAL, Profile, ProfileBody, describe, named_profile
from pvboot.serve.state.schemas import NextBoot
from pvboot.serve.state.settings import StateSettings
from pvboot.serve.state.tables import CLIENTS, NEXT_BOOTS, PROFILES

CLIENT_LIMIT = 100_000  # records in the database
PROFILE_LIMIT = 1_000
_CLIENT_COLUMNS = tuple(Client.model_fields.keys() - {"source"})


@dataclass(frozen=True, slots=True)
class Assignment:
    """The profile that somebody boots; `client` is None for an unknown one, `once` marks a next boot."""

    profile: Profile
    client: Client | None
    once: bool = False


class Registry:
    """Thread-safe; `settings` is replaced as a whole when the configuration is read again."""

    def __init__(self, database: Database, settings: StateSettings) -> None:
        self._database = database
        self.settings = settings

    # --- choosing -------------------------------------------------------------------------------------------

    def choose(self, identity: Identity, *, take: bool, only_known: bool = False) -> Assignment | None:
        """What `identity` boots; None if there is nothing for it.

        The next boot comes first, and with `take` it is used up: of any number of askers exactly one gets it.
        `only_known`: the default profile is for those who are described only.
        """
        settings = self.settings
        with self._database.reading() as connection:
            client = _match(connection, settings, identity)
            waiting = client is not None and client.enabled and _next_boot(connection, client.name) is not None
        if client is None:
            profile = None if only_known else self._default(settings)
            return Assignment(profile, None) if profile else None
        if not client.enabled:
            return Assignment(LOCAL, client)
        if waiting:
            once = self._take(client.name) if take else self.next_boot(client.name)
            if once is not None:
                return Assignment(self.profile(once.profile), client, once=True)
        if client.profile is None:
            profile = self._default(settings)
            return Assignment(profile, client) if profile else None
        return Assignment(self.profile(client.profile), client)

    def _default(self, settings: StateSettings) -> Profile | None:
        return None if settings.default is None else self.profile(settings.default)

    def _take(self, client: str) -> NextBoot | None:
        """One statement decides who gets it, whichever server or thread asks."""
        statement = NEXT_BOOTS.delete().where(NEXT_BOOTS.c.client == client)
        with self._database.writing() as connection:
            row = connection.execute(statement.returning(NEXT_BOOTS.c.profile, NEXT_BOOTS.c.set_at)).first()
        return None if row is None else _read_next_boot(row)

    # --- clients --------------------------------------------------------------------------------------------

    def clients(self, after: str = "", limit: int = CLIENT_LIMIT) -> list[Client]:
        """At most `limit` of those whose names come behind `after`, sorted by name."""
        query = select(CLIENTS).where(CLIENTS.c.name > after).order_by(CLIENTS.c.name).limit(limit)
        with self._database.reading() as connection:
            found = {row.name: _client(row) for row in connection.execute(query)}
        found |= {name: client for name, client in self.settings.clients.items() if name > after}
        return [client for _, client in sorted(found.items())][:limit]

    def client(self, name: str) -> Client:
        """`UnknownRecordError` if there is none."""
        if name in self.settings.clients:
            return self.settings.clients[name]
        with self._database.reading() as connection:
            row = connection.execute(select(CLIENTS).where(CLIENTS.c.name == name)).first()
        if row is None:
            raise UnknownRecordError("there is no such client", found=ascii(name))
        return _client(row)

    def put_client(self, client: Client, version: int | None = None) -> Client:
        """Store a client durably; `version` is that which the change was made to (0: a new one), None does not care.

        `ConflictError` if it is the configuration's, if another client has one of its identities, or if the version
        is another by now; `UnknownRecordError` if its profile is unknown.
        """
        self._refuse_config(self.settings.clients, client.name, "client")
        _refuse_taken(self.settings, client)
        if client.profile is not None:
            self.profile(client.profile)
        with self._database.writing() as connection:
            row = connection.execute(select(CLIENTS).where(CLIENTS.c.name == client.name).with_for_update()).first()
            now = _check_version(row, version)
            if row is None:
                _refuse_full(connection, CLIENTS, CLIENT_LIMIT)
            new = client.model_copy(update={"version": now + 1, "source": "api"})
            values = new.model_dump(exclude={"name", "source"}) | {"changed": time.time()}
            _upsert(connection, CLIENTS, new.name, row is not None, values)
        return new

    def delete_client(self, name: str, version: int | None = None) -> None:
        """Durably, with its next boot."""
        self._refuse_config(self.settings.clients, name, "client")
        with self._database.writing() as connection:
            row = connection.execute(select(CLIENTS).where(CLIENTS.c.name == name).with_for_update()).first()
            if row is None:
                raise UnknownRecordError("there is no such client", found=ascii(name))
            _check_version(row, version)
            connection.execute(CLIENTS.delete().where(CLIENTS.c.name == name))
            connection.execute(NEXT_BOOTS.delete().where(NEXT_BOOTS.c.client == name))

    # --- next boots -----------------------------------------------------------------------------------------

    def next_boot(self, client: str) -> NextBoot | None:
        """What waits for a client, untouched."""
        with self._database.reading() as connection:
            return _next_boot(connection, client)

    def next_boots(self) -> dict[str, NextBoot]:
        """All, by the name of the client."""
        with self._database.reading() as connection:
            return {row.client: _read_next_boot(row) for row in connection.execute(select(NEXT_BOOTS))}

    def set_next_boot(self, client: str, profile: str) -> NextBoot:
        """Durably; replaces one that waits.  `UnknownRecordError` if there is no such client or profile."""
        self.client(client)
        self.profile(profile)
        new = NextBoot(profile=profile, set_at=time.time())
        with self._database.writing() as connection:
            # Delete and insert are one transaction; two of them at once would meet at the primary key.
            connection.execute(NEXT_BOOTS.delete().where(NEXT_BOOTS.c.client == client))
            _change(connection, NEXT_BOOTS.insert().values(client=client, profile=profile, set_at=new.set_at))
        return new

    def clear_next_boot(self, client: str) -> bool:
        """Whether there was one."""
        self.client(client)
        return self._take(client) is not None

    # --- profiles -------------------------------------------------------------------------------------------

    def profiles(self) -> list[Profile]:
        """All, sorted by name."""
        with self._database.reading() as connection:
            stored = {row.name: _profile(row) for row in connection.execute(select(PROFILES))}
        stored |= self.settings.profiles
        return [profile for _, profile in sorted(stored.items())]

    def profile(self, name: str) -> Profile:
        """`UnknownRecordError` if there is none."""
        if name in self.settings.profiles:
            return self.settings.profiles[name]
        with self._database.reading() as connection:
            row = connection.execute(select(PROFILES).where(PROFILES.c.name == name)).first()
        if row is None:
            raise UnknownRecordError("there is no such profile", found=ascii(name))
        return _profile(row)

    def put_profile(self, profile: Profile, version: int | None = None) -> Profile:
        """Store a profile durably; errors as `put_client`."""
        self._refuse_config(self.settings.profiles, profile.name, "profile")
        with self._database.writing() as connection:
            row = connection.execute(select(PROFILES).where(PROFILES.c.name == profile.name).with_for_update()).first()
            now = _check_version(row, version)
            if row is None:
                _refuse_full(connection, PROFILES, PROFILE_LIMIT)
            values = {"description": json.dumps(describe(profile)), "version": now + 1, "changed": time.time()}
            _upsert(connection, PROFILES, profile.name, row is not None, values)
        return profile.model_copy(update={"version": now + 1, "source": "api"})

    def delete_profile(self, name: str, version: int | None = None) -> None:
        """`ConflictError` while a client or a next boot needs it."""
        self._refuse_config(self.settings.profiles, name, "profile")
        if name == self.settings.default or any(c.profile == name for c in self.settings.clients.values()):
            raise ConflictError("the configuration needs the profile", found=ascii(name))
        with self._database.writing() as connection:
            row = connection.execute(select(PROFILES).where(PROFILES.c.name == name).with_for_update()).first()
            if row is None:
                raise UnknownRecordError("there is no such profile", found=ascii(name))
            _check_version(row, version)
            for table, column in ((CLIENTS, CLIENTS.c.name), (NEXT_BOOTS, NEXT_BOOTS.c.client)):
                user = connection.scalar(select(column).where(table.c.profile == name).limit(1))
                if user is not None:
                    raise ConflictError("a client needs the profile", found=ascii(user))
            connection.execute(PROFILES.delete().where(PROFILES.c.name == name))

    def check_references(self) -> list[str]:
        """Profiles that the configuration names and nobody describes; one of them makes `choose` fail."""
        wanted = {f"clients.{c.name}.profile": c.profile for c in self.settings.clients.values()}
        wanted["default"] = self.settings.default
        known = {profile.name for profile in self.profiles()}
        return [f"{where}: no profile {name!r}" for where, name in wanted.items() if name and name not in known]

    @staticmethod
    def _refuse_config(records: Mapping[str, object], name: str, kind: str) -> None:
        if name in records:
            raise ConflictError(f"the {kind} is in the configuration file and is changed there", found=ascii(name))


def _match(connection: Connection, settings: StateSettings, identity: Identity) -> Client | None:
    """The client with the first of the identities in the order of `KINDS`; the configuration's before the others."""
    for kind in KINDS:
        value = identity.get(kind)
        if value is None:
            continue
        if (kind, value) in settings.identities:
            return settings.clients[settings.identities[kind, value]]
        row = connection.execute(select(CLIENTS).where(CLIENTS.c[kind] == value)).first()
        if row is not None:
            return settings.clients.get(row.name) or _client(row)
    return None


def _read_next_boot(row: Any) -> NextBoot:
    return NextBoot.model_construct(profile=row.profile, set_at=row.set_at)


def _next_boot(connection: Connection, client: str) -> NextBoot | None:
    row = connection.execute(select(NEXT_BOOTS).where(NEXT_BOOTS.c.client == client)).first()
    return None if row is None else _read_next_boot(row)


def _client(row: Row[Any]) -> Client:
    return Client.model_construct(source="api", **{key: row._mapping[key] for key in _CLIENT_COLUMNS})


def _profile(row: Row[Any]) -> Profile:
    try:
        description = json.loads(row.description)
    except ValueError as err:
        raise StateError("a profile in the database is damaged", where=ascii(row.name)) from err
    body = read_body(ProfileBody, description, f"profiles.{row.name}")
    return named_profile(row.name, body, "api", row.version)


def _check_version(row: Row[Any] | None, version: int | None) -> int:
    now = 0 if row is None else int(row.version)
    if version is not None and version != now:
        raise StaleError("it has been changed meanwhile", expected=f"version {version}", found=f"version {now}")
    return now


def _refuse_taken(settings: StateSettings, new: Client) -> None:
    for kind in KINDS:
        owner = settings.identities.get((kind, new.get(kind) or ""))
        if owner is not None:
            raise ConflictError(f"another client has this {kind}", found=ascii(owner))


def _refuse_full(connection: Connection, table: Any, limit: int) -> None:
    if (connection.scalar(select(func.count()).select_from(table)) or 0) >= limit:
        raise ConflictError("the table is full", expected=f"at most {limit} records")


def _upsert(connection: Connection, table: Any, name: str, there: bool, values: Mapping[str, Any]) -> None:
    statement = table.update().where(table.c.name == name) if there else table.insert().values(name=name)
    _change(connection, statement.values(**values))


def _change(connection: Connection, statement: Any) -> None:
    try:
        connection.execute(statement)
    except IntegrityError as err:
        raise ConflictError("another record has the same name or identity") from err
