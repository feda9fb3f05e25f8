"""The parent's side: start a child for a job, keep its deadline, check what it says, account for what it took.

Nothing waits for a child without a deadline that is kept here: whatever it does to its pipe, its timers or its signals,
it is killed in time; one that cannot even be killed (it sleeps in the kernel) is reported and left to init.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pvboot.confine import preload
from pvboot.confine.child import Work, become
from pvboot.confine.jobs import DEFAULT_LIMITS, NOTHING, ChildKilled, Grants, Inbox, Job, JobLimits, SandboxError

END_SECONDS = 10.0  # for a child that has closed its pipe to end
KILL_SECONDS = 5.0  # for one that is killed
PIECE_BYTES = 1 << 16
TICK_SECONDS = 0.01

_left: list[int] = []  # killed, and not yet gone


class Report:
    """What a child sent (`name`, value), which layers held it, and what it and those before it used."""

    __slots__ = ("children", "cpu_seconds", "layers", "max_rss_bytes", "messages", "missing")

    def __init__(self) -> None:
        self.messages: list[tuple[str, object]] = []
        self.layers: list[str] = []
        self.missing: list[str] = []
        self.cpu_seconds = 0.0
        self.max_rss_bytes = 0
        self.children = 0

    def get(self, name: str) -> object:
        """The last value that was sent by that name, None if there is none."""
        return next((value for known, value in reversed(self.messages) if known == name), None)

    def account(self, usage: resource.struct_rusage) -> None:
        """Add what a child used, of which the kernel has told."""
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.max_rss_bytes = max(self.max_rss_bytes, usage.ru_maxrss << 10)
        self.children += 1


class Child:
    """A started child.  `fileno` and `timeout` are for the caller's poll, which then calls `advance`."""

    def __init__(
        self, job: Job, limits: JobLimits, pid: int, pidfd: int, fd: int, report: Report, *, ours: bool = True
    ) -> None:
        """Take the descriptors over; `pidfd` is -1 in old kernels.  `ours`: this process is the parent."""
        self.job = job
        self.limits = limits
        self.pid = pid
        self.report = report
        self._pidfd = pidfd
        self._fd = fd
        self._ours = ours
        self._is_gone = False
        self._inbox = Inbox(job)
        self._wall = limits.wall_seconds
        self._deadline = None if self._wall is None else time.monotonic() + self._wall
        self._cpu = self._cpu_end = min(limits.parse_seconds, limits.cpu_seconds)

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, or was given up."""
        return self._is_gone

    def fileno(self) -> int:
        """What becomes readable when there is something to do; -1 if nothing tells."""
        return self._fd if self._fd >= 0 else self._pidfd

    def timeout(self) -> float:
        """Seconds until `advance` must be called anyway."""
        if self.fileno() < 0:
            return TICK_SECONDS
        # It cannot use more than one CPU; one that has threads is looked at a little late.
        left = self._cpu_end - cpu_seconds_of(self.pid)
        if self._deadline is not None:
            left = min(left, self._deadline - time.monotonic())
        return max(TICK_SECONDS, left)

    def advance(self) -> bool:
        """Take what there is, without waiting; True once the child has ended well.  Raises `SandboxError`."""
        with self._ended_by_errors():
            if self._fd >= 0 and wait_readable(self._fd, 0):
                self._read()
            if self._fd < 0 and self._reap(0):
                return True
            self._keep_time()
            return False

    def wait(self) -> Report:
        """Wait until the child has ended well.  Raises `SandboxError`."""
        with self._ended_by_errors():
            while not self.advance():
                wait_readable(self.fileno(), self.timeout())
        return self.report

    def answer(self, seconds: float) -> tuple[str, object]:
        """Wait for the next message, `seconds` at most.  Raises `SandboxError`."""
        with self._ended_by_errors():
            self._wall, self._deadline = seconds, time.monotonic() + seconds
            self._cpu = self.limits.parse_seconds
            self._cpu_end = min(self.limits.cpu_seconds, cpu_seconds_of(self.pid) + self._cpu)
            while not self.report.messages:
                if self._fd < 0:
                    raise SandboxError(f"{self.job.who} ended (it may have hit its limits)")
                wait_readable(self._fd, self.timeout())
                self.advance()
            if len(self.report.messages) > 1 or not self._inbox.is_complete:
                raise self._inbox.refuse("more than an answer")
            self._inbox.forget()
            return self.report.messages.pop()

    def ask(self, request: bytes, seconds: float) -> tuple[str, object]:
        """Send a request and wait for its one answer, `seconds` at most.  Raises `SandboxError`."""
        with self._ended_by_errors():
            self.advance()  # it may have ended, or say what nobody asked for
            if self.report.messages:
                raise self._inbox.refuse("an answer to nothing")
            try:
                taken = self._fd >= 0 and os.write(self._fd, request) == len(request)
            except OSError:
                taken = False
            if not taken:
                raise SandboxError(f"{self.job.who} takes no request")
            return self.answer(seconds)

    def end(self) -> bool:
        """Kill the child if it lives; whether it has ended in a bounded time."""
        ended = True
        if not self._is_gone:
            with suppress(OSError):  # it has ended, or cannot be killed: the wait tells
                if self._pidfd < 0:
                    os.kill(self.pid, signal.SIGKILL)
                else:
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            with suppress(SandboxError):
                ended = not self._ours or self._reap(KILL_SECONDS)
            if not ended:
                _left.append(self.pid)
            self._is_gone = True
        for fd in (self._fd, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._pidfd = -1
        return ended

    @contextmanager
    def _ended_by_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as err:
            if not self.end() and isinstance(err, SandboxError):
                raise SandboxError(f"{err}, and its process {self.pid} cannot be ended") from err
            raise

    def _read(self) -> None:
        try:
            data = os.read(self._fd, PIECE_BYTES)
        except ConnectionError:
            data = b""
        for name, value in self._inbox.feed(data):
            if name == "ready":
                self.report.layers, self.report.missing = self._inbox.layers, self._inbox.missing
            elif name == "parsed":
                self._cpu = self._cpu_end = self.limits.cpu_seconds
            else:
                self.report.messages.append((name, value))
        if not data:
            os.close(self._fd)
            self._fd = -1
            end = time.monotonic() + END_SECONDS
            if self._deadline is None or self._deadline > end:
                self._wall, self._deadline = END_SECONDS, end

    def _keep_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise SandboxError(f"{self.job.doing} takes more than {self._wall:g} s")
        if cpu_seconds_of(self.pid) > self._cpu_end:
            raise SandboxError(f"{self.job.doing} takes more than {self._cpu:g} s of CPU time")

    def _reap(self, seconds: float) -> bool:
        """Whether the child has ended, within `seconds`.  Raises `SandboxError` if it did not end well."""
        deadline = time.monotonic() + seconds
        status = 0
        while True:
            if self._ours:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
                if pid:
                    self.report.account(usage)
                    break
            elif wait_readable(self._pidfd, 0):
                break
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            wait_readable(self._pidfd, left if self._pidfd >= 0 else min(left, TICK_SECONDS))
        self._is_gone = True
        self.end()
        self._judge(status)
        return True

    def _judge(self, status: int) -> None:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGXCPU:
                raise SandboxError(f"{self.job.doing} takes more than {self.limits.cpu_seconds:g} s of CPU time")
            raise ChildKilled(f"{self.job.who} was ended by signal {number}")
        if code := os.waitstatus_to_exitcode(status):
            raise SandboxError(f"{self.job.who} failed", found=f"exit code {code}")
        if self._ours and not self._inbox.is_complete:
            raise self._inbox.refuse("half a message, or none")


def wait_readable(fd: int, seconds: float) -> bool:
    """Whether the descriptor can be read, or has come to its end, within `seconds`, an hour at most; -1 sleeps."""
    seconds = min(seconds, 3600)
    if fd < 0:
        time.sleep(seconds)
        return False
    poll = select.poll()  # a program with many descriptors may run readers, too
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def cpu_seconds_of(pid: int) -> float:
    """CPU time of a process: its clock's number is made of its own (clock_getcpuclockid(3)); 0 if it is gone."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


# --- starting ---------------------------------------------------------------------------------------------


def run(
    job: Job, work: Work, grants: Grants = NOTHING, limits: JobLimits = DEFAULT_LIMITS, *, outputs: Sequence[int] = ()
) -> Report:
    """Start a child and wait for its end, as often as it lacks a module that it may have.  Raises `SandboxError`.

    `outputs` are files that are emptied before each start.
    """
    report = Report()
    asked: set[object] = set()
    while True:
        for fd in outputs:
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
        report.messages.clear()
        wanted = start(job, work, grants, limits, report).wait().get("need")
        if wanted is None:
            return report
        if wanted in asked:
            raise SandboxError(f"{job.who} asks twice for a module", found=str(wanted))
        asked.add(wanted)
        preload.load(str(wanted))


def start(
    job: Job, work: Work, grants: Grants = NOTHING, limits: JobLimits = DEFAULT_LIMITS, report: Report | None = None
) -> Child:
    """Start a child that does `work` with the rights of its job and what it is granted, and nothing else.

    Not for programs with threads.
    """
    if not grants.confined:  # somebody looks for a mistake
        limits = limits._replace(parse_seconds=float("inf"), cpu_seconds=float("inf"))
    _left[:] = [pid for pid in _left if os.waitpid(pid, os.WNOHANG) == (0, 0)]
    receive, send = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        os.close(receive)
        become(job, work, send, limits, grants, parent)
    os.close(send)
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        pidfd = -1
    return Child(job, limits, pid, pidfd, receive, report or Report())
