"""The journal: what loops tell it reaches the database in bounded rounds, and never holds them up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from pvboot.serve.api import Journal
from pvboot.serve.state import history
from pvboot.serve.state.database import Database
from pvboot.serve.state.errors import StateError
from pvboot.serve.state.journal import FINISHED_LIMIT, LIVE_LIMIT, StateJournal
from pvboot.serve.state.tables import TRANSFERS
from tests.serve.state.helpers import who


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database(str(tmp_path / "state.db"))
    yield one
    one.close()


@pytest.fixture
def journal(database: Database) -> Iterator[StateJournal]:
    one = StateJournal(database, 100, 10)
    yield one
    one.close()


def rows(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(TRANSFERS)) or 0


def test_it_is_a_journal(journal: StateJournal) -> None:
    agreed: Journal = journal
    assert agreed.begin(who(), "/k", 1) != agreed.begin(who(), "/k", 1)


def test_nobody_waits_for_a_database_that_is_busy(journal: StateJournal, database: Database) -> None:
    with database.writing():
        # The writer's thread stands at the lock that this test holds; the loops go on.
        for _ in range(1000):
            number = journal.begin(who(), "/k", 10)
            journal.advance(number, 5)
            journal.end(number, "done", 10)
            journal.refuse(who(), "/x", "no such file")
            journal.count("requests")
    journal.flush()
    assert journal.counters() == {"requests": 1000}


def test_a_round_writes_a_bounded_number_of_rows(journal: StateJournal, database: Database) -> None:
    for _ in range(3 * LIVE_LIMIT):
        journal.begin(who(), "/k", 10)
    for _ in range(3 * FINISHED_LIMIT):
        journal.end(journal.begin(who(), "/k", 10), "done", 10)
    journal.flush()
    assert rows(database) <= LIVE_LIMIT + FINISHED_LIMIT
    assert len(history.live_transfers(database)) == LIVE_LIMIT


def test_transfer_that_was_seen_alive_is_seen_ended(journal: StateJournal, database: Database) -> None:
    numbers = [journal.begin(who(), "/k", 10) for _ in range(LIVE_LIMIT)]
    journal.flush()
    for _ in range(FINISHED_LIMIT):
        journal.end(journal.begin(who(), "/other", 10), "done", 10)
    for number in numbers:
        journal.end(number, "aborted", 3)
    journal.flush()
    assert history.live_transfers(database) == []


def test_closing_forgets_what_was_alive(database: Database) -> None:
    journal = StateJournal(database, 100, 10)
    journal.begin(who(), "/k", 10)
    journal.end(journal.begin(who(), "/j", 10), "done", 10)
    journal.close()
    assert history.live_transfers(database) == []
    assert [one.path for one in history.finished_transfers(database)] == ["/j"]


def test_odd_texts_are_kept_readable(journal: StateJournal, database: Database) -> None:
    asker = who("tftp", "fe80::1%eth0")
    journal.end(journal.begin(asker, "/\udcff\0" + "x" * 5000, 10), "error: \0\udcfe" + "y" * 5000, 0)
    journal.flush()
    (one,) = history.finished_transfers(database)
    assert (one.address, one.path[:8]) == ("fe80::1", "/\\udcffx")
    assert len(one.path) <= 1024 and len(one.outcome) <= 1024


def test_finished_transfers_wait_for_a_database_that_failed(database: Database, journal: StateJournal) -> None:
    journal.end(journal.begin(who(), "/k", 10), "done", 10)
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE transfers RENAME TO hidden")
    with pytest.raises(StateError):
        journal.flush()
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO transfers")
    journal.flush()
    assert [one.path for one in history.finished_transfers(database)] == ["/k"]


def test_many_threads_tell_it_at_once(journal: StateJournal, database: Database) -> None:
    def work() -> None:
        for _ in range(200):
            number = journal.begin(who(), "/k", 10)
            journal.count("requests", 2)
            journal.end(number, "done", 10)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.flush()
    assert journal.counters() == {"requests": 3200}
    assert history.live_transfers(database) == []


def test_pruning_keeps_a_bounded_number_of_transfers(
    journal: StateJournal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_FINISHED_LIMIT", 5)
    for number in range(20):
        journal.end(journal.begin(who(), f"/{number}", 10), "done", 10)
        journal.flush()
    history.prune(database, 100, 10)
    assert [one.path for one in history.finished_transfers(database)] == ["/19", "/18", "/17", "/16", "/15"]
