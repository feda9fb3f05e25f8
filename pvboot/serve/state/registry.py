"""Clients, profiles and next boots from the configuration and the database, and their changes.

Records of the configuration come first and are read-only here; those of the database are shared by all servers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Row, Table, func, select
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

R = TypeVar("R", Client, Profile)

CLIENT_LIMIT = 100_000  # records in the database
PROFILE_LIMIT = 1_000
_CLIENT_COLUMNS = tuple(Client.model_fields.keys() - {"source"})


@dataclass(frozen=True, slots=True)
class Assignment:
    """The profile that a client boots; `client` is None for an unknown one, `once` marks a next boot."""

    profile: Profile
    client: Client | None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Records(Generic[R]):
    """The named records of a database's table, and the configuration's `own`, which come first."""

    database: Database
    table: Table
    limit: int
    own: Callable[[], Mapping[str, R]]
    read: Callable[[Row[Any]], R]
    write: Callable[[R], Mapping[str, Any]]

    def list(self, after: str = "", limit: int | None = None) -> list[R]:
        """At most `limit` of those whose names come behind `after`, sorted by name."""
        query = select(self.table).where(self.table.c.name > after).order_by(self.table.c.name).limit(limit)
        with self.database.reading() as connection:
            found = {row.name: self.read(row) for row in connection.execute(query)}
        found |= {name: record for name, record in self.own().items() if name > after}
        return [record for _, record in sorted(found.items())][:limit]

    def get(self, name: str) -> R:
        """The record of that name.  Raises `UnknownRecordError`."""
        if name in self.own():
            return self.own()[name]
        with self.database.reading() as connection:
            row = connection.execute(select(self.table).where(self.table.c.name == name)).first()
        return self.read(self._known(row, name))

    def put(self, record: R, version: int | None) -> R:
        """Store a record durably."""
        with self._changing(record.name, version) as (connection, row):
            if row is None and (connection.scalar(select(func.count()).select_from(self.table)) or 0) >= self.limit:
                raise ConflictError("the table is full", expected=f"at most {self.limit} records")
            new = record.model_copy(update={"version": _version_of(row) + 1, "source": "api"})
            there = self.table.update().where(self.table.c.name == new.name)
            statement = self.table.insert().values(name=new.name) if row is None else there
            _change(connection, statement.values(**self.write(new), version=new.version, changed=time.time()))
        return new

    @contextmanager
    def deleting(self, name: str, version: int | None) -> Iterator[Connection]:
        """Delete a record durably, after the rest of the transaction."""
        with self._changing(name, version) as (connection, row):
            self._known(row, name)
            yield connection
            connection.execute(self.table.delete().where(self.table.c.name == name))

    @contextmanager
    def _changing(self, name: str, version: int | None) -> Iterator[tuple[Connection, Row[Any] | None]]:
        if name in self.own():
            what = f"the {self._kind} is in the configuration file and is changed there"
            raise ConflictError(what, found=ascii(name))
        with self.database.writing() as connection:
            row = connection.execute(select(self.table).where(self.table.c.name == name).with_for_update()).first()
            now = _version_of(row)
            if version not in (None, now):
                raise StaleError("it has been changed meanwhile", expected=f"version {version}", found=f"version {now}")
            yield connection, row

    def _known(self, row: Row[Any] | None, name: str) -> Row[Any]:
        if row is None:
            raise UnknownRecordError(f"there is no such {self._kind}", found=ascii(name))
        return row

    @property
    def _kind(self) -> str:
        return self.table.name.removesuffix("s")


class Registry:
    """Thread-safe; `settings` is replaced as a whole when the configuration is read again."""

    def __init__(self, database: Database, settings: StateSettings) -> None:
        self._database = database
        self.settings = settings
        self._clients = Records(
            database,
            CLIENTS,
            CLIENT_LIMIT,
            lambda: self.settings.clients,
            _client,
            lambda client: client.model_dump(exclude={"name", "source", "version"}),
        )
        self._profiles = Records(
            database,
            PROFILES,
            PROFILE_LIMIT,
            lambda: self.settings.profiles,
            _profile,
            lambda profile: {"description": json.dumps(describe(profile))},
        )
        self.clients, self.client = self._clients.list, self._clients.get
        self.profiles, self.profile = self._profiles.list, self._profiles.get

    # --- choosing -------------------------------------------------------------------------------------------

    def choose(self, identity: Identity, *, take: bool, only_known: bool = False) -> Assignment | None:
        """The profile that `identity` boots; None if there is nothing for it.

        The next boot comes first, and with `take` it is used up: of any number of askers exactly one gets it.
        `only_known`: the default profile is for described clients only.
        """
        settings = self.settings
        with self._database.reading() as connection:
            client = _match(connection, settings, identity)
            waiting = client is not None and client.enabled and _next_boot(connection, client.name) is not None
        if client is not None and not client.enabled:
            return Assignment(LOCAL, client)
        if client is not None and waiting:
            once = self._take(client.name) if take else self.next_boot(client.name)
            if once is not None:
                return Assignment(self.profile(once.profile), client, once=True)
        if client is None and only_known:
            return None
        name = (client.profile if client else None) or settings.default
        return Assignment(self.profile(name), client) if name else None

    def _take(self, client: str) -> NextBoot | None:
        """Take the next boot; one statement decides who gets it, whichever server or thread asks."""
        statement = NEXT_BOOTS.delete().where(NEXT_BOOTS.c.client == client)
        with self._database.writing() as connection:
            row = connection.execute(statement.returning(NEXT_BOOTS.c.profile, NEXT_BOOTS.c.set_at)).first()
        return None if row is None else _read_next_boot(row)

    # --- changes --------------------------------------------------------------------------------------------

    def put_client(self, client: Client, version: int | None = None) -> Client:
        """Store a client durably; `version` is that which the change was made to (0: a new one), None does not care.

        `ConflictError` if it is the configuration's, if another client has one of its identities, or if the version
        is another by now; `UnknownRecordError` if its profile is unknown.
        """
        for kind in KINDS:
            owner = self.settings.identities.get((kind, client.get(kind) or ""))
            if owner not in (None, client.name):
                raise ConflictError(f"another client has this {kind}", found=ascii(owner))
        if client.profile is not None:
            self.profile(client.profile)
        return self._clients.put(client, version)

    def delete_client(self, name: str, version: int | None = None) -> None:
        """Delete a client and its next boot durably."""
        with self._clients.deleting(name, version) as connection:
            connection.execute(NEXT_BOOTS.delete().where(NEXT_BOOTS.c.client == name))

    def put_profile(self, profile: Profile, version: int | None = None) -> Profile:
        """Store a profile durably; errors as `put_client`."""
        return self._profiles.put(profile, version)

    def delete_profile(self, name: str, version: int | None = None) -> None:
        """Delete a profile durably.  `ConflictError` while a client or a next boot needs it."""
        users = {client.profile for client in self.settings.clients.values()} | {self.settings.default}
        if name in users and name not in self.settings.profiles:
            raise ConflictError("the configuration needs the profile", found=ascii(name))
        with self._profiles.deleting(name, version) as connection:
            for table, column in ((CLIENTS, CLIENTS.c.name), (NEXT_BOOTS, NEXT_BOOTS.c.client)):
                user = connection.scalar(select(column).where(table.c.profile == name).limit(1))
                if user is not None:
                    raise ConflictError("a client needs the profile", found=ascii(user))

    # --- next boots -----------------------------------------------------------------------------------------

    def next_boot(self, client: str) -> NextBoot | None:
        """The next boot that waits for a client, untouched."""
        with self._database.reading() as connection:
            return _next_boot(connection, client)

    def next_boots(self) -> dict[str, NextBoot]:
        """All next boots, by the name of the client."""
        with self._database.reading() as connection:
            return {row.client: _read_next_boot(row) for row in connection.execute(select(NEXT_BOOTS))}

    def set_next_boot(self, client: str, profile: str) -> NextBoot:
        """Set or replace the next boot durably.  `UnknownRecordError` if there is no such client or profile."""
        self.client(client)
        self.profile(profile)
        new = NextBoot(profile=profile, set_at=time.time())
        with self._database.writing() as connection:
            # Delete and insert are one transaction; two of them at once would meet at the primary key.
            connection.execute(NEXT_BOOTS.delete().where(NEXT_BOOTS.c.client == client))
            _change(connection, NEXT_BOOTS.insert().values(client=client, profile=profile, set_at=new.set_at))
        return new

    def clear_next_boot(self, client: str) -> bool:
        """Remove the next boot that waits; return False if there is none."""
        self.client(client)
        return self._take(client) is not None

    def check_references(self) -> list[str]:
        """Profiles that the configuration names and nobody describes; one of them makes `choose` fail."""
        wanted = {f"clients.{c.name}.profile": c.profile for c in self.settings.clients.values()}
        wanted["default"] = self.settings.default
        known = {profile.name for profile in self.profiles()}
        return [f"{where}: no profile {name!r}" for where, name in wanted.items() if name and name not in known]


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


def _next_boot(connection: Connection, client: str) -> NextBoot | None:
    row = connection.execute(select(NEXT_BOOTS).where(NEXT_BOOTS.c.client == client)).first()
    return None if row is None else _read_next_boot(row)


def _read_next_boot(row: Any) -> NextBoot:
    return NextBoot.model_construct(profile=row.profile, set_at=row.set_at)


def _client(row: Row[Any]) -> Client:
    return Client.model_construct(source="api", **{key: row._mapping[key] for key in _CLIENT_COLUMNS})


def _profile(row: Row[Any]) -> Profile:
    try:
        description = json.loads(row.description)
    except ValueError as err:
        raise StateError("a profile in the database is damaged", where=ascii(row.name)) from err
    body = read_body(ProfileBody, description, f"profiles.{row.name}")
    return named_profile(row.name, body, "api", row.version)


def _version_of(row: Row[Any] | None) -> int:
    return 0 if row is None else int(row.version)


def _change(connection: Connection, statement: Any) -> None:
    try:
        connection.execute(statement)
    except IntegrityError as err:
        raise ConflictError("another record has the same name or identity") from err
