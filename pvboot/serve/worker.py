"""A worker: the process that runs the loop of TFTP, HTTP or the administrator, with image readers of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pkgutil
import signal
import ssl
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from pvboot.confine.layers import die_with_parent, name_process
from pvboot.confine.preload import preload as preload_for_job
from pvboot.errors import PvbootError, UsageError
from pvboot.serve.assembly import Assembly
from pvboot.serve.config import Config
from pvboot.serve.images import start_fork_server
from pvboot.serve.logs import DescriptorHandler, log_to, queued, say
from pvboot.serve.metrics import PUBLISH_SECONDS, Counters, SharedCounters
from pvboot.serve.record import Recorder
from pvboot.serve.sockets import ADMIN, Listener

if TYPE_CHECKING:
    from pvboot.confine.fork_server import ForkServer
    from pvboot.serve.http.server import HttpServer

TFTP, HTTP = "tftp", "http"
# What each kind of worker serves.
KIND_OF_PROTOCOL = {"tftp": TFTP, "http": HTTP, "https": HTTP, ADMIN: ADMIN}
READY = b"+"
# Asks a worker of an old configuration to finish its transfers and take no more.
RETIRE = signal.SIGUSR1
FORK_SERVER_LOST = 70  # exit code


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The values that a worker is started with."""

    kind: str
    config: Config
    listeners: Sequence[Listener]
    bases: Mapping[str, str]
    tls: ssl.SSLContext | None
    shared: SharedCounters
    slot: int
    parent: int
    is_first: bool  # of its generation


def preload(config: Config) -> None:
    """Import all that workers of this configuration need, while the libraries can surely be read.

    Once root is given up they perhaps cannot (a Python below somebody's home); and memory is shared this way.  Raises
    `UsageError` for what is not installed.
    """
    wanted = [
        "asyncio",
        "concurrent.futures.thread",
        "encodings.ascii",
        "encodings.idna",
        "encodings.latin_1",
        "pvboot.serve.health",
        "pvboot.serve.http.admin",
        "pvboot.serve.http.files",
        "pvboot.serve.tftp.server",
    ]
    if any(mount.kind == "url" for mount in config.content):
        wanted += ["pvboot.serve.stores", "fsspec", "fsspec.implementations.memory"]
    if config.has_state:
        from pvboot.serve import state

        wanted += ["sqlalchemy.dialects.sqlite", "sqlite3.dbapi2"]
        if config.state.startswith("postgres"):
            wanted += ["sqlalchemy.dialects.postgresql.psycopg", "psycopg"]
        wanted += [module.name for module in pkgutil.walk_packages(state.__path__, f"{state.__name__}.")]
    preload_for_job("image-reader")
    for name in wanted:
        try:
            import_module(name)
        except ImportError as err:
            raise UsageError(
                "a library that this configuration needs is not installed",
                where=config.file.name,
                expected=f"pip install 'pvboot[{_extra(name)}]'",
                found=str(err),
            ) from err
    if config.has_state:
        from pvboot.serve.state import page

        page.preload()


def _extra(module: str) -> str:
    """Return the extra that installs what a module needs."""
    if "psycopg" in module:
        return "postgresql"
    return "remote" if "fsspec" in module or module.endswith(".stores") else "serve"


def run_worker(config: WorkerConfig, ready_fd: int) -> NoReturn:
    """Run the forked process; it writes to `ready_fd` that it serves, or why it does not."""
    code = 1
    handler = DescriptorHandler(2, config.config.log.format, f"{config.kind}[{os.getpid()}]")
    log_to(handler)
    try:
        die_with_parent(config.parent)
        name_process(f"pvboot-{config.kind}")
        _reset_signals()
        fork_server = start_fork_server()  # before any thread
        with queued(handler):
            code = _Worker(config, fork_server).run(ready_fd)
    except (PvbootError, OSError) as err:
        _report(ready_fd, str(err))
        say("worker-failed", "error", reason=str(err))
    except BaseException as err:
        _report(ready_fd, f"{type(err).__name__}: {err}")
        text = logging.Formatter().formatException(sys.exc_info())
        say("worker-failed", "error", reason=f"{type(err).__name__}: {err}", traceback=text)
    finally:
        os._exit(code)


def _report(ready_fd: int, reason: str) -> None:
    with contextlib.suppress(OSError):  # it may have been ready, and closed it
        os.write(ready_fd, reason.encode("utf-8", "replace")[:2000])


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):  # the supervisor's; a terminal sends them to all
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, RETIRE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


class _Worker:
    def __init__(self, config: WorkerConfig, fork_server: ForkServer) -> None:
        self.config = config
        self.fork_server = fork_server
        carried = {key: value for key, value in config.shared.read(config.slot)[0].items() if _is_counter(key)}
        self.counters = Counters(carried)
        self.assembly = Assembly(config.config, self.fork_server, config.bases)
        self.journal = Recorder(self.counters, self.assembly.further)
        self.ending = threading.Event()
        self.publishing = threading.Lock()
        self.fork_server_lost = False

    def run(self, ready_fd: int) -> int:
        """Serve until asked to end; return the exit code."""
        self._publish()
        threading.Thread(target=self._keep_publishing, name="metrics", daemon=True).start()
        threading.Thread(target=self._watch_fork_server, name="fork-server", daemon=True).start()
        if self.config.is_first:  # one worker looks for all
            threading.Thread(target=self._warn, name="warnings", daemon=True).start()
        try:
            if self.config.kind == TFTP:
                self._run_tftp(ready_fd)
            else:
                asyncio.run(self._run_http(ready_fd))
        finally:
            self.ending.set()
            self.assembly.close()
            self._publish()
            self.fork_server.close()
        return FORK_SERVER_LOST if self.fork_server_lost else 0

    def _publish(self) -> None:
        with self.publishing:
            self.counters.set("readers", len(self.assembly.store.readers))
            self.config.shared.publish(self.config.slot, self.counters.snapshot())

    def _keep_publishing(self) -> None:
        while not self.ending.wait(PUBLISH_SECONDS):
            self._publish()

    def _warn(self) -> None:
        """Log what is wrong with the configuration: files of profiles may lie in images that take their time."""
        try:
            for warning in self.assembly.warnings():
                say("configuration", "warning", reason=warning)
        except PvbootError as err:
            say("configuration", "warning", reason=f"cannot be looked at in whole: {err}")

    def _watch_fork_server(self) -> None:
        """End with the fork server: without it no image can be opened, and a process with threads must not fork."""
        self.fork_server.wait()
        if not self.ending.is_set():
            self.fork_server_lost = True
            say("fork-server-lost", "error")
            os.kill(os.getpid(), signal.SIGTERM)

    # -- TFTP

    def _run_tftp(self, ready_fd: int) -> None:
        from pvboot.serve.tftp.server import TftpServer

        limits = self.config.config.limits
        sockets = [listener.sock for listener in self.config.listeners]
        server = TftpServer(sockets, self.assembly.content, self.journal, limits.tftp)
        signal.signal(signal.SIGTERM, lambda *_: server.stop(limits.server.drain_seconds))
        signal.signal(RETIRE, lambda *_: server.stop(limits.server.retire_seconds))
        os.write(ready_fd, READY)
        server.run()

    # -- HTTP

    async def _run_http(self, ready_fd: int) -> None:
        limits = self.config.config.limits.server
        server = await (self._admin_server() if self.config.kind == ADMIN else self._file_server())
        loop = asyncio.get_running_loop()
        # Seconds in which the server is to end; a later signal may ask for an earlier end.
        ends: asyncio.Queue[float] = asyncio.Queue()
        loop.add_signal_handler(signal.SIGTERM, ends.put_nowait, limits.drain_seconds)
        loop.add_signal_handler(RETIRE, ends.put_nowait, limits.retire_seconds)
        for listener in self.config.listeners:
            with_tls = listener.protocol == "https" or (listener.protocol == ADMIN and not listener.is_local)
            await server.serve([listener.sock], tls=self.config.tls if with_tls else None)
        os.write(ready_fd, READY)
        stopping = asyncio.create_task(server.stop(await ends.get()))
        while not stopping.done():
            sooner = asyncio.create_task(ends.get())
            await asyncio.wait((stopping, sooner), return_when=asyncio.FIRST_COMPLETED)
            if sooner.done():
                stopping.cancel()
                stopping = asyncio.create_task(server.stop(sooner.result()))
            sooner.cancel()
        await stopping

    async def _file_server(self) -> HttpServer:
        from pvboot.serve.http.files import file_server

        return file_server(self.assembly.content, self.journal, self.config.config.limits.http)

    async def _admin_server(self) -> HttpServer:
        from pvboot.serve.health import Health
        from pvboot.serve.http.admin import admin_server, make_application

        config = self.config.config
        application = make_application({config.public_host}, config.limits.http)
        Health(self.config.shared, self._publish, self.assembly.check_state).add_to(application)
        self.assembly.add_routes(application, self.config.shared)
        return await admin_server(application, self.journal, config.limits.http)


def _is_counter(key: str) -> bool:
    return key.partition("\0")[0].endswith("_total")
