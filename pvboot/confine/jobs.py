"""What a confined child is for, what it may use, and what it may say.

A message is a name and a value, each with its length in front.  What a child sends is as trustworthy as the bytes that
it reads: only the names of its job's schema, at most as long and as often as that says, nothing after a final one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from fsdrivers.light import Final, NamedTuple
from pvboot.errors import PvbootError
from pvboot.safe_text import safe, safe_lines

# Rights beyond the descriptors that are kept.
TERMINAL: Final = 1  # the standard streams, and what a screen asks of its terminal
CODE: Final = 2  # executable memory and threads
FILES: Final = 4  # to read files and directories below given paths
NETWORK: Final = 8  # internet sockets and threads, files as with FILES, and modules are loaded by the child itself

HEADER: Final = struct.Struct("=BI")  # bytes of the name and of the value that follow
TEXT_LIMIT_BYTES: Final = 8 << 10
TOTAL_LIMIT_BYTES: Final = 4 << 20
NOBODY: Final = 65534


class SandboxError(PvbootError):
    """The child could not be confined, said something impossible, or did not end well."""

    code = "sandbox"
    exit_code = 1


class ChildKilled(SandboxError):  # noqa: N818 (the name says what is wrong)
    """The child was ended by a signal that nobody here sent."""


class JobLimits(NamedTuple):
    """What one child may use.

    `parse_seconds` is the CPU time until it has understood what it reads (`Channel.parsing_done`) or, of one that
    answers requests, for one answer; `cpu_seconds` that of its whole life.  `memory_bytes` counts beyond what it is
    born with.  `wall_seconds` None waits for ever: somebody sits at the menu.
    """

    parse_seconds: float = 1.5
    cpu_seconds: float = 60
    memory_bytes: int = 256 << 20
    file_bytes: int = 1 << 30
    wall_seconds: float | None = 120.0


class Grants(NamedTuple):
    """What one child is given: descriptors `keep`; with FILES and NETWORK the files below `readable`, with NETWORK a
    directory for unnamed files.  `uid` is what root becomes.  Without `confined` it keeps all that its parent has."""

    keep: tuple[int, ...] = ()
    readable: tuple[str, ...] = ()
    scratch: str | None = None
    uid: int | None = NOBODY
    confined: bool = True


DEFAULT_LIMITS: Final = JobLimits()
NOTHING: Final = Grants()


def text(data: bytes) -> str:
    """The value as text that is safe to print."""
    return safe(data.decode("utf-8", "surrogateescape"))


def text_lines(data: bytes) -> str:
    """As `text`, of several lines."""
    return safe_lines(data.decode("utf-8", "surrogateescape"))


class Message(NamedTuple):
    """The schema of a message: its longest value, what reads it (`ValueError` for an impossible one), whether it may
    come more than once, and whether it is the last one."""

    limit_bytes: int = 0
    read: Callable[[bytes], object] = bytes
    many: bool = False
    final: bool = False


NOTE: Final = Message(TEXT_LIMIT_BYTES, text, many=True)
ERROR: Final = Message(TEXT_LIMIT_BYTES, text, final=True)


class Job(NamedTuple):
    """`name` is what `ps` shows; `who` does it and `doing` what, in errors.  `on_demand` are the modules that the child
    may ask its parent for, each once: it then starts over."""

    name: str
    who: str
    doing: str
    messages: Mapping[str, Message]
    rights: int = 0
    on_demand: tuple[str, ...] = ()
    limit_bytes: int = TOTAL_LIMIT_BYTES


def pack(name: str, value: bytes) -> bytes:
    """A message as it is sent."""
    return HEADER.pack(len(name), len(value)) + name.encode() + value


class Inbox:
    """The messages of one child, checked as they come; raises `SandboxError` for whatever its job may not say.

    The first one is `ready`, with the layers that hold it and those that are missing.
    """

    __slots__ = ("_data", "_ended", "_job", "_said", "_started", "_total", "layers", "missing")

    def __init__(self, job: Job) -> None:
        self._job = job
        self._data = bytearray()
        self._said: set[str] = set()
        self._total = 0
        self._started = self._ended = False
        self.layers: list[str] = []
        self.missing: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether something was said, and nothing is left that is not a whole message."""
        return self._started and not self._data

    def forget(self) -> None:
        """A new request: its answer may be what was said before."""
        self._said.clear()
        self._total = 0

    def feed(self, data: bytes) -> Iterator[tuple[str, object]]:
        """The messages that are whole with these bytes."""
        self._data += data
        while len(self._data) >= HEADER.size:
            name_bytes, value_bytes = HEADER.unpack_from(self._data)
            start = HEADER.size + name_bytes
            if len(self._data) < start:
                return
            name = self._data[HEADER.size : start].decode("ascii", "replace")
            message = self._schema(name, value_bytes)
            if len(self._data) < start + value_bytes:
                return
            value = bytes(self._data[start : start + value_bytes])
            del self._data[: start + value_bytes]
            self._ended = message.final
            self._total += value_bytes
            self._said.add(name)
            try:
                read = message.read(value)
            except (ValueError, struct.error) as err:
                raise self.refuse(f"a bad {name!r}: {err}") from err
            self._started = True
            yield name, read

    def _schema(self, name: str, value_bytes: int) -> Message:
        known = {"error": ERROR, "parsed": Message(), **self._job.messages}
        if self._job.on_demand:
            known["need"] = Message(TEXT_LIMIT_BYTES, self._module, final=True)
        if not self._started:
            known = {"error": ERROR, "ready": Message(TEXT_LIMIT_BYTES, self._take_layers)}
        message = known.get(name)
        if message is None or self._ended:
            raise self.refuse(f"{safe(name[:40])!r}" + (" after its last one" if self._ended else ""))
        if value_bytes > message.limit_bytes:
            raise self.refuse(f"{name!r} of {value_bytes} bytes")
        if name in self._said and not message.many:
            raise self.refuse(f"{name!r} twice")
        if self._total + value_bytes > self._job.limit_bytes:
            raise SandboxError(f"{self._job.who} says too much")
        return message

    def refuse(self, found: str) -> SandboxError:
        """The error for a message that must not be."""
        return SandboxError(f"{self._job.who} sent an impossible message", found=found)

    def _take_layers(self, value: bytes) -> None:
        for line in filter(None, text_lines(value).split("\n")):
            (self.missing if ": " in line else self.layers).append(line)

    def _module(self, value: bytes) -> str:
        name = value.decode("ascii")
        if name not in self._job.on_demand:
            raise ValueError("a module that is not for it")
        return name
