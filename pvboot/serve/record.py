"""The journal of a worker: turns what the protocol loops report into log lines, counters and the state's history."""

from __future__ import annotations

import itertools
import threading
import time

from pvboot.serve.api import Journal, Requester
from pvboot.serve.logs import say
from pvboot.serve.metrics import Counters

# A health check asks for this over TFTP; it is not a client.
PROBE_PATH = "/.pvboot-health-probe"


class Recorder:
    """Implements `Journal`."""

    def __init__(self, counters: Counters, further: Journal | None = None) -> None:
        self._counters = counters
        self._further = further
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Requester, str, int, float, int]] = {}

    def begin(self, who: Requester, path: str, size: int) -> int:
        """Note the start of a transfer."""
        number = next(self._numbers)
        theirs = self._further.begin(who, path, size) if self._further is not None else 0
        with self._lock:
            self._running[number] = (who, path, size, time.monotonic(), theirs)
        self._counters.add("transfers_active", 1, protocol=who.protocol)
        return number

    def advance(self, number: int, sent: int) -> None:
        """Note its progress."""
        running = self._running.get(number)
        if running is not None and self._further is not None:
            self._further.advance(running[4], sent)

    def end(self, number: int, outcome: str, sent: int) -> None:
        """Note its end: one log line."""
        with self._lock:
            running = self._running.pop(number, None)
        if running is None:
            return
        who, path, size, begun, theirs = running
        if self._further is not None:
            self._further.end(theirs, outcome, sent)
        seconds = time.monotonic() - begun
        counters, kind = self._counters, outcome.partition(":")[0]
        counters.add("transfers_active", -1, protocol=who.protocol)
        counters.add("transfers_total", 1, protocol=who.protocol, outcome=kind)
        counters.add("sent_bytes_total", sent, protocol=who.protocol)
        counters.add("transfer_seconds_total", seconds, protocol=who.protocol)
        level = "warning" if kind in ("error", "timeout") else "info"
        say(
            "transfer",
            level,
            protocol=who.protocol,
            client=who.address,
            path=path,
            size=size,
            bytes=sent,
            seconds=seconds,
            outcome=outcome,
        )

    def refuse(self, who: Requester, path: str, reason: str) -> None:
        """Note a request that was refused or failed: one log line."""
        if path == PROBE_PATH:
            return
        self._counters.add("refused_total", 1, protocol=who.protocol)
        say("refused", "info", protocol=who.protocol, client=who.address, path=path, reason=reason)
        if self._further is not None:
            self._further.refuse(who, path, reason)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of a protocol's own counters."""
        self._counters.add(f"{name}_total", amount)
        if self._further is not None:
            self._further.count(name, amount)
