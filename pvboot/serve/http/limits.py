"""Limits of an HTTP server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pvboot.validation import Model

Connections = Annotated[int, Field(ge=1, le=1 << 20)]
Bytes = Annotated[int, Field(ge=0, le=1 << 30)]
Seconds = Annotated[float, Field(ge=0.1, le=3600)]


class HttpLimits(Model):
    """Bounds of an `HttpServer`; times in seconds.

    `connections` at once, in all and from one address; `threads` that content may block.  A request's line, and each of
    its `fields`, has at most `head_bytes`, and so has a head that has not ended; its body `body_bytes`.
    `head_seconds` for a whole head (and the TLS handshake), `body_seconds` for a whole body, `idle_seconds` between
    requests.  A client must take `rate_bytes` a second on average over every `rate_seconds`.
    """

    connections: Connections = 2048
    connections_per_address: Connections = 256
    threads: Annotated[int, Field(ge=1, le=256)] = 8
    head_bytes: Annotated[int, Field(ge=512, le=1 << 20)] = 16 << 10
    fields: Annotated[int, Field(ge=1, le=10_000)] = 64
    body_bytes: Bytes = 128 << 10
    head_seconds: Seconds = 15.0
    body_seconds: Seconds = 60.0
    idle_seconds: Seconds = 30.0
    rate_bytes: Bytes = 1024
    rate_seconds: Seconds = 30.0
