"""A worker: the process that runs one protocol's loop, with a fork server of its own for image readers."""

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
from typing import NoReturn

from pvboot.confine.layers import die_with_parent, name_process
from pvboot.confine.preload import preload as preload_for_job
from pvboot.errors import PvbootError, UsageError
from pvboot.serve.api import Handler
from pvboot.serve.assembly import Assembly
from pvboot.serve.config import Config
from pvboot.serve.images import start_fork_server
from pvboot.serve.logs import LogHandler, LogWriter
from pvboot.serve.metrics import PUBLISH_SECONDS, Board, Counters
from pvboot.serve.record import Recorder
from pvboot.serve.sockets import Listener

TFTP, HTTP = "tftp", "http"
KINDS = (TFTP, HTTP)
READY = b"+"
# Asks a worker of an old configuration to finish its transfers and take no more.
RETIRE = signal.SIGUSR1
FORK_SERVER_LOST = 70  # exit code


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker is started with."""

    kind: str
    config: Config
    listeners: Sequence[Listener]
    bases: Mapping[str, str]
    tls: ssl.SSLContext | None
    board: Board
    slot: int
    parent: int


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
        "pvboot.serve.http.server",
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
    """The extra that installs what such a module needs."""
    if "psycopg" in module:
        return "postgresql"
    return "remote" if "fsspec" in module or module.endswith(".stores") else "serve"


def run_worker(post: Post, ready_fd: int) -> NoReturn:
    """The life of the forked process; it says on `ready_fd` that it serves, or why it does not."""
    code = 1
    writer = LogWriter(post.config.log.format, process=f"{post.kind}[{os.getpid()}]")
    try:
        die_with_parent(post.parent)
        name_process(f"pvboot-{post.kind}")
        _reset_signals()
        code = _Worker(post, writer).run(ready_fd)
    except (PvbootError, OSError) as err:
        _tell(ready_fd, str(err))
        writer.say("worker-failed", "error", reason=str(err))
    except BaseException as err:
        _tell(ready_fd, f"{type(err).__name__}: {err}")
        text = logging.Formatter().formatException(sys.exc_info())
        writer.say("worker-failed", "error", reason=f"{type(err).__name__}: {err}", traceback=text)
    finally:
        writer.close()
        os._exit(code)


def _tell(ready_fd: int, reason: str) -> None:
    with contextlib.suppress(OSError):  # it may have been ready, and closed it
        os.write(ready_fd, reason.encode("utf-8", "replace")[:2000])


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):  # the supervisor's; a terminal sends them to all
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, RETIRE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


class _Worker:
    def __init__(self, post: Post, writer: LogWriter) -> None:
        self.post = post
        self.writer = writer
        self.fork_server = start_fork_server()  # before any thread
        writer.start()
        logging.getLogger().handlers[:] = [LogHandler(writer)]
        carried = {key: value for key, value in post.board.read(post.slot)[0].items() if _is_counter(key)}
        self.counters = Counters(carried)
        self.assembly = Assembly(post.config, self.fork_server, post.bases)
        self.journal = Recorder(writer, self.counters, self.assembly.further)
        self.ending = threading.Event()
        self.publishing = threading.Lock()
        self.fork_server_lost = False

    def run(self, ready_fd: int) -> int:
        """Serve until asked to end; the exit code."""
        self._publish()
        threading.Thread(target=self._keep_publishing, name="metrics", daemon=True).start()
        threading.Thread(target=self._watch_fork_server, name="fork-server", daemon=True).start()
        if self.post.kind == HTTP or not {"http", "https"} & self.post.bases.keys():  # one worker says it for all
            threading.Thread(target=self._warn, name="warnings", daemon=True).start()
        try:
            if self.post.kind == TFTP:
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
            self.post.board.publish(self.post.slot, self.counters.snapshot())

    def _keep_publishing(self) -> None:
        while not self.ending.wait(PUBLISH_SECONDS):
            self._publish()

    def _warn(self) -> None:
        """Beside the serving: files of profiles are looked up, perhaps in images that take their time."""
        try:
            for warning in self.assembly.warnings():
                self.writer.say("configuration", "warning", reason=warning)
        except PvbootError as err:
            self.writer.say("configuration", "warning", reason=f"cannot be looked at in whole: {err}")

    def _watch_fork_server(self) -> None:
        """Without it no image can be opened, and a process with threads must not fork a new one: start over."""
        self.fork_server.wait()
        if not self.ending.is_set():
            self.fork_server_lost = True
            self.writer.say("fork-server-lost", "error")
            os.kill(os.getpid(), signal.SIGTERM)

    # -- TFTP

    def _run_tftp(self, ready_fd: int) -> None:
        from pvboot.serve.tftp.server import TftpServer

        limits = self.post.config.limits.server
        sockets = [listener.sock for listener in self.post.listeners]
        server = TftpServer(sockets, self.assembly.content, self.journal, self.post.config.limits.tftp)
        signal.signal(signal.SIGTERM, lambda *_: server.stop(limits.drain_seconds))
        signal.signal(RETIRE, lambda *_: server.stop(limits.retire_seconds))
        _tell_ready(ready_fd)
        server.run()

    # -- HTTP

    async def _run_http(self, ready_fd: int) -> None:
        from pvboot.serve.http.server import HttpServer

        limits = self.post.config.limits.server
        server = HttpServer(self.assembly.content, self.journal, self._handlers(), self.post.config.limits.http)
        plain = [listener.sock for listener in self.post.listeners if listener.protocol == "http"]
        secure = [listener.sock for listener in self.post.listeners if listener.protocol == "https"]
        loop = asyncio.get_running_loop()
        wishes: asyncio.Queue[float] = asyncio.Queue()
        loop.add_signal_handler(signal.SIGTERM, wishes.put_nowait, limits.drain_seconds)
        loop.add_signal_handler(RETIRE, wishes.put_nowait, limits.retire_seconds)
        await server.serve(plain)
        if secure:
            await server.serve(secure, tls=self.post.tls)
        _tell_ready(ready_fd)
        stopping = asyncio.create_task(server.stop(await wishes.get()))
        while not stopping.done():
            # A later wish may be for an earlier end.
            wish = asyncio.create_task(wishes.get())
            await asyncio.wait((stopping, wish), return_when=asyncio.FIRST_COMPLETED)
            if wish.done():
                stopping.cancel()
                stopping = asyncio.create_task(server.stop(wish.result()))
            wish.cancel()
        await stopping

    def _handlers(self) -> list[Handler]:
        from pvboot.serve.health import Health

        return [Health(self.post.board, self._publish, self.assembly.check_state), *self.assembly.handlers]


def _tell_ready(ready_fd: int) -> None:
    os.write(ready_fd, READY)


def _is_counter(key: str) -> bool:
    return key.partition("\0")[0].endswith("_total")
