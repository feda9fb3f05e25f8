"""What the server as a whole allows itself; protocols and images have their own limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Times in seconds: how long transfers may go on after a stop (`drain_seconds`) and after a reload, on the old
    content (`retire_seconds`); a new worker must be ready within `start_seconds`.  `object_bytes` of one object of a
    store, `spool_bytes` of all that are kept at hand."""

    drain_seconds: float = 10.0
    retire_seconds: float = 600.0
    start_seconds: float = 30.0
    object_bytes: int = 2 << 30
    spool_bytes: int = 4 << 30
