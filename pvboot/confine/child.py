"""The child's side: give up all rights, do the work, and speak to the parent."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader

from fsdrivers.light import Any, NoReturn
from pvboot.confine import layers
from pvboot.confine.jobs import NETWORK, TEXT_LIMIT_BYTES, Grants, Job, JobLimits, pack
from pvboot.errors import PvbootError


class ModuleWanted(BaseException):
    """The child needs a module that it can no longer load.  No `Exception`: handlers of errors must not eat it."""


class Channel:
    """The child's way to speak to its parent."""

    __slots__ = ("fd", "job")

    def __init__(self, job: Job, fd: int) -> None:
        self.job = job
        self.fd = fd

    def send(self, name: str, value: bytes | str = b"") -> None:
        """One message; a text that is longer than its schema allows is cut."""
        if isinstance(value, str):
            message = self.job.messages.get(name)
            limit = TEXT_LIMIT_BYTES if message is None else message.limit_bytes
            value = _encode(value)[:limit]
        packed = memoryview(pack(name, value))
        while packed:
            packed = packed[os.write(self.fd, packed) :]

    def parsing_done(self) -> None:
        """Everything is understood and only copying is left: the clock of `parse_seconds` stops."""
        self.send("parsed")

    def receive(self, size: int) -> bytes | None:
        """Exactly `size` bytes of a request, None when the parent asks no more."""
        data = b""
        while len(data) < size:
            piece = os.read(self.fd, size - len(data))
            if not piece:
                return None
            data += piece
        return data


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair, of a name in UTF-16
        return text.encode("utf-8", "backslashreplace")


Work = Callable[[Channel], None]


def become(job: Job, work: Work, send: int, limits: JobLimits, grants: Grants, parent: int) -> NoReturn:
    """Be the child of `parent` from here on."""
    code = 1
    channel = Channel(job, send)
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        layers.name_process(job.name)
        layers.die_with_parent(parent)
        held = ""
        if grants.confined:
            if not job.rights & NETWORK:
                sys.meta_path.insert(0, Gate(job))
            held = layers.confine(job.rights, grants._replace(keep=(*grants.keep, send)), limits, parent)
        channel.send("ready", held)
        gc.freeze()  # what is there already stays
        gc.enable()
        work(channel)
        code = 0
    except BaseException as err:
        name, said = ("need", str(err)) if isinstance(err, ModuleWanted) else ("error", _reason(job, limits, err))
        channel.send(name, said)
        code = 0
    finally:
        os._exit(code)


def _reason(job: Job, limits: JobLimits, err: BaseException) -> str:
    if isinstance(err, PvbootError):
        return str(err)
    if isinstance(err, OSError):
        return f"{err.filename or 'input or output'}: {err.strerror or err}"
    if isinstance(err, MemoryError):
        return f"{job.doing} takes more than {limits.memory_bytes >> 20} MiB of memory"
    if isinstance(err, KeyboardInterrupt):  # Ctrl-C as a key of a raw terminal
        return "interrupted"
    return f"internal error: {type(err).__name__}: {err}"


class KeptLoader(SourceFileLoader):
    """Loads a module without its files, whose bytecode is read now; raises `OSError` if there is none."""

    def __init__(self, name: str, path: str, cached: str) -> None:
        super().__init__(name, path)
        self._source = os.stat(path)
        self._cached = cached
        fd = os.open(cached, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._bytecode = os.read(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)

    def path_stats(self, _path: str) -> Mapping[str, Any]:
        """Those of the source, which tell whether the bytecode is its own."""
        return {"mtime": self._source.st_mtime, "size": self._source.st_size}

    def get_data(self, path: str) -> bytes:
        """The bytecode; a module without a valid one is asked for."""
        if path != self._cached:
            raise ModuleWanted(self.name)
        return self._bytecode


class Gate:
    """An import finder that stands before all others: no file can be read from here on.

    What is compiled of the modules that the job may have is read before, which costs a tenth of loading them.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._kept: dict[str, KeptLoader] = {}
        for name in job.on_demand:
            package, _, last = name.rpartition(".")
            spec = getattr(sys.modules.get(package), "__spec__", None)
            if spec is None or not spec.origin or not spec.cached or name in sys.modules:
                continue
            places = (place.rpartition("__init__") for place in (spec.origin, spec.cached))
            with suppress(OSError):
                self._kept[name] = KeptLoader(name, *(f"{start}{last}{end}" for start, _, end in places))

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """The module if it is kept; else ask the parent for one that the job may have; others are not there."""
        if name in sys.builtin_module_names:
            return None
        if name in self._kept:
            spec = ModuleSpec(name, self._kept[name], origin=self._kept[name].path)
            spec.has_location = True
            return spec
        for module in self._job.on_demand:
            if module == name or module.startswith(f"{name}."):
                raise ModuleWanted(module)
        raise ModuleNotFoundError(f"a confined process cannot load {name}", name=name)
