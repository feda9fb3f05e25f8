"""Bounds of the server as a whole; protocols and images have their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pvboot.validation import Model

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Seconds = Annotated[float, Field(ge=0, le=1 << 53)]


class ServerLimits(Model):
    """Times in seconds: how long transfers may go on after a stop (`drain_seconds`) and after a reload, on the old
    content (`retire_seconds`); a new worker must be ready within `start_seconds`.  `object_bytes` of one object of a
    store, `spool_bytes` of all that are kept at hand."""

    drain_seconds: Seconds = 10.0
    retire_seconds: Seconds = 600.0
    start_seconds: Seconds = 30.0
    object_bytes: Count = 2 << 30
    spool_bytes: Count = 4 << 30
