"""`--state FILE`: what of a fleet is checked already, so that an interrupted run goes on where it was.

A file of JSON lines, one appended in a single write when a source is done: whatever kills the program loses the sources
it was working on and no other.  A line counts for a source that is the same file, unchanged, checked with the same
options by the same rules.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import BinaryIO, Final

from pvboot import __version__
from pvboot.check import codec
from pvboot.check.fleet import Task
from pvboot.check.model import CheckOptions, SourceResult
from pvboot.errors import UsageError
from pvboot.sources import is_on_server, is_url

HEADER: Final = {"pvboot-check-state": 1}
LINE_LIMIT_BYTES: Final = 64 << 20
# Results that say something about the source, and would say it again; the others deserve another try.
_LASTING_EXIT_CODES: Final = (3,)
_PASSING_CODES: Final = ("worker-ended", "sandbox", "internal-error", "source-error")


class StateFile:
    """The journal, locked for one program; results of earlier runs are in memory by their key."""

    def __init__(self, path: str) -> None:
        """Raises `UsageError` for a file that is something else or in use."""
        self.path = path
        self._done: dict[str, SourceResult] = {}
        try:
            self._file: BinaryIO = open(path, "ab+")  # noqa: SIM115 (for the object's life)
        except OSError as err:
            raise UsageError(f"the state cannot be kept: {err.strerror}", where=path) from err
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> StateFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise UsageError("the state cannot be kept", where=self.path, expected="a regular file")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise UsageError("the state is in use by another run", where=self.path) from err

    def _read(self) -> None:
        self._file.seek(0)
        head = self._file.readline(1000)
        if not head.endswith(b"\n"):  # new, or its maker was killed over the first line
            if head and not json.dumps(HEADER).startswith(head.decode("ascii", "replace")):
                raise UsageError("not a state of pvboot check", where=self.path)
            self._file.truncate(0)
            self._append(json.dumps(HEADER))
            return
        if _parsed(head) != HEADER:
            raise UsageError("not a state of pvboot check", where=self.path)
        end = self._file.tell()
        while line := self._file.readline(LINE_LIMIT_BYTES):
            if not line.endswith(b"\n"):
                break  # its writer was killed over it
            end = self._file.tell()
            self._take(line)
        self._file.truncate(end)

    def _take(self, line: bytes) -> None:
        key, _, text = line.partition(b" ")
        try:
            self._done[key.decode("ascii")] = codec.decode(text)
        except ValueError:
            return  # damaged: the source is checked again

    def get(self, key: str | None) -> SourceResult | None:
        """The result of an earlier run."""
        return None if key is None else self._done.get(key)

    def put(self, key: str | None, result: SourceResult) -> None:
        """Keep a result, on disk before this returns; not one that another try may change."""
        error = result.error
        lasting = error is None or (error.exit_code in _LASTING_EXIT_CODES and error.code not in _PASSING_CODES)
        if key is not None and lasting:
            self._append(f"{key} {codec.encode(result)}")

    def _append(self, line: str) -> None:
        data = memoryview(line.encode("ascii") + b"\n")
        while data:  # a single write, unless the disk is full
            data = data[os.write(self._file.fileno(), data) :]
        os.fdatasync(self._file.fileno())


def resumed(
    tasks: list[Task], path: str | None, work: Callable[[list[Task]], Iterator[tuple[int, SourceResult]]]
) -> Iterator[tuple[int, SourceResult]]:
    """What the journal knows of the tasks, then what `work` finds for the others, which is kept there.

    Without a `path` there is no journal.  Raises `UsageError`.
    """
    if path is None:
        yield from work(tasks)
        return
    with StateFile(path) as state:
        keys = {number: key_of(source, options) for number, source, options in tasks}
        known = {number: state.get(key) for number, key in keys.items()}
        yield from ((number, result) for number, result in known.items() if result is not None)
        for number, result in work([task for task in tasks if known[task[0]] is None]):
            state.put(keys[number], result)
            yield number, result


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def key_of(source: str, options: CheckOptions) -> str | None:
    """What a result depends on, as one word; None if a look at the source cannot tell whether it has changed.

    That is so for a directory and for a block device, whose time stamps say nothing about their content.
    """
    identities: list[object] = []
    for name in (source, *options.disks):
        identity = _identity(name)
        if identity is None:
            return None
        identities.append((name, identity))
    text = json.dumps([identities, asdict(options), rules_version()], default=repr)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _identity(source: str) -> Sequence[int | str] | None:
    if is_url(source):
        from fsdrivers.remote import version_of

        version = None if is_on_server(source) else version_of(source)
        return None if version is None else (version,)
    try:
        status = os.stat(source)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@cache
def rules_version() -> str:
    """Changes with every change of the checker."""
    digest = hashlib.sha256(__version__.encode())
    for folder in ("pvboot.check", "pvboot.menu", "pvboot.shell", "pvboot.kernel", "fsdrivers", "grammars"):
        for path in _sources(files(folder)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(folder: Traversable) -> list[Traversable]:
    found: list[Traversable] = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            found += _sources(item)
        elif item.name.endswith(".py"):
            found.append(item)
    return found
