"""The journal of a process: events of the protocol loops on their way to the database that all processes share.

The loops only change a dictionary; one thread writes twice a second what has changed.  However many transfers there
are, a round writes a bounded number of rows: `LIVE_LIMIT` live ones and `FINISHED_LIMIT` finished ones.  Files of boots
are recognized by asking the database, so all finished transfers of a round are looked at.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass

from pvboot.errors import PvbootError
from pvboot.serve.api import Requester
from pvboot.serve.state import history
from pvboot.serve.state.database import Database
from pvboot.serve.state.identity import read_address

LIVE_LIMIT = 250
FINISHED_LIMIT = 250
_WAITING_LIMIT = 20_000  # finished transfers between two rounds; the oldest are lost beyond
_ROUND_SECONDS = 0.5
_PRUNE_SECONDS = 60
_TEXT_LIMIT = 1024

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Live:
    """A transfer as the loops report it."""

    number: int
    who: Requester
    path: str
    size: int
    started: float
    sent: int = 0


class StateJournal:
    """Implements `pvboot.serve.api.Journal`; every process has its own.

    Made after a fork, never before: it holds a thread and the database's connections.
    """

    def __init__(self, database: Database, history_limit: int, history_days: int) -> None:
        self._database = database
        self.limits = (history_limit, history_days)
        self.process = f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._rounds = threading.Lock()  # rounds follow each other: an older one must not overwrite what a newer said
        self._live: dict[int, _Live] = {}
        self._finished: deque[tuple[_Live, str]] = deque(maxlen=_WAITING_LIMIT)
        self._counts: Counter[str] = Counter()
        self._known: set[int] = set()  # live transfers that have a row
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # --- called by the loops: no lock is held for longer than a dictionary takes --------------------------------

    def begin(self, who: Requester, path: str, size: int) -> int:
        """Begin a transfer; return its number."""
        number = next(self._numbers)
        live = _Live(number, who, path, size, time.time())
        with self._lock:
            self._live[number] = live
        return number

    def advance(self, number: int, sent: int) -> None:
        """Note how many bytes were sent so far."""
        live = self._live.get(number)
        if live is not None:
            live.sent = sent

    def end(self, number: int, outcome: str, sent: int) -> None:
        """End a transfer."""
        with self._lock:
            live = self._live.pop(number, None)
            if live is not None:
                live.sent = sent
                self._finished.append((live, outcome or "error: unknown"))

    def refuse(self, who: Requester, path: str, reason: str) -> None:
        """Note a refused request; it counts against a boot that needed the file."""
        live = _Live(next(self._numbers), who, path, 0, time.time())
        with self._lock:
            self._finished.append((live, f"refused: {reason}"))

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a metric."""
        with self._lock:
            self._counts[name] += amount

    # --- read by the API --------------------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """This process's counts."""
        with self._lock:
            return dict(self._counts)

    # --- the writer -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pruned = 0.0
        while not self._stop.wait(_ROUND_SECONDS):
            try:
                self.flush()
                if time.monotonic() - pruned > _PRUNE_SECONDS:
                    history.prune(self._database, *self.limits)
                    pruned = time.monotonic()
            except PvbootError as err:
                # The history may wait, transfers may not: they go on, and the next round tries again.
                _LOG.warning("journal: %s", err)

    def flush(self) -> None:
        """Write the changes of one round."""
        with self._rounds:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            live = list(itertools.islice(reversed(self._live.values()), LIVE_LIMIT))
            finished = list(self._finished)
            self._finished.clear()
        if not live and not finished:
            return
        ended = [self._row(one, outcome) for one, outcome in finished]
        # A row of one that is over by now must not stay alive: those are written whatever the limit is.
        rows = [row for row in ended if row.number in self._known]
        rows += [row for row in ended if row.number not in self._known][-FINISHED_LIMIT:]
        rows += [self._row(one, "") for one in live]
        try:
            history.save_transfers(self._database, rows, ended)
        except PvbootError:
            with self._lock:
                self._finished.extendleft(reversed(finished[-(_WAITING_LIMIT - len(self._finished)) :]))
            raise
        self._known = {one.number for one in live}

    def _row(self, live: _Live, outcome: str) -> history.Transfer:
        address = read_address(live.who.address) or _text(live.who.address, 45)
        return history.Transfer(
            process=self.process,
            number=live.number,
            address=address,
            protocol=live.who.protocol[:8],
            path=_text(live.path),
            size=live.size,
            sent=live.sent,
            outcome=_text(outcome),
            started=live.started,
            changed=time.time(),
        )

    def close(self) -> None:
        """Write the rest and end the thread."""
        self._stop.set()
        self._thread.join()
        try:
            self.flush()
            history.forget_process(self._database, self.process)
        except PvbootError as err:
            _LOG.warning("journal: %s", err)


def _text(text: str, limit: int = _TEXT_LIMIT) -> str:
    """A text that every database takes: no surrogates (bytes that are not UTF-8), no NUL, bounded."""
    return text.encode("utf-8", "backslashreplace").decode()[:limit].replace("\0", "")
