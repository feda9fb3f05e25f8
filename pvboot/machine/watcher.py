"""The thread beside a running guest: timer kicks and limits.

It never stops the guest in the middle of an instruction: a due tick, typed input or a limit interrupts it where its
next block of code begins.  A tick also sets the upcall byte, which a guest that has masked events sees when it enables
them.
"""

from __future__ import annotations

import threading
import time

from pvboot.machine.domain import Domain
from pvboot.machine.engine import Engine
from pvboot.machine.outcome import RunLimits
from pvboot.machine.traps import Traps

STEP_SECONDS = 0.004
KICK_AFTER_NS = 100_000
ABANDON_SECONDS = 0.25  # of CPU time that a guest may use before it obeys


class Watcher(threading.Thread):
    """Watches one run of the thread that creates it."""

    def __init__(self, domain: Domain, traps: Traps, engine: Engine, limits: RunLimits) -> None:
        super().__init__(name="pvboot-machine-watcher", daemon=True)
        self._domain = domain
        self._traps = traps
        self._engine = engine
        self._limits = limits
        self._done = threading.Event()
        self._start = time.monotonic()
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._start_cpu = time.clock_gettime(self._clock)
        self._base_cpu = domain.cpu_seconds()

    def finish(self) -> None:
        """End the thread; nothing of the run is touched afterwards."""
        self._done.set()
        self.join()

    def run(self) -> None:
        """Look every few milliseconds until the run is over."""
        boundaries = -1
        aborted_at: float | None = None  # CPU time of the guest's thread: on a busy host it may not get to run for long
        while not self._done.wait(STEP_SECONDS):
            stuck = self._traps.boundaries == boundaries and self._domain.asleep_since is None
            boundaries = self._traps.boundaries
            if not self._domain.abort_reason:
                self._domain.abort_reason = self._exceeded()
            if self._domain.abort_reason:
                used = time.clock_gettime(self._clock)
                aborted_at = used if aborted_at is None else aborted_at
                if used - aborted_at > ABANDON_SECONDS:
                    self._engine.abandon()
                else:
                    self._engine.interrupt()
            elif stuck:
                self._kick()

    def _kick(self) -> None:
        due = self._domain.timer.next_due
        self._domain.console.push()
        if self._domain.console.has_input or (due is not None and self._domain.clock.now() > due + KICK_AFTER_NS):
            self._domain.vcpu.raise_upcall()
            self._engine.interrupt()

    def _exceeded(self) -> str:
        """The reason to end the run, or nothing."""
        limits, domain = self._limits, self._domain
        used = time.clock_gettime(self._clock) - self._start_cpu
        if limits.cpu_seconds is not None and used > limits.cpu_seconds:
            return "cpu-limit"
        if limits.wall_seconds is not None and time.monotonic() - self._start > limits.wall_seconds:
            return "time-limit"
        silent = self._base_cpu + used - domain.console_cpu_seconds
        if limits.silent_seconds is not None and silent > limits.silent_seconds:
            return "silent"
        since = domain.asleep_since
        slept = domain.slept_seconds + (time.monotonic() - since if since is not None else 0.0)
        if limits.idle_seconds is not None and slept > limits.idle_seconds:
            return "silent"
        return ""
