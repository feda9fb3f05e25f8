"""The database: opened, brought up to date, and its transactions.

SQLite (one host) or PostgreSQL (several servers, one state).  An acknowledged write is on the disk when the transaction
ends (`durable`); a relaxed one (history, transfers) survives the death of the process, and a power failure may take the
last of it.
"""

from __future__ import annotations

import os
import pwd
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from pvboot.serve.state.errors import StateError
from pvboot.serve.state.tables import migrate

BUSY_SECONDS = 20  # how long one process waits for another's write
_POOL_SIZE = 4
_URL = re.compile(r"[a-z][a-z0-9+]*://|sqlite:")


class Database:
    """An open database.  Threads share it; a process opens its own (a fork must not inherit it)."""

    def __init__(self, place: str) -> None:
        """`place` is the path of a SQLite file or SQLAlchemy's URL.  `StateError` if it cannot be used."""
        self.name, self._engine = _engine(place)
        try:
            with self.writing() as connection:
                migrate(connection)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that is alone in SQLite; committed at the end, rolled back by an exception."""
        with self._transaction(pvboot_write=True, pvboot_durable=durable) as connection:
            yield connection

    @contextmanager
    def _transaction(self, **options: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                connection = connection.execution_options(**options)
                with connection.begin():
                    yield connection
        except SQLAlchemyError as err:
            raise _state_error(err, self.name) from err

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def _state_error(err: SQLAlchemyError, name: str) -> StateError:
    """The database's own words, without the statement (it may hold what should not be logged)."""
    said = str(getattr(err, "orig", None) or err).strip().splitlines()
    return StateError("the database failed", where=name, found=ascii(said[0][:300]) if said else type(err).__name__)


def _who() -> str:
    """The user that the server runs as, which is not the one who started it if that was root."""
    try:
        return f"the user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"the user {os.geteuid()}"


def _engine(place: str) -> tuple[str, Engine]:
    if not _URL.match(place):
        path = Path(place)
        if not os.path.isdir(path.parent):  # False, too, where we may not look
            raise StateError(
                "the directory of the database does not exist or is closed to us",
                where=place,
                expected=f"a directory of {_who()}, or another place by `state`",
            )
        closed = [str(one) for one in (path.parent, path) if os.path.exists(one) and not os.access(one, os.W_OK)]
        if closed:  # SQLite would say "unable to open database file" or, later, "readonly database"
            raise StateError(
                "the database and its directory must be writable",
                where=place,
                expected=f"write access for {_who()}",
                found=f"none to {closed[0]}",
            )
        with suppress(OSError):  # not there yet: SQLite would let everybody on this host read it
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        place = f"sqlite:///{path.absolute()}"
    try:
        url = make_url(place)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")  # the driver that the extra installs
        name = url.render_as_string(hide_password=True)
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise StateError("no such kind of database", where=name, expected="sqlite or postgresql")
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise StateError("a database in memory cannot be shared by the server's processes", where=name)
        more: dict[str, Any] = {"timeout": BUSY_SECONDS} if url.get_backend_name() == "sqlite" else {}
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=_POOL_SIZE,
            max_overflow=16,
            pool_timeout=BUSY_SECONDS,
            pool_pre_ping=url.get_backend_name() != "sqlite",
            connect_args=more,
        )
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as err:
        raise StateError(
            "the database's URL cannot be used", where=re.sub(r"://.*@", "://***@", place), found=ascii(str(err)[:200])
        ) from err
    (_prepare_sqlite if engine.dialect.name == "sqlite" else _prepare_postgresql)(engine)
    return name, engine


def _prepare_sqlite(engine: Engine) -> None:
    """Send our own BEGIN: the driver's would start reading and fail with "locked" when the first write comes."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        _write_ahead(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        # In WAL mode FULL syncs the log at each commit, NORMAL only before a checkpoint; neither can corrupt the file.
        durable = options.get("pvboot_durable", False)
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("pvboot_write") else "BEGIN")


def _write_ahead(connection: Any) -> None:
    """Switch the file to WAL mode, which it keeps; the switch alone does not wait for other processes by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("pvboot_write") and not options.get("pvboot_durable"):
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
