"""Who is matched, what is given, and that a next boot is given once: on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from pvboot.serve.state.database import Database
from pvboot.serve.state.errors import ConflictError, StaleError, StateError, UnknownRecordError
from pvboot.serve.state.identity import Identity
from pvboot.serve.state.profiles import LOCAL
from pvboot.serve.state.registry import Assignment, Registry
from pvboot.serve.state.tables import NEXT_BOOTS, STEPS, migrate
from tests.serve.state.helpers import MAC, OTHER_MAC, load, read_client, read_profile

PROFILES = {name: {"kernel": f"/{name}"} for name in ("usual", "install", "rescue")}
KNOWN = {"clients": {"fixed": {"mac": OTHER_MAC, "profile": "rescue"}}, "profiles": PROFILES}
UUID = "0a1b2c3d-0000-1111-2222-333344445555"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fresh database is."""
    if request.param == "sqlite":
        return str(tmp_path / "state.db")
    fresh: Callable[[], str] = request.getfixturevalue("postgresql_database")
    return fresh()


@pytest.fixture
def database(place: str) -> Iterator[Database]:
    with closing(Database(place)) as one:
        yield one


@pytest.fixture
def registry(database: Database) -> Registry:
    return Registry(database, load(KNOWN))


def put(registry: Registry, name: str = "web", version: int | None = None, **given: Any) -> int:
    return registry.put_client(read_client(name, given), version).version


def chosen(registry: Registry, **identity: str) -> str | None:
    choice = registry.choose(Identity(**identity), take=True)
    return choice.profile.name if choice else None


# --- matching ---------------------------------------------------------------------------------------------


def test_mac_goes_before_uuid_before_address_before_hostname(registry: Registry) -> None:
    whole = {"mac": MAC, "uuid": UUID, "address": "192.0.2.1", "hostname": "web.example"}
    for kind, value in whole.items():
        put(registry, f"by-{kind}", **{kind: value}, profile="usual")
    names = []
    for kind in list(whole):
        choice = registry.choose(Identity(**whole), take=False)
        assert choice is not None and choice.client is not None
        names.append(choice.client.name)
        registry.delete_client(f"by-{kind}")
    assert names == ["by-mac", "by-uuid", "by-address", "by-hostname"]


def test_the_configuration_goes_before_the_database(registry: Registry) -> None:
    put(registry, mac=MAC, profile="usual")
    assert (chosen(registry, mac=OTHER_MAC), chosen(registry, mac=MAC)) == ("rescue", "usual")


@pytest.mark.parametrize("known", [False, True])
def test_client_without_a_profile_boots_the_default_one_if_there_is_one(registry: Registry, known: bool) -> None:
    if known:
        put(registry, mac=MAC)
    assert chosen(registry, mac=MAC) is None
    registry.settings = load({**KNOWN, "default": "usual"})
    assert chosen(registry, mac=MAC) == "usual"
    assert (registry.choose(Identity(mac=MAC), take=True, only_known=True) is not None) == known


def test_disabled_client_boots_its_own_disk_and_keeps_its_next_boot(registry: Registry) -> None:
    put(registry, mac=MAC, enabled=False)
    registry.set_next_boot("web", "install")
    assert registry.choose(Identity(mac=MAC), take=True) == Assignment(LOCAL, registry.client("web"))
    assert registry.next_boot("web") is not None


def test_profile_that_is_gone_is_a_clear_error(registry: Registry) -> None:
    registry.settings = load({**KNOWN, "default": "nothing"})
    assert registry.check_references() == ["default: no profile 'nothing'"]
    with pytest.raises(UnknownRecordError):
        chosen(registry, mac=MAC)


# --- changes ----------------------------------------------------------------------------------------------


def test_client_comes_back_as_it_was_put(registry: Registry) -> None:
    identity = {"mac": "52-54-00-00-00-01", "uuid": UUID, "address": "2001:DB8::1", "hostname": "Web."}
    put(registry, "ü<b>", **identity, note="x", profile="usual", enabled=False)
    found = registry.client("ü<b>")
    assert (found.mac, found.uuid, found.address, found.hostname) == (MAC, UUID, "2001:db8::1", "web")
    assert (found.profile, found.enabled, found.note, found.source, found.version) == ("usual", False, "x", "api", 1)


def test_two_clients_cannot_share_an_identity(registry: Registry) -> None:
    put(registry, mac=MAC)
    for mac in (MAC, OTHER_MAC):
        with pytest.raises(ConflictError):
            put(registry, "other", mac=mac)
    put(registry, "other", hostname="other")
    with pytest.raises(ConflictError):
        put(registry, "other", mac=MAC)
    assert [client.name for client in registry.clients()] == ["fixed", "other", "web"]


def test_records_of_the_configuration_are_not_changed(registry: Registry) -> None:
    with pytest.raises(ConflictError):
        put(registry, "fixed", mac=MAC)
    with pytest.raises(ConflictError):
        registry.delete_client("fixed")
    with pytest.raises(ConflictError):
        registry.put_profile(read_profile("usual", {"kernel": "/k"}))


def test_change_to_an_older_version_is_refused(registry: Registry) -> None:
    first = put(registry, mac=MAC, version=0)
    put(registry, mac=MAC, note="second", version=first)
    for version in (0, first):
        with pytest.raises(StaleError):
            put(registry, mac=MAC, note="lost", version=version)
    with pytest.raises(StaleError):
        registry.delete_client("web", first)
    assert registry.client("web").note == "second"


def test_unknown_profiles_are_refused(registry: Registry) -> None:
    with pytest.raises(UnknownRecordError):
        put(registry, mac=MAC, profile="nothing")
    with pytest.raises(UnknownRecordError):
        registry.set_next_boot("fixed", "nothing")
    with pytest.raises(UnknownRecordError):
        registry.set_next_boot("nobody", "usual")


def test_stored_profile_is_kept_while_somebody_needs_it(registry: Registry) -> None:
    stored = registry.put_profile(read_profile("mine", {"kernel": "/k", "args": "é"}))
    assert registry.profile("mine") == stored
    put(registry, mac=MAC, profile="mine")
    with pytest.raises(ConflictError):
        registry.delete_profile("mine")
    registry.delete_client("web")
    registry.set_next_boot("fixed", "mine")
    with pytest.raises(ConflictError):
        registry.delete_profile("mine")
    registry.clear_next_boot("fixed")
    registry.delete_profile("mine")
    assert "mine" not in [one.name for one in registry.profiles()]


def test_deleted_client_takes_its_next_boot_with_it(registry: Registry) -> None:
    put(registry, mac=MAC)
    registry.set_next_boot("web", "install")
    registry.delete_client("web")
    put(registry, mac=MAC)
    assert registry.next_boot("web") is None


# --- next boots -------------------------------------------------------------------------------------------


def test_next_boot_is_given_once(registry: Registry) -> None:
    put(registry, mac=MAC, profile="usual")
    registry.set_next_boot("web", "install")
    registry.set_next_boot("web", "rescue")
    assert registry.choose(Identity(mac=MAC), take=False, only_known=True) is not None
    assert [chosen(registry, mac=MAC) for _ in range(3)] == ["rescue", "usual", "usual"]
    assert registry.clear_next_boot("web") is False


def test_of_many_askers_at_two_servers_one_gets_the_next_boot(registry: Registry, place: str) -> None:
    second = Database(place)
    servers = [registry, Registry(second, load(KNOWN))]
    put(servers[0], mac=MAC, profile="usual")
    askers = 8
    barrier = threading.Barrier(askers)

    def boot(number: int) -> str | None:
        barrier.wait(60)
        return chosen(servers[number % 2], mac=MAC)

    with ThreadPoolExecutor(askers) as pool:
        for turn in range(20):
            servers[turn % 2].set_next_boot("web", "install")
            given = sorted(str(name) for name in pool.map(boot, range(askers)))
            assert given == ["install"] + ["usual"] * (askers - 1)
    second.close()


# --- the database itself ----------------------------------------------------------------------------------


def test_database_is_opened_by_several_at_once(place: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for database in pool.map(lambda _: Database(place), range(4)):
            database.close()


def test_connections_that_the_database_closed_are_made_again(postgresql_database: Callable[[], str]) -> None:
    place = postgresql_database()
    with closing(Database(place)) as database:
        registry = Registry(database, load(KNOWN))
        put(registry, mac=MAC, profile="usual")
        other = create_engine(place.replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
        with other.connect() as connection:
            ours = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            assert connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM {ours}").all()
        other.dispose()
        assert chosen(registry, mac=MAC) == "usual"


def test_newer_database_is_refused(database: Database) -> None:
    with pytest.raises(StateError) as caught, database.writing() as connection:
        migrate(connection, [])
    assert (caught.value.expected, caught.value.found) == ("version 0 or older", "version 1")


def test_older_database_is_brought_up_to_date_once(database: Database) -> None:
    done: list[int] = []
    steps = [*STEPS, lambda connection: done.append(2), lambda connection: done.append(3)]
    for _ in range(2):
        with database.writing() as connection:
            migrate(connection, steps)
    assert done == [2, 3]


def test_migration_that_fails_changes_nothing(database: Database) -> None:
    def fail(connection: Any) -> None:
        connection.execute(NEXT_BOOTS.insert().values(client="x", profile="y", set_at=0))
        raise StateError("no")

    with pytest.raises(StateError), database.writing() as connection:
        migrate(connection, [*STEPS, fail])
    with database.writing() as connection:
        migrate(connection)
        assert not connection.execute(NEXT_BOOTS.select()).all()


def test_tables_of_another_program_are_left_alone(database: Database, place: str) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE pvboot_meta")
    with pytest.raises(StateError, match="another program"):
        Database(place)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("{0}/missing/state.db", "directory"),
        ("{0}/garbage", "not a database"),
        ("{0}", "unable to open"),
        ("sqlite://", "memory"),
        ("mysql://u:secret@h/d", "no such kind"),
        ("postgresql://u:secret@127.0.0.1:1/x", "failed"),
        ("postgresql://u:secret@127.0.0.1:port/x", "URL"),
    ],
)
def test_unusable_database(place: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"no database" * 1000)
    with pytest.raises(StateError, match=expected) as caught:
        Database(place.format(tmp_path))
    assert "secret" not in str(caught.value)


def test_nobody_else_on_the_host_reads_the_database(tmp_path: Path) -> None:
    Database(str(tmp_path / "state.db")).close()
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
