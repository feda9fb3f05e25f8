"""What one HTTP server allows its clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of an `HttpServer`; times in seconds.

    `connections` at once, in all and from one address; `threads` that content and handlers may block.
    A request's line and header fields together have at most `head_bytes` and `fields`, its body `body_bytes`.
    `head_seconds` for a whole head (and the TLS handshake), `body_seconds` for a whole body, `idle_seconds` between
    requests.  A client must take `rate_bytes` a second on average over every `rate_seconds`.
    """

    connections: int = 2048
    connections_per_address: int = 256
    threads: int = 8
    head_bytes: int = 16 << 10
    fields: int = 64
    body_bytes: int = 1 << 20
    head_seconds: float = 15.0
    body_seconds: float = 60.0
    idle_seconds: float = 30.0
    rate_bytes: int = 1024
    rate_seconds: float = 30.0
