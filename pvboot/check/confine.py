"""Checking a source in a process of its own, without rights: what a fleet's machine does with guests it does not trust.

An image, a device or a plain menu is opened first, and read by a child that can open nothing (`pvboot.sandbox`).  A
directory and a source on the network cannot be had so: their child has limits of time and memory, and its rights.
"""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Final

from pvboot import sandbox
from pvboot.check import wire
from pvboot.check.engine import check_source, failed
from pvboot.check.model import CheckOptions, SourceError, SourceResult
from pvboot.check.opened import OpenedSource, open_for_check
from pvboot.errors import PvbootError
from pvboot.sources import is_url

NOBODY: Final = 65534
HARD_SECONDS: Final = 5  # behind the limit that can still be told from other ends, the kernel's own end
REPORT_LIMIT_BYTES: Final = 64 << 20
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
RUN_FACTOR: Final = 10
CONFINED_DEPTHS: Final = ("text", "files", "kernel", "plan")  # running a guest takes executable memory


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """What one source may take: CPU seconds, seconds on the clock, bytes of memory."""

    cpu_seconds: int = 60
    wall_seconds: float = 300.0
    memory_bytes: int = 1 << 30

    def wall_for(self, options: CheckOptions) -> float:
        """Seconds on the clock: starting every entry takes its time, and has limits of its own for each."""
        return self.wall_seconds * (RUN_FACTOR if options.depth == "run" else 1)


LIMITS: Final = FleetLimits()


def check_confined(source: str, options: CheckOptions, limits: FleetLimits = LIMITS) -> SourceResult:
    """As `check_source`, in a child.  Never raises for what the source holds or does to its reader."""
    try:
        if is_url(source) or options.depth not in CONFINED_DEPTHS:
            wide = replace(limits, wall_seconds=limits.wall_for(options))
            return _in_child(source, _alone(source, options, limits), (), wide, confined=False)
        if options.depth == "plan":
            import_module("numpy")  # a confined child cannot, and no reader's name begins so
        opened = open_for_check(source, options)
        try:
            if not opened.confinable:
                return _in_child(source, _alone(source, options, limits), (), limits, confined=False)
            job = _reader(source, options, opened)
            return _in_child(source, job, opened.fds, limits, confined=True)
        finally:
            opened.close()
    except sandbox.SandboxError as err:
        return stopped(source, str(err), err.code)
    except (PvbootError, OSError) as err:
        return failed(source, err)


def _reader(source: str, options: CheckOptions, opened: OpenedSource) -> sandbox.Job:
    return lambda channel: channel.send("result", _pack(check_source(source, options, opened)))


def _alone(source: str, options: CheckOptions, limits: FleetLimits) -> sandbox.Job:
    worker = os.getpid()

    def job(channel: sandbox.Channel) -> None:
        import ctypes
        import resource

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a confined child has this, too
        if os.getppid() != worker:  # it died before it could tell
            return
        if options.depth in CONFINED_DEPTHS:  # the machine limits itself, and needs more
            resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
            resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + HARD_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        channel.send("result", _pack(check_source(source, options)))

    return job


def _pack(result: SourceResult) -> bytes:
    return zlib.compress(wire.encode(result).encode("ascii"), 1)


def _in_child(
    source: str, job: Callable[[sandbox.Channel], None], fds: tuple[int, ...], limits: FleetLimits, *, confined: bool
) -> SourceResult:
    report = sandbox.run(
        job,
        keep=fds,
        limits=sandbox.Limits(
            think_seconds=limits.cpu_seconds,
            cpu_seconds=limits.cpu_seconds + (HARD_SECONDS if confined else 0),
            memory_bytes=limits.memory_bytes,
            wall_seconds=limits.wall_seconds,
        ),
        uid=NOBODY,
        confined=confined,
    )
    messages = dict(report.messages)
    if "result" in messages:
        return _unpack(source, messages["result"])
    said = messages.get("error", b"the reader gave no result").decode("utf-8", "backslashreplace")
    raise sandbox.SandboxError(said[: wire.TEXT_LIMIT])


def _unpack(source: str, data: bytes) -> SourceResult:
    """The child's result: its bytes are as trustworthy as the guest's."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, REPORT_LIMIT_BYTES)
        if not unpacker.eof:
            raise sandbox.SandboxError("the reader says too much")
        result = wire.decode(text)
    except (zlib.error, ValueError) as err:
        raise sandbox.SandboxError("the reader gave no result", found=str(err)) from err
    if result.source != source:
        raise sandbox.SandboxError("the reader tells of another source")
    return result


def stopped(source: str, why: str, code: str = "worker-ended") -> SourceResult:
    """The result for a source whose checker was ended from outside."""
    return SourceResult(source, error=SourceError(f"{source}: {why}", code, 3))


def default_signals() -> None:
    """A worker ends with its parent's pipe, not with the keyboard's signal, which its parent gets too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
