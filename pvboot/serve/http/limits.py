"""What one HTTP server allows its clients."""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.errors import UsageError


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of an `HttpServer`; times in seconds.

    `connections` at once, in all and from one address; `threads` that content and handlers may block.
    A request's line and header fields together have at most `head_bytes` and `fields`, its body `body_bytes`.
    `head_seconds` for a whole head (and the TLS handshake), `body_seconds` for a whole body, `idle_seconds` between
    requests.  A client must take `rate_bytes` a second on average over every `rate_seconds`.
    Making one raises `UsageError` for values out of range.
    """

    connections: int = 2048
    connections_per_address: int = 256
    threads: int = 8
    head_bytes: int = 16 << 10
    fields: int = 64
    body_bytes: int = 128 << 10
    head_seconds: float = 15.0
    body_seconds: float = 60.0
    idle_seconds: float = 30.0
    rate_bytes: int = 1024
    rate_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError("HTTP limit out of range", where=name, expected=f"{low} to {high}", found=str(value))


_RANGES = {
    "connections": (1, 1 << 20),
    "connections_per_address": (1, 1 << 20),
    "threads": (1, 256),
    "head_bytes": (512, 1 << 20),
    "fields": (1, 10_000),
    "body_bytes": (0, 1 << 30),
    "head_seconds": (0.1, 3600),
    "body_seconds": (0.1, 3600),
    "idle_seconds": (0.1, 3600),
    "rate_bytes": (0, 1 << 30),
    "rate_seconds": (0.1, 3600),
}
