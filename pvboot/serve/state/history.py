"""Boots and transfers in the database: who was served which menu, what came of it, and what is under way.

A boot begins with a menu.  Files that the same address fetches afterwards and that the menu named are its progress:
`menu-given`, `kernel-fetched`, `complete` (the kernel and all files of one entry), or `failed` when the last try of one
of its files came to nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from sqlalchemy import Connection, Row, and_, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from pvboot.serve.state.database import Database
from pvboot.serve.state.names import Dialect
from pvboot.serve.state.profiles import Profile
from pvboot.serve.state.tables import BOOTS, TRANSFERS
from pvboot.validation import Items, Model

Outcome = Literal["menu-given", "kernel-fetched", "complete", "failed"]
OUTCOMES = GIVEN, KERNEL, COMPLETE, FAILED = get_args(Outcome)

BOOT_SECONDS = 3600  # files fetched later than this after the last sign of a boot are not its own
_OPEN_BOOTS = 5000  # how many boots are looked through for the owner of a file
_STALE_SECONDS = 15  # a live transfer of which nothing was heard for so long has lost its process
_FINISHED_SECONDS = 3600
_FINISHED_LIMIT = 1000


Count = Annotated[int, Field(ge=0)]
Time = Annotated[float, Field(description="seconds since 1970")]


class MenuServed(Model):
    """A menu that a client was sent."""

    client: str | None
    mac: str | None
    address: str
    protocol: str
    dialect: str
    profile: Profile
    next_boot: bool
    path: str


class Boot(Model):
    """A boot as it went so far; `fetched` are the files that arrived whole."""

    id: Count
    client: str | None
    mac: str | None
    address: str
    protocol: str
    dialect: Dialect | Literal["pixiecore"]
    profile: str
    next_boot: bool
    path: str
    fetched: Items[str]
    outcome: Outcome
    detail: str
    started: Time
    changed: Time


class Transfer(Model):
    """A transfer; `size` and `sent` in bytes."""

    process: str
    number: Count
    address: str
    protocol: str
    path: str
    size: int
    sent: Count
    outcome: Annotated[str, Field(description="empty while it lives")]
    started: Time
    changed: Time


def add_boot(database: Database, menu: MenuServed) -> None:
    """Record the beginning of a boot."""
    now = time.time()
    with database.writing(durable=False) as connection:
        connection.execute(
            BOOTS.insert().values(
                **menu.model_dump(exclude={"profile"}),
                profile=menu.profile.name,
                entries=json.dumps([entry.files for entry in menu.profile.entries]),
                fetched="[]",
                outcome=GIVEN,
                detail="",
                started=now,
                changed=now,
            )
        )


def save_transfers(database: Database, transfers: Sequence[Transfer], finished: Sequence[Transfer]) -> None:
    """Save one round of a process's transfers, and credit the finished ones to boots."""
    with database.writing(durable=False) as connection:
        if transfers:
            _save(connection, transfers)
        if finished:
            _credit(connection, finished)


def _save(connection: Connection, transfers: Sequence[Transfer]) -> None:
    """Save all rows by one statement: a busy server has hundreds of them twice a second."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(TRANSFERS)
    changed = {key: statement.excluded[key] for key in ("sent", "outcome", "changed")}
    statement = statement.on_conflict_do_update(index_elements=["process", "number"], set_=changed)
    connection.execute(statement, [transfer.model_dump() for transfer in transfers])


def _credit(connection: Connection, finished: Sequence[Transfer]) -> None:
    """Give finished transfers to the boots that they belong to: the address's latest that named the file."""
    since = time.time() - BOOT_SECONDS
    wanted = {transfer.address for transfer in finished}
    query = select(BOOTS).where(BOOTS.c.changed > since, BOOTS.c.outcome != COMPLETE)
    if len(wanted) <= 500:
        query = query.where(BOOTS.c.address.in_(wanted))
    boots: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(query.order_by(BOOTS.c.id.desc()).limit(_OPEN_BOOTS).with_for_update()):
        boots.setdefault(row.address, []).append(row)
    progress: dict[int, _Progress] = {}
    for transfer in finished:
        for row in boots.get(transfer.address, ()):
            boot = progress.get(row.id) or _Progress(row)
            if boot.take(transfer):
                progress[row.id] = boot
                break
    for number, boot in progress.items():
        connection.execute(BOOTS.update().where(BOOTS.c.id == number).values(**boot.values()))


class _Progress:
    """A boot while transfers are credited to it."""

    def __init__(self, row: Row[Any]) -> None:
        self._entries: list[list[str]] = json.loads(row.entries)
        self._fetched: list[str] = json.loads(row.fetched)
        self._failed = row.outcome == FAILED
        self._detail = row.detail

    def take(self, transfer: Transfer) -> bool:
        """Count the transfer if its file is one of this boot's; return True if it is."""
        if not any(transfer.path in files for files in self._entries):
            return False
        if transfer.outcome == "done":
            if transfer.path not in self._fetched:
                self._fetched.append(transfer.path)
            self._failed, self._detail = False, ""
        elif transfer.path not in self._fetched:
            self._failed, self._detail = True, f"{transfer.path}: {transfer.outcome}"[:1000]
        return True

    def values(self) -> dict[str, Any]:
        whole = any(files and set(files) <= set(self._fetched) for files in self._entries)
        kernel = any(files and files[0] in self._fetched for files in self._entries)
        outcome = COMPLETE if whole else FAILED if self._failed else KERNEL if kernel else GIVEN
        detail = "" if whole else self._detail
        return {"fetched": json.dumps(self._fetched), "outcome": outcome, "detail": detail, "changed": time.time()}


def prune(database: Database, limit: int, days: int) -> None:
    """Bound the history by count and age, and remove old transfers and those whose process is gone."""
    now = time.time()
    with database.writing(durable=False) as connection:
        connection.execute(BOOTS.delete().where(BOOTS.c.changed < now - days * 86400))
        _keep_newest(connection, BOOTS.c.id, BOOTS, None, limit)
        old = TRANSFERS.c.changed < now - _FINISHED_SECONDS
        lost = and_(TRANSFERS.c.outcome == "", TRANSFERS.c.changed < now - 4 * _STALE_SECONDS)
        connection.execute(TRANSFERS.delete().where(or_(old, lost)))
        _keep_newest(connection, TRANSFERS.c.changed, TRANSFERS, TRANSFERS.c.outcome != "", _FINISHED_LIMIT)


def _keep_newest(connection: Connection, order: Any, table: Any, which: Any, limit: int) -> None:
    query = select(order).order_by(order.desc()).offset(limit).limit(1)
    mark = connection.scalar(query if which is None else query.where(which))
    if mark is not None:
        condition = order <= mark
        connection.execute(table.delete().where(condition if which is None else and_(condition, which)))


def boots(database: Database, *, client: str | None = None, limit: int = 100) -> list[Boot]:
    """The last boots, the newest first."""
    query = select(BOOTS).order_by(BOOTS.c.id.desc()).limit(limit)
    if client is not None:
        query = query.where(BOOTS.c.client == client)
    with database.reading() as connection:
        return [_boot(row) for row in connection.execute(query)]


def _boot(row: Row[Any]) -> Boot:
    values = {**row._mapping, "fetched": tuple(json.loads(row.fetched))}
    return Boot.model_construct(**{key: values[key] for key in Boot.model_fields})


def live_transfers(database: Database, limit: int = 500) -> list[Transfer]:
    """The transfers under way in all processes of all servers, the newest first."""
    fresh = TRANSFERS.c.changed > time.time() - _STALE_SECONDS
    query = select(TRANSFERS).where(TRANSFERS.c.outcome == "", fresh)
    return _transfers(database, query.order_by(TRANSFERS.c.started.desc()).limit(limit))


def finished_transfers(database: Database, limit: int = 100) -> list[Transfer]:
    """The last that ended, the newest first."""
    query = select(TRANSFERS).where(TRANSFERS.c.outcome != "")
    return _transfers(database, query.order_by(TRANSFERS.c.changed.desc()).limit(limit))


def _transfers(database: Database, query: Any) -> list[Transfer]:
    with database.reading() as connection:
        return [Transfer.model_construct(**row._mapping) for row in connection.execute(query)]


def forget_process(database: Database, process: str) -> None:
    """Remove the live transfers of a process that ends."""
    with database.writing(durable=False) as connection:
        connection.execute(TRANSFERS.delete().where(TRANSFERS.c.process == process, TRANSFERS.c.outcome == ""))
