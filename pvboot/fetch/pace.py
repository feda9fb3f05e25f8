"""The minimum speed of a transfer: so many bytes in every so many seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pvboot.fetch.settings import Limits


class Pace:
    """The clock of one transfer.  `deadline` (of `time.monotonic`) moves on with every step that was made in time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._marked = 0
        self.deadline = time.monotonic() + limits.step_seconds

    def count(self, received: int) -> None:
        """Note that `received` bytes have come so far."""
        if received - self._marked >= self._limits.step_bytes:
            self._marked = received
            self.deadline = time.monotonic() + self._limits.step_seconds

    @property
    def too_slow(self) -> bool:
        """Whether the transfer has fallen behind."""
        return time.monotonic() >= self.deadline
