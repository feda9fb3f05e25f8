"""Many sources on one machine: worker processes, each source in its own confined child.

A source that kills, starves or hangs its checker is reported as not checked; the others go on.  Results come as they
are ready, with the index of their source, each exactly once.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pvboot.check import wire
from pvboot.check.confine import LIMITS, FleetLimits, stopped
from pvboot.check.model import CheckOptions, SourceResult
from pvboot.check.worker import encode_job
from pvboot.errors import PvbootError

TRIES: Final = 2  # of a source whose worker was ended from outside
GRACE_SECONDS: Final = 15.0  # for a worker whose child is out of time to say so itself
LINE_LIMIT_BYTES: Final = 256 << 20
WORKERS_LIMIT: Final = 1024

Task = tuple[int, str, CheckOptions]


class FleetError(PvbootError):
    """The machinery itself failed."""

    code = "fleet"
    exit_code = 1


@dataclass(slots=True)
class _Worker:
    """A process, what it works on, and what of its answer has come."""

    process: subprocess.Popen[bytes]
    task: Task | None = None
    deadline: float = 0.0
    answer: bytearray = field(default_factory=bytearray)

    @property
    def out(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()


def run_fleet(
    tasks: Sequence[Task],
    jobs: int,
    limits: FleetLimits = LIMITS,
    on_start: Callable[[str], object] = lambda _source: None,
) -> Iterator[tuple[int, SourceResult]]:
    """Check all tasks (number, source, options) with `jobs` processes; yields (number, result) as they are ready.

    Raises `FleetError` if no worker can be started.
    """
    fleet = _Fleet(max(1, min(jobs, len(tasks), WORKERS_LIMIT)), limits, on_start)
    try:
        yield from fleet.results(tasks)
    finally:
        fleet.end()


class Checker:
    """One worker process for a caller that waits for each result."""

    def __init__(self, limits: FleetLimits) -> None:
        self._fleet = _Fleet(1, limits)

    def check(self, source: str, options: CheckOptions) -> SourceResult:
        """Check one source; never raises for what it holds.  Raises `FleetError`."""
        ((_number, result),) = self._fleet.results([(0, source, options)])
        return result

    def end(self) -> None:
        """End the process."""
        self._fleet.end()


class _Fleet:
    def __init__(
        self, jobs: int, limits: FleetLimits, on_start: Callable[[str], object] = lambda _source: None
    ) -> None:
        self._waiting: deque[Task] = deque()
        self._tries: dict[int, int] = {}
        self._limits = limits
        self._on_start = on_start
        self._workers: list[_Worker] = []
        self._jobs = jobs

    def results(self, tasks: Sequence[Task]) -> Iterator[tuple[int, SourceResult]]:
        self._waiting.extend(tasks)
        self._tries.clear()
        while self._waiting or any(worker.task for worker in self._workers):
            while len(self._workers) < self._jobs and self._waiting:
                self._workers.append(_start())
            for worker in list(self._workers):
                if worker.task is None and self._waiting:
                    yield from self._hand_out(worker)
            yield from self._collect()

    def _hand_out(self, worker: _Worker) -> Iterator[tuple[int, SourceResult]]:
        task = self._waiting.popleft()
        worker.task = task
        worker.deadline = time.monotonic() + self._limits.wall_for(task[2]) + GRACE_SECONDS
        self._on_start(task[1])
        try:
            assert worker.process.stdin is not None
            worker.process.stdin.write(encode_job(*task, self._limits))
            worker.process.stdin.flush()
        except OSError:  # it is gone
            yield from self._bury(worker, "its checker could not be started")

    def _collect(self) -> Iterator[tuple[int, SourceResult]]:
        """Wait until something happens, and take it."""
        busy = {worker.out: worker for worker in self._workers if worker.task}
        if not busy:
            return
        left = max(0.0, min(worker.deadline for worker in busy.values()) - time.monotonic())
        poll = select.poll()
        for out in busy:
            poll.register(out, select.POLLIN | select.POLLHUP)
        for out, _event in poll.poll(left * 1000 + 1):
            yield from self._read(busy[out])
        now = time.monotonic()
        for worker in busy.values():
            if worker.task and worker.deadline < now:
                worker.process.kill()
                wall = self._limits.wall_for(worker.task[2])
                yield from self._bury(worker, f"checking takes more than {wall:g} s", again=False)

    def _read(self, worker: _Worker) -> Iterator[tuple[int, SourceResult]]:
        piece = os.read(worker.out, 1 << 20)
        worker.answer += piece
        if not piece or len(worker.answer) > LINE_LIMIT_BYTES:
            worker.process.kill()
            yield from self._bury(worker, "its checker was ended")
        elif piece.endswith(b"\n"):
            assert worker.task is not None
            number, _, text = bytes(worker.answer).partition(b" ")
            worker.answer.clear()
            task, worker.task = worker.task, None
            try:
                if int(number) != task[0]:
                    raise ValueError("another source's result")
                result = wire.decode(text)
            except ValueError as err:
                result = stopped(task[1], f"its checker answered nonsense: {err}")
            yield task[0], result

    def _bury(self, worker: _Worker, why: str, *, again: bool = True) -> Iterator[tuple[int, SourceResult]]:
        """A worker is gone: its source gets another one, or a result that says why."""
        task, worker.task = worker.task, None
        assert task is not None
        self._workers.remove(worker)
        code = _close(worker)
        tries = self._tries[task[0]] = self._tries.get(task[0], 0) + 1
        if again and tries < TRIES:
            self._waiting.appendleft(task)
            return
        how = f" by signal {-code}" if code < 0 and again else ""
        yield task[0], stopped(task[1], f"{why}{how}")

    def end(self) -> None:
        """End every worker; one that still works is killed."""
        for worker in self._workers:
            if worker.task is not None:
                worker.process.kill()
            _close(worker)
        self._workers.clear()


def _start() -> _Worker:
    command = [sys.executable, "-P", "-m", "pvboot.check.worker"]
    # Threads of numpy's would be left out of every fork, and one worker is meant to be one CPU's work.
    path = os.pathsep.join(folder for folder in sys.path if folder)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    except OSError as err:
        raise FleetError("no process to check with", found=err.strerror or str(err)) from err
    return _Worker(process)


def _close(worker: _Worker) -> int:
    """Close both pipes and wait; the exit code."""
    process = worker.process
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        try:
            stream.close()
        except OSError:
            continue  # the pipe of a dead process, with something still to write
    try:
        return process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
