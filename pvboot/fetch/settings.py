"""The settings of transfers: bounds, expected checksums, and reports of progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

# Bytes so far and, if the server said so, of the whole.
Progress: TypeAlias = Callable[[int, int | None], object]

FILE_LIMIT_BYTES: Final = 1 << 30


def _quiet(_text: str) -> None:
    pass


def _no_meter(_name: str) -> Progress | None:
    return None


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of every transfer.

    `wait_seconds` is the longest silence; `step_bytes` must come in every `step_seconds`, so that a server that drips
    cannot hold us for ever; `attempts` count a whole file; `redirects` those of one request.
    """

    wait_seconds: float = 10.0
    step_bytes: int = 64 << 10
    step_seconds: float = 60.0
    attempts: int = 5
    pause_seconds: float = 0.2  # before the second attempt, then twice as long each time
    redirects: int = 5
    tftp_wait_seconds: float = 1.5
    tftp_retries: int = 6


class Pace:
    """The clock of one transfer.  `deadline` (of `time.monotonic`) moves on with every step that was made in time."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._marked = 0
        self.deadline = time.monotonic() + limits.step_seconds

    def count(self, received: int) -> None:
        """Note that `received` bytes have come so far."""
        if received - self._marked >= self._limits.step_bytes:
            self._marked = received
            self.deadline = time.monotonic() + self._limits.step_seconds


@dataclass(frozen=True, slots=True)
class NetSettings:
    """`sums` are the known SHA-256 of files by their path below the base; None asks for none.

    `report` takes a line for each finished transfer; `meter` makes the callback for the progress of one.
    """

    limits: FetchLimits = FetchLimits()
    file_limit_bytes: int = FILE_LIMIT_BYTES
    sums: Mapping[str, str] | None = None
    report: Callable[[str], object] = field(default=_quiet)
    meter: Callable[[str], Progress | None] = field(default=_no_meter)


@dataclass(frozen=True, slots=True)
class NetOptions:
    """`urls` are the servers that menus may use beside those of the sources; the first of all is `(nd)`."""

    urls: tuple[str, ...] = ()
    settings: NetSettings = field(default_factory=NetSettings)
