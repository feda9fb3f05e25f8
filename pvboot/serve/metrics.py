"""Counters of all workers in shared memory, and their text in Prometheus' exposition format (version 0.0.4).

Each worker has a slot that only it writes; the one who renders reads them all.  A worker that replaces another
continues from the slot's numbers, so no counter falls while the server runs.
"""

from __future__ import annotations

import json
import mmap
import re
import struct
import threading
import time
from collections.abc import Iterable, Mapping

SLOT_BYTES = 64 << 10
PUBLISH_SECONDS = 0.5
FRESH_SECONDS = 10.0
# The sequence number is odd while the slot is being written.
_HEAD = struct.Struct("=QdI")  # sequence, monotonic time, bytes of JSON that follow

Labels = tuple[tuple[str, str], ...]
_HELP = {
    "transfers_total": "Transfers that ended, by outcome.",
    "sent_bytes_total": "Bytes sent in transfers that ended.",
    "refused_total": "Requests that were refused or failed.",
    "transfers_active": "Transfers in progress.",
    "readers": "Confined image readers that are running.",
    "worker_restarts_total": "Workers that ended unexpectedly and were started again.",
    "reloads_total": "Configurations taken over by SIGHUP.",
    "reloads_refused_total": "Configurations refused at SIGHUP.",
    "start_time_seconds": "When the server was started, in seconds since 1970.",
    "transfer_seconds_total": "Seconds that transfers took, in total.",
}


class Counters:
    """One process's numbers by name and labels; thread-safe."""

    def __init__(self, start: Mapping[str, float] | None = None) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = dict(start or {})

    def add(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter (`..._total`) or gauge."""
        key = _key(name, labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[_key(name, labels)] = value

    def snapshot(self) -> dict[str, float]:
        """Return a copy of all numbers."""
        with self._lock:
            return dict(self._values)


def _key(name: str, labels: Mapping[str, str]) -> str:
    return name + "".join(f"\0{label}\0{value}" for label, value in sorted(labels.items()))


class SharedCounters:
    """Slots of numbers in memory that all workers share; make it before they are forked."""

    def __init__(self, slots: int) -> None:
        self._memory = mmap.mmap(-1, slots * SLOT_BYTES)
        self.slots = slots

    def publish(self, slot: int, values: Mapping[str, float]) -> None:
        """Write a slot; only its owner may."""
        data = json.dumps(values, separators=(",", ":")).encode()
        if len(data) > SLOT_BYTES - _HEAD.size:
            return  # cannot happen with the names that we count; the old numbers stay and are seen to be stale
        start = slot * SLOT_BYTES
        sequence, _, _ = _HEAD.unpack_from(self._memory, start)
        sequence += 1 + sequence % 2
        _HEAD.pack_into(self._memory, start, sequence, 0.0, 0)
        self._memory[start + _HEAD.size : start + _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._memory, start, sequence + 1, time.monotonic(), len(data))

    def read(self, slot: int) -> tuple[dict[str, float], float]:
        """Return the numbers in a slot and how many seconds ago they were written."""
        start = slot * SLOT_BYTES
        for _ in range(100):
            before, written, size = _HEAD.unpack_from(self._memory, start)
            data = self._memory[start + _HEAD.size : start + _HEAD.size + size]
            after, _, _ = _HEAD.unpack_from(self._memory, start)
            if before == after and not before % 2:
                return (json.loads(data) if data else {}), time.monotonic() - written
            time.sleep(0.001)  # its writer was stopped in the middle
        return {}, float("inf")

    def total(self) -> dict[str, float]:
        """Return the sums over all slots."""
        total: dict[str, float] = {}
        for slot in range(self.slots):
            for key, value in self.read(slot)[0].items():
                total[key] = total.get(key, 0) + value
        return total

    def of_protocols(self) -> dict[str, int]:
        """Return what the protocols have counted, without the suffix of the metrics."""
        counted = ((key.removesuffix("_total"), int(value)) for key, value in self.total().items() if "\0" not in key)
        return {name: value for name, value in counted if name.startswith(("tftp_", "http_"))}


def render(values: Mapping[str, float]) -> str:
    """Return the numbers as exposition text."""
    families: dict[str, list[str]] = {}
    for key in sorted(values):
        name, *labels = key.split("\0")
        name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in zip(labels[::2], labels[1::2], strict=True))
        families.setdefault(name, []).append(
            f"pvboot_{name}{{{pairs}}} {_number(values[key])}" if pairs else f"pvboot_{name} {_number(values[key])}"
        )
    return "".join(_family(name, lines) for name, lines in families.items())


def _family(name: str, lines: Iterable[str]) -> str:
    kind = "counter" if name.endswith("_total") else "gauge"
    text = _HELP.get(name, name.removesuffix("_total").replace("_", " ").capitalize() + ".")
    return f"# HELP pvboot_{name} {text}\n# TYPE pvboot_{name} {kind}\n" + "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
