"""The confined side: one process reads one image and says where the bytes of its files lie."""

from __future__ import annotations

# The drivers import these only at their first use, which a confined process cannot.
import encodings.utf_16_be
import encodings.utf_16_le  # noqa: F401
import os
import pkgutil
import signal
import zlib  # noqa: F401
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

import fsdrivers
from fsdrivers import errors as fs_errors
from fsdrivers.api import BlockSource, Extent, Filesystem, Stat
from fsdrivers.blocks import FileSource, container_name
from fsdrivers.extents import joined
from fsdrivers.partitions import volumes
from fsdrivers.probe import probe
from pvboot import sandbox
from pvboot.errors import PvbootError
from pvboot.menu.dialects import search_order
from pvboot.safe_text import safe
from pvboot.serve import reader_wire as wire
from pvboot.serve.reader_wire import AnswerLimits, ImageError

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class ReaderJob:
    """What a reader is started for; times in seconds of CPU, `think_seconds` for one answer."""

    name: str
    size: int
    think_seconds: float
    cpu_seconds: int
    memory_bytes: int
    answers: AnswerLimits


def import_drivers() -> None:
    """Everything a reader may need, before it is confined; declarations for readers of the source are left out."""
    for module in pkgutil.walk_packages(fsdrivers.__path__, "fsdrivers."):
        if not module.name.endswith(".structs"):
            import_module(module.name)


def run_reader(job: ReaderJob, image_fd: int, talk_fd: int) -> None:
    """Give up all rights, report the layers, then answer until the other end is closed."""
    channel = sandbox.Channel(talk_fd)
    # The limit is on address space, part of which this process was born with.
    memory_bytes = job.memory_bytes + _address_space_bytes()
    limits = sandbox.Limits(job.think_seconds, job.cpu_seconds, memory_bytes, file_bytes=0)
    try:
        sandbox.confine({image_fd, talk_fd}, limits, NOBODY, False, channel)
    except sandbox.SandboxError as err:
        channel.send("error", str(err))
        return
    channel.send("ready")
    image = ImageTree(FileSource(image_fd, job.name, job.size))
    while (head := _receive(talk_fd, wire.REQUEST.size)) is not None:
        volume, path_bytes = wire.REQUEST.unpack(head)
        path = _receive(talk_fd, path_bytes)
        if path is None:
            return
        signal.setitimer(signal.ITIMER_PROF, job.think_seconds)
        answer = _answer(image, volume, path.decode("utf-8", "surrogateescape"), job.answers)
        signal.setitimer(signal.ITIMER_PROF, 0)
        view = memoryview(answer)
        while view:
            view = view[os.write(talk_fd, view) :]


def _address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")


def _receive(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = os.read(fd, size - len(data))
        if not piece:
            return None
        data += piece
    return data


def _answer(image: ImageTree, volume: int, path: str, limits: AnswerLimits) -> bytes:
    try:
        return image.answer(volume, path, limits)
    except PvbootError as err:
        err.args = (safe(str(err)),)
        return wire.pack_error(err)
    except MemoryError:
        return wire.pack_error(ImageError("the image asks for too much memory"))
    except Exception as err:
        return wire.pack_error(ImageError(f"internal error: {type(err).__name__}: {safe(str(err))}"))


class ImageTree:
    """An image as one tree: the main volume at the top, every volume that can be read as `@NUMBER`."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._mounted: dict[int, Filesystem] = {}
        self._problem: fs_errors.FsError | None = None
        self._main = wire.MAIN_VOLUME
        self._is_read = False

    def _read(self) -> None:
        """Mount all volumes, once."""
        if self._is_read:
            return
        self._is_read = True
        try:
            container = container_name(self._source)
            if container is not None:
                raise fs_errors.Unsupported("only raw images are served", where=self._source.name, found=container)
            found = volumes(self._source)
        except fs_errors.FsError as err:
            self._problem = err
            return
        for volume in found:
            try:
                self._mounted[volume.number] = probe(volume.source)
            except fs_errors.FsError as err:
                self._problem = self._problem or err
        with_menu = (number for number, filesystem in self._mounted.items() if _has_menu(filesystem))
        self._main = next(with_menu, next(iter(self._mounted), wire.MAIN_VOLUME))

    def answer(self, number: int, path: str, limits: AnswerLimits) -> bytes:
        """The answer to a request.  Raises `FsError`, `ImageError`."""
        self._read()
        if not self._mounted:
            raise self._problem or fs_errors.UnknownFilesystem("no file system", where=self._source.name)
        filesystem = self._mounted.get(self._main if number == wire.MAIN_VOLUME else number)
        if filesystem is None:
            raise fs_errors.NotFound(
                "no such volume",
                where=self._source.name,
                expected=", ".join(f"@{known}" for known in self._mounted),
                found=f"@{number}",
            )
        facts = filesystem.lookup(path)
        if facts.kind == "dir":
            entries = _entries(filesystem, path, limits.names)
            if number == wire.MAIN_VOLUME and path == "/" and len(self._mounted) > 1:
                entries = [(b"@%d" % known, True, 0) for known in self._mounted] + entries
            return wire.pack_directory(entries)
        extents = _extents(filesystem, path, limits)
        return wire.pack_file(sum(extent.length for extent in extents), facts.mtime, facts.inode, extents)


def _has_menu(filesystem: Filesystem) -> bool:
    for _dialect, path in search_order():
        try:
            filesystem.lookup(path)
        except fs_errors.FsError:
            continue
        return True
    return False


def _entries(filesystem: Filesystem, path: str, limit: int) -> list[tuple[bytes, bool, int]]:
    """Files and directories, also behind links; devices and links that lead nowhere are left out."""
    found: dict[bytes, tuple[bytes, bool, int]] = {}
    for entry in filesystem.listdir(path):
        facts: Stat | None = entry.stat
        if entry.stat.kind == "symlink":
            try:
                facts = filesystem.lookup(f"{path.rstrip('/')}/{entry.name}")
            except fs_errors.FsError:
                facts = None
        if facts is None or facts.kind not in ("file", "dir"):
            continue
        name = entry.name.encode("utf-8", "surrogateescape")
        if len(name) < 1 << 16 and name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name:
            found.setdefault(name, (name, facts.kind == "dir", facts.size if facts.kind == "file" else 0))
        if len(found) > limit:
            raise fs_errors.Unsupported("the directory has too many names", where=path, expected=f"at most {limit}")
    return list(found.values())


def _extents(filesystem: Filesystem, path: str, limits: AnswerLimits) -> list[Extent]:
    extents: list[Extent] = []
    data_bytes = 0
    for extent in _merged(joined(filesystem.open(path).extents())):
        extents.append(extent)
        data_bytes += 0 if extent.data is None else extent.length
        if len(extents) > limits.runs:
            raise fs_errors.Unsupported("the file is in too many pieces", where=path, expected=f"at most {limits.runs}")
        if data_bytes > limits.data_bytes:
            raise fs_errors.Unsupported(
                "too much of the file is not in the image as it is (compressed?)",
                where=path,
                expected=f"at most {limits.data_bytes} bytes",
            )
    return extents


def _merged(extents: Iterator[Extent]) -> Iterator[Extent]:
    """Neighbouring pieces of data made one."""
    pieces: list[bytes] = []
    for extent in extents:
        if extent.data is not None:
            pieces.append(extent.data)
            if len(pieces) < 256:
                continue
        if pieces:
            data = b"".join(pieces)
            yield Extent(len(data), data=data)
            pieces = []
        if extent.data is None:
            yield extent
    if pieces:
        data = b"".join(pieces)
        yield Extent(len(data), data=data)
