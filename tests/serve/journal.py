"""A journal that remembers all that is reported to it, and waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pvboot.serve.api import Requester


def wait_until(condition: Callable[[], Any], what: str = "", seconds: float = 60) -> Any:
    """The first true value of `condition`: no test says how long that takes, only that it comes."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.01)
    return value


@dataclass(slots=True)
class Transfer:
    """A transfer as reported; `sent` has its progress."""

    who: Requester
    path: str
    size: int
    sent: list[int] = field(default_factory=list)
    outcome: str | None = None

    @property
    def end(self) -> tuple[str | None, int]:
        """Outcome, and the bytes that were sent."""
        return self.outcome, self.sent[-1]


class MemoryJournal:
    """Implements `Journal`; `faults` are reports that must not be."""

    def __init__(self) -> None:
        self.transfers: list[Transfer] = []
        self.refusals: list[tuple[Requester, str, str]] = []
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def begin(self, who: Requester, path: str, size: int) -> int:
        self.transfers.append(Transfer(who, path, size))
        return len(self.transfers) - 1

    def advance(self, number: int, sent: int) -> None:
        transfer = self.transfers[number]
        if transfer.outcome is not None or sent < max(transfer.sent, default=0):
            self.faults.append(f"advance of {transfer}")
        transfer.sent.append(sent)

    def end(self, number: int, outcome: str, sent: int) -> None:
        transfer = self.transfers[number]
        if transfer.outcome is not None:
            self.faults.append(f"second end of {transfer}")
        transfer.sent.append(sent)
        transfer.outcome = outcome

    def refuse(self, who: Requester, path: str, reason: str) -> None:
        self.refusals.append((who, path, reason))

    def count(self, name: str, amount: int = 1) -> None:
        self.counts[name] += amount

    @property
    def outcomes(self) -> Counter[str | None]:
        """How many transfers ended how; None are those that have not."""
        return Counter(transfer.outcome for transfer in self.transfers)

    @property
    def in_order(self) -> bool:
        """Whether all transfers have ended, once."""
        return not self.faults and None not in self.outcomes
