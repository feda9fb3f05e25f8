"""The supervisor: binds the sockets, gives up root, starts and restarts the workers, reloads, and stops them all.

It has one thread, parses nothing that clients send, and forks a worker each for TFTP, HTTP and the administrator.  A
reload starts workers of the new configuration on the same sockets; when they serve, the old ones take no more requests
and finish what they send.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvboot.confine.layers import name_process
from pvboot.errors import NetworkError, PvbootError, UsageError
from pvboot.serve import sockets
from pvboot.serve.config import PROTOCOLS, Config, load_config
from pvboot.serve.health import SUPERVISOR_SLOT
from pvboot.serve.logs import DescriptorHandler, log_to, say
from pvboot.serve.metrics import Counters, SharedCounters
from pvboot.serve.sockets import ADMIN, Listener
from pvboot.serve.user import become, look_up
from pvboot.serve.worker import KIND_OF_PROTOCOL, READY, RETIRE, TFTP, WorkerConfig, preload, run_worker

SLOTS = 16  # workers at once, those that retire included
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
_STEADY_SECONDS = 60.0  # a worker that lived so long is started again at once
_GRACE_SECONDS = 3.0  # beyond its drain time until a worker is killed

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(slots=True)
class _Process:
    """A worker's process."""

    kind: str
    pid: int
    slot: int
    ready_fd: int
    started: float
    is_ready: bool = False
    is_leaving: bool = False
    kill_at: float | None = None


@dataclass(slots=True)
class _ManagedWorker:
    """A worker that should run: its process, or when to start one."""

    process: _Process | None = None
    start_at: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS


@dataclass(slots=True)
class _Generation:
    """A configuration at work."""

    config: Config
    listeners: list[Listener]
    bases: Mapping[str, str]
    tls: ssl.SSLContext | None
    workers: dict[str, _ManagedWorker] = field(default_factory=dict)


class Supervisor:
    """One server.  `announce` is called once with its addresses; `private` are descriptors that no worker may keep."""

    def __init__(
        self, path: str, config: Config, announce: Callable[[dict[str, Any]], None], private: Collection[int] = ()
    ) -> None:
        self._path = path
        self._config = config
        self._announce = announce
        self._private = set(private)
        log_to(DescriptorHandler(2, config.log.format))
        self._shared = SharedCounters(SLOTS)
        self._counters = Counters({"start_time_seconds": time.time()})
        self._processes: dict[int, _Process] = {}
        self._inherited: dict[str, list[Listener]] = {}
        self._stopping = False

    def run(self) -> int:
        """Serve until a signal says otherwise; the exit code.  Raises `PvbootError` if it cannot start."""
        self._inherited = sockets.inherit(os.environ)
        name_process("pvboot-serve")
        _raise_descriptor_limit()
        check_user(self._config)
        listeners = _bind(self._config, self._inherited, [])
        tls = load_tls(self._config)
        preload(self._config)
        user = become(self._config.user, self._config.group)
        self._generation = self._new_generation(self._config, listeners, tls)
        self._wake_end = _catch_signals()
        try:
            problem = self._start_all(self._generation)
            if problem:
                raise PvbootError(f"the server does not start: {problem}")
            self._publish()
            say("started", pid=os.getpid(), user=user, listen=_listed(listeners))
            sockets.notify("READY=1", f"STATUS=serving on {_listed(listeners)}", f"MAINPID={os.getpid()}")
            self._announce(self._addresses())
            self._private.clear()  # closed, and perhaps given to something else
            while not self._stopping:
                self._turn()
        finally:
            self._end_everything()
        say("stopped", pid=os.getpid())
        return 0

    def _new_generation(self, config: Config, listeners: list[Listener], tls: ssl.SSLContext | None) -> _Generation:
        generation = _Generation(config, listeners, _bases(config, listeners), tls)
        for kind in dict.fromkeys(KIND_OF_PROTOCOL.values()):
            if _of_kind(kind, listeners):
                generation.workers[kind] = _ManagedWorker()
        return generation

    def _addresses(self) -> dict[str, Any]:
        """Return where the server listens, as JSON."""
        found: dict[str, Any] = {"pid": os.getpid(), "tftp": [], "http": [], "https": [], ADMIN: []}
        for listener in self._generation.listeners:
            address = listener.address
            found[listener.protocol].append(str(address) if isinstance(address, Path) else list(address))
        return found

    # -- the loop

    def _turn(self) -> None:
        """Wait for a signal, a worker's report or a moment; then do what is due."""
        now = time.monotonic()
        moments = [process.kill_at for process in self._processes.values() if process.kill_at is not None]
        moments += [worker.start_at for worker in self._generation.workers.values() if worker.process is None]
        timeout = max(0.0, min(moments) - now) if moments else None
        waiting = [process.ready_fd for process in self._processes.values() if process.ready_fd >= 0]
        wake_fd = self._wake_end.fileno()
        readable = select.select([wake_fd, *waiting], [], [], timeout)[0]
        for process in list(self._processes.values()):
            if process.ready_fd in readable:
                self._hear(process)
        signals = _caught(self._wake_end) if wake_fd in readable else set()
        self._reap()
        self._kill_late()
        if signals & {signal.SIGTERM, signal.SIGINT}:
            self._stopping = True
            return
        if signal.SIGHUP in signals:
            self._reload()
        self._start_due()
        self._publish()

    def _hear(self, process: _Process) -> str:
        """Read a worker's report that it serves, or why it does not; return the latter."""
        said = os.read(process.ready_fd, 4096)
        os.close(process.ready_fd)
        process.ready_fd = -1
        process.is_ready = said == READY
        if process.is_ready and not process.is_leaving:
            process.kill_at = None
        return "" if process.is_ready else said.decode("utf-8", "replace") or "a worker ended at its start"

    def _reap(self) -> None:
        for pid in list(self._processes):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0
            if ended:
                self._ended(self._processes.pop(pid), status)

    def _ended(self, process: _Process, status: int) -> None:
        if process.ready_fd >= 0:
            os.close(process.ready_fd)
        # Counters stay, for whoever gets the slot; gauges were its own.
        numbers = self._shared.read(process.slot)[0]
        self._shared.publish(process.slot, {key: value for key, value in numbers.items() if "_total" in key})
        for worker in self._generation.workers.values():
            if worker.process is process:
                lived = time.monotonic() - process.started
                worker.pause = _FIRST_PAUSE_SECONDS if lived > _STEADY_SECONDS else worker.pause
                worker.process, worker.start_at = None, time.monotonic() + worker.pause
                worker.pause = min(2 * worker.pause, _LONGEST_PAUSE_SECONDS)
                if not self._stopping:
                    self._counters.add("worker_restarts_total", 1, worker=process.kind)
                    say(
                        "worker-ended",
                        "error",
                        worker=process.kind,
                        pid=process.pid,
                        code=os.waitstatus_to_exitcode(status),
                    )
                return
        say("worker-finished", worker=process.kind, pid=process.pid)

    def _kill_late(self) -> None:
        for process in self._processes.values():
            if process.kill_at is not None and process.kill_at <= time.monotonic():
                process.kill_at = None
                say("worker-killed", "warning", worker=process.kind, pid=process.pid)
                os.kill(process.pid, signal.SIGKILL)

    def _start_due(self) -> None:
        for kind, worker in self._generation.workers.items():
            if worker.process is None and worker.start_at <= time.monotonic():
                self._start(self._generation, kind)

    def _publish(self) -> None:
        """Tell the workers each other's slots, and publish our own counters."""
        values = self._counters.snapshot()
        for kind, worker in self._generation.workers.items():
            if worker.process is not None and worker.process.is_ready:
                values[f"_worker_slot\0kind\0{kind}"] = worker.process.slot
            else:
                values["_workers_missing"] = values.get("_workers_missing", 0) + 1
        for listener in self._generation.listeners:
            address = listener.address
            if listener.protocol == TFTP and not isinstance(address, Path):
                values[f"_tftp_port\0host\0{address[0]}"] = address[1]
        self._shared.publish(SUPERVISOR_SLOT, values)

    # -- workers

    def _start(self, generation: _Generation, kind: str) -> _Process:
        slot = self._free_slot()
        receive, send = os.pipe()
        started = WorkerConfig(
            kind,
            generation.config,
            _of_kind(kind, generation.listeners),
            generation.bases,
            generation.tls,
            self._shared,
            slot,
            os.getpid(),
            is_first=kind == next(iter(generation.workers)),
        )
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            theirs = [process.ready_fd for process in self._processes.values() if process.ready_fd >= 0]
            for fd in (receive, *theirs, *self._private):
                os.close(fd)
            run_worker(started, send)
        os.close(send)
        now = time.monotonic()
        late = now + generation.config.limits.server.start_seconds
        process = _Process(kind, pid, slot, receive, now, kill_at=late)
        self._processes[pid] = process
        generation.workers[kind].process = process
        return process

    def _free_slot(self) -> int:
        """Return a slot that no process has; if there is none the oldest process that leaves has to give way."""
        taken = {process.slot: process for process in self._processes.values()}
        free = [slot for slot in range(SUPERVISOR_SLOT + 1, SLOTS) if slot not in taken]
        if free:
            return free[0]
        oldest = min((one for one in taken.values() if one.is_leaving), key=lambda one: one.started)
        os.kill(oldest.pid, signal.SIGKILL)
        os.waitpid(oldest.pid, 0)
        self._ended(self._processes.pop(oldest.pid), 0)
        return oldest.slot

    def _start_all(self, generation: _Generation) -> str:
        """Start a generation's workers and wait until all serve; return "" or why one does not."""
        fresh = [self._start(generation, kind) for kind in generation.workers]
        deadline = time.monotonic() + generation.config.limits.server.start_seconds
        problem = ""
        while not problem and not all(process.is_ready for process in fresh):
            waiting = {process.ready_fd: process for process in fresh if process.ready_fd >= 0}
            readable = select.select(list(waiting), [], [], max(0.0, deadline - time.monotonic()))[0]
            if not readable:
                problem = "a worker does not become ready"
            for fd in readable:
                problem = problem or self._hear(waiting[fd])
        if problem:
            for process in fresh:
                self._discard(process)
        return problem

    def _discard(self, process: _Process) -> None:
        """End a worker of a generation that comes to nothing."""
        process.is_leaving = True
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        if process.ready_fd >= 0:
            os.close(process.ready_fd)
        del self._processes[process.pid]

    def _leave(self, generation: _Generation, number: int, seconds: float) -> None:
        """Ask a generation's workers to finish what they send."""
        for worker in generation.workers.values():
            if worker.process is not None and worker.process.pid in self._processes:
                self._ask_to_leave(worker.process, number, seconds)

    def _ask_to_leave(self, process: _Process, number: int, seconds: float) -> None:
        process.is_leaving = True
        process.kill_at = time.monotonic() + seconds + _GRACE_SECONDS
        with contextlib.suppress(ProcessLookupError):
            # One that is not ready has no handler yet and just ends.
            os.kill(process.pid, number if process.is_ready else signal.SIGTERM)

    # -- reload and end

    def _reload(self) -> None:
        """Take over the configuration as it is now; a bad one changes nothing."""
        sockets.notify(sockets.reloading())
        try:
            self._take_over()
        except (PvbootError, OSError) as err:
            self._counters.add("reloads_refused_total")
            say("reload-refused", "error", reason=str(err))
            sockets.notify("READY=1", f"STATUS=the new configuration was refused: {err}")
            return
        self._counters.add("reloads_total")
        say("reloaded", listen=_listed(self._generation.listeners))
        sockets.notify("READY=1", f"STATUS=serving on {_listed(self._generation.listeners)}")

    def _take_over(self) -> None:
        old = self._generation
        config = load_config(self._path)
        tls = load_tls(config)
        listeners = _bind(config, self._inherited, old.listeners)
        generation = self._new_generation(config, listeners, tls)
        problem = self._start_all(generation)
        if problem:
            for listener in listeners:
                if listener not in old.listeners:
                    listener.close()
            raise PvbootError(f"the new workers do not start: {problem}")
        self._generation = generation
        self._leave(old, RETIRE, old.config.limits.server.retire_seconds)
        for listener in old.listeners:
            if listener not in listeners:
                listener.close()

    def _end_everything(self) -> None:
        """Ask all workers to finish; kill those that take too long, and all at the second signal."""
        self._stopping = True
        sockets.notify("STOPPING=1")
        seconds = self._generation.config.limits.server.drain_seconds
        for listener in self._generation.listeners:
            listener.close()
        for process in self._processes.values():
            self._ask_to_leave(process, signal.SIGTERM, seconds)
        while self._processes:
            moments = [process.kill_at for process in self._processes.values() if process.kill_at is not None]
            timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
            if select.select([self._wake_end], [], [], timeout)[0] and _caught(self._wake_end) & {
                signal.SIGTERM,
                signal.SIGINT,
            }:
                for process in self._processes.values():
                    process.kill_at = 0.0
            self._kill_late()
            self._reap()


# --- small parts ------------------------------------------------------------------------------------------


def check_user(config: Config) -> None:
    """Raise `ConfigError` if root could not become the user that the configuration names."""
    if os.geteuid() == 0:
        try:
            look_up(config.user, config.group)
        except UsageError as err:
            raise config.file.error(err.what, err.where, err.expected, err.found) from err


def load_tls(config: Config) -> ssl.SSLContext | None:
    """Load the certificate and key, for TLS 1.2 or newer; None without them.  Raises `UsageError`."""
    if not config.tls.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as err:
        # At a reload, what root alone may read is out of reach.
        expected = f"files that user {os.geteuid()} may read" if isinstance(err, PermissionError) else ""
        raise UsageError(
            "the certificate or its key cannot be used",
            where=f"{config.tls.certificate}, {config.tls.key}",
            expected=expected,
            found=str(err),
        ) from err
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _bind(config: Config, inherited: Mapping[str, list[Listener]], kept: list[Listener]) -> list[Listener]:
    """Bind the sockets of a configuration.  Raises `NetworkError`, and `UsageError` if guests could reach nothing."""
    if not inherited and not any(map(config.listen.guests, PROTOCOLS)):
        raise UsageError(
            "nothing to listen on",
            where=config.file.name,
            expected="[listen] tftp, http or https, or sockets from systemd",
        )
    return sockets.bind(config, inherited, kept)


def _of_kind(kind: str, listeners: list[Listener]) -> list[Listener]:
    return [listener for listener in listeners if KIND_OF_PROTOCOL[listener.protocol] == kind]


def _bases(config: Config, listeners: list[Listener]) -> dict[str, str]:
    """Return this server's base URL for each protocol of guests, without the port where it is the usual one."""
    usual = {"tftp": 69, "http": 80, "https": 443}
    bases: dict[str, str] = {}
    for listener in listeners:
        address = listener.address
        if listener.protocol in usual and not isinstance(address, Path):
            ending = "" if address[1] == usual[listener.protocol] else f":{address[1]}"
            host = sockets.as_url_host(config.public_host)
            bases.setdefault(listener.protocol, f"{listener.protocol}://{host}{ending}")
    return bases


def _listed(listeners: list[Listener]) -> str:
    return ", ".join(map(str, listeners))


def _catch_signals() -> socket.socket:
    """Turn signals into bytes in a socket; return the end to read them from."""
    read_end, write_end = socket.socketpair()
    for sock in (read_end, write_end):
        sock.setblocking(False)
    signal.set_wakeup_fd(os.dup(write_end.fileno()), warn_on_full_buffer=False)
    write_end.close()
    os.set_blocking(read_end.fileno(), False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    return read_end


def _caught(wake_end: socket.socket) -> set[int]:
    with contextlib.suppress(BlockingIOError):
        return set(wake_end.recv(4096))
    return set()


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as thousands of transfers need."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def announce_on(fd: int, addresses: Mapping[str, Any]) -> None:
    """Write the addresses as one line of JSON and close the descriptor.  Raises `NetworkError`."""
    try:
        os.write(fd, json.dumps(addresses).encode() + b"\n")
        os.close(fd)
    except OSError as err:
        raise NetworkError(f"cannot report where the server listens: {err.strerror}", where=f"descriptor {fd}") from err
