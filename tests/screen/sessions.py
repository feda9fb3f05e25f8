"""`pvboot boot`, or another program of ours, on a pseudo-terminal of unknown size, as libxl gives one."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import REPOSITORY
from tests.screen.emulator import Emulator

PATIENCE_SECONDS = 60.0


class Session:
    """A running program and the screen that a person in front of it sees."""

    def __init__(self, program: tuple[str, ...], *arguments: str | Path, term: str | None = "vt100") -> None:
        self.emulator = Emulator()
        self.transcript = bytearray()
        self.pid, self.master = pty.fork()
        if self.pid == 0:  # the program, whose controlling terminal the other side is
            os.chdir(REPOSITORY)
            env = {name: value for name, value in os.environ.items() if name != "TERM"}
            os.execve(
                sys.executable,
                [sys.executable, "-m", *program, *map(str, arguments)],
                env if term is None else {**env, "TERM": term},
            )
        self._status: int | None = None
        self._met = False

    def send(self, keys: str | bytes) -> None:
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def wait_for(self, seen: str | Callable[[Emulator], bool]) -> None:
        """Until the text was on the screen, or the condition held, be it for one line: a guest may print on at once."""
        condition = (lambda emulator: seen in emulator.text) if isinstance(seen, str) else seen
        deadline = time.monotonic() + PATIENCE_SECONDS
        self._met = condition(self.emulator)
        while not self._met:
            assert self._read(deadline, condition), f"never seen: {seen}\n{self.emulator.text}"

    def end(self) -> int:
        """Read to the end; the exit status, negative for a signal."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read(deadline):
            pass
        return self.status()

    def status(self) -> int:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._status is None and time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        assert self._status is not None, f"still running\n{self.emulator.text}"
        return self._status

    def hang_up(self) -> None:
        os.close(self.master)
        self.master = -1

    def _read(self, deadline: float, condition: Callable[[Emulator], bool] = lambda _emulator: False) -> bool:
        if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self.master, 4096)
        except OSError:  # Linux's way to say that the program is gone
            return False
        self.transcript += data
        for line in data.splitlines(keepends=True):
            self.emulator.feed(line)
            self._met = self._met or condition(self.emulator)
        return bool(data)

    def close(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.master >= 0:
            os.close(self.master)


@contextmanager
def session(
    *arguments: str | Path, term: str | None = "vt100", program: tuple[str, ...] = ("pvboot", "boot")
) -> Iterator[Session]:
    """A session that is over, whatever happens."""
    running = Session(program, *arguments, term=term)
    try:
        yield running
    finally:
        running.close()
