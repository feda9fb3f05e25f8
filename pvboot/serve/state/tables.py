"""The tables of the state, and how an older database becomes one of today.

Times are seconds since 1970.  JSON columns are text, so that every database stores them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    select,
    text,
)

from pvboot.serve.state.errors import StateError

METADATA = MetaData()

# Compared by bytes in every database, so that all sort names alike.
_NAME = String(64).with_variant(String(64, collation="C"), "postgresql")

META = Table("pvboot_meta", METADATA, Column("name", String(32), primary_key=True), Column("value", Integer))

CLIENTS = Table(
    "clients",
    METADATA,
    Column("name", _NAME, primary_key=True),
    Column("mac", String(17), unique=True),
    Column("uuid", String(36), unique=True),
    Column("address", String(45), unique=True),
    Column("hostname", String(253), unique=True),
    Column("profile", String(64)),
    Column("enabled", Boolean, nullable=False),
    Column("note", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed", Float, nullable=False),
)

PROFILES = Table(
    "profiles",
    METADATA,
    Column("name", _NAME, primary_key=True),
    Column("description", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed", Float, nullable=False),
)

# One row a client at most; taking it is deleting it.
NEXT_BOOTS = Table(
    "next_boots",
    METADATA,
    Column("client", String(64), primary_key=True),
    Column("profile", String(64), nullable=False),
    Column("set_at", Float, nullable=False),
)

BOOTS = Table(
    "boots",
    METADATA,
    # A BigInteger is not a rowid in SQLite.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("client", String(64)),
    Column("mac", String(17)),
    Column("address", String(45), nullable=False),
    Column("protocol", String(8), nullable=False),
    Column("dialect", String(16), nullable=False),
    Column("profile", String(64), nullable=False),
    Column("next_boot", Boolean, nullable=False),
    Column("path", Text, nullable=False),
    Column("entries", Text, nullable=False),  # JSON: one list of paths for each entry, the kernel first
    Column("fetched", Text, nullable=False),  # JSON: paths that were fetched whole
    Column("outcome", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("changed", Float, nullable=False),
    Index("boots_changed", "changed"),
)

TRANSFERS = Table(
    "transfers",
    METADATA,
    Column("process", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("address", String(45), nullable=False),
    Column("protocol", String(8), nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),  # "" while it lives
    Column("started", Float, nullable=False),
    Column("changed", Float, nullable=False),
    UniqueConstraint("process", "number"),
    Index("transfers_changed", "changed"),
)


def _make_tables(connection: Connection) -> None:
    METADATA.create_all(connection)


# Step N makes a database of version N+1 out of one of version N.  A step that has been released never changes.
STEPS: tuple[Callable[[Connection], None], ...] = (_make_tables,)


def migrate(connection: Connection, steps: Sequence[Callable[[Connection], None]] = STEPS) -> None:
    """Bring the database to the version of this program, in the caller's transaction, alone.

    `StateError` if a newer program has made it, or if it holds another program's tables.
    """
    if connection.dialect.name == "postgresql":
        # Two servers starting at once would both make the tables; the number is any constant.
        connection.execute(text("SELECT pg_advisory_xact_lock(7811090)"))
    version = _version(connection)
    if version > len(steps):
        raise StateError(
            "the database was made by a newer pvboot",
            where=str(connection.engine.url),
            expected=f"version {len(steps)} or older",
            found=f"version {version}",
        )
    for step in steps[version:]:
        step(connection)
    if version == 0:
        connection.execute(META.insert().values(name="version", value=len(steps)))
    elif version < len(steps):
        connection.execute(META.update().where(META.c.name == "version").values(value=len(steps)))


def _version(connection: Connection) -> int:
    names = set(inspect(connection).get_table_names())
    if META.name in names:
        return int(connection.scalar(select(META.c.value).where(META.c.name == "version")) or 0)
    taken = sorted(names & set(METADATA.tables))
    if taken:
        raise StateError(
            "the database has tables of another program", where=str(connection.engine.url), found=", ".join(taken)
        )
    return 0
