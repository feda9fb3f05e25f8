"""Requests to a confined image reader, its answers, and the checks of what it says.

A reader works on hostile bytes and may have been taken over, so its answers are read like any other hostile input:
every run must lie inside the image, and the parts must add up.  All integers are in the machine's byte order, for both
ends are one machine.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fsdrivers import errors as fs_errors
from fsdrivers.api import Extent
from pvboot.confine.jobs import TEXT_LIMIT_BYTES, Job, Message, text
from pvboot.errors import PvbootError

MAIN_VOLUME = -1  # the one whose tree stands at the top of the image

# volume number, bytes of the path that follows
REQUEST = struct.Struct("=iH")
# size of the file, its mtime and inode, runs that follow
FILE = struct.Struct("=QqQI")
RUN = struct.Struct("=QQ")  # length, offset in the image or:
HOLE, DATA = (1 << 64) - 1, (1 << 64) - 2  # zeros; bytes that follow behind all runs
NAME = struct.Struct("=BQH")  # 1 for a directory, size, bytes of the name that follows

FILE_LIMIT_BYTES = 1 << 50

# By these names errors travel.
_ERRORS: dict[str, type[fs_errors.FsError]] = {
    kind.code: kind
    for kind in (
        fs_errors.NotFound,
        fs_errors.NotADirectory,
        fs_errors.IsADirectory,
        fs_errors.LinkLoop,
        fs_errors.Corrupt,
        fs_errors.Unsupported,
        fs_errors.UnknownFilesystem,
        fs_errors.SourceError,
    )
}


class ImageError(PvbootError):
    """An image's reader could not be started, failed, or said something impossible."""

    code = "image-reader"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class FoundFile:
    """A file of an image; `weight_bytes` is what it takes to remember it."""

    size: int
    mtime: int
    inode: int
    extents: tuple[Extent, ...]
    weight_bytes: int


@dataclass(frozen=True, slots=True, weakref_slot=True)
class FoundDirectory:
    """A directory of an image, sorted by name."""

    entries: tuple[tuple[str, bool, int], ...]
    weight_bytes: int


Found = FoundFile | FoundDirectory


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """The most that is taken from a reader: runs of a file, its bytes that lie nowhere in the image as they are, names
    of a directory."""

    runs: int = 1 << 17
    data_bytes: int = 64 << 20
    names: int = 100_000


def reader_job(limits: AnswerLimits) -> Job:
    """What an image's reader is for, and the longest answers that are taken from it."""
    file_bytes = FILE.size + limits.runs * RUN.size + limits.data_bytes
    messages = {
        "file": Message(file_bytes),
        "directory": Message(limits.data_bytes),
        "failure": Message(TEXT_LIMIT_BYTES),
    }
    who, doing = "the image's reader", "reading the image"
    return Job("pvboot-reader", who, doing, messages, limit_bytes=max(file_bytes, limits.data_bytes))


def read_answer(name: str, data: bytes, image_fd: int, image_size: int, limits: AnswerLimits) -> Found:
    """One answer.  Raises what the reader met, `ImageError` for nonsense."""
    if name == "failure":
        code, _, said = text(data).partition(" ")
        raise _ERRORS[code](said) if code in _ERRORS else ImageError(said)
    if name == "directory":
        return _read_directory(data, limits.names)
    _require(name == "file", "no answer")
    _require(len(data) >= FILE.size, "a file without its facts")
    size, mtime, inode, count = FILE.unpack_from(data)
    runs_end = FILE.size + count * RUN.size
    _require(size <= FILE_LIMIT_BYTES, "a file of impossible size")
    _require(count <= limits.runs, "a file in too many pieces")
    _require(runs_end <= len(data) <= runs_end + limits.data_bytes, "runs and bytes that do not fit")
    extents = _read_runs(data[FILE.size : runs_end], data[runs_end:], image_fd, image_size)
    _require(sum(extent.length for extent in extents) == size, "runs that do not add up to the file")
    return FoundFile(size, mtime, inode, extents, 200 + 120 * count + len(data))


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ImageError(f"the image's reader sent {otherwise}")


def _read_runs(packed: bytes, data: bytes, image_fd: int, image_size: int) -> tuple[Extent, ...]:
    extents = []
    used = 0
    for length, offset in RUN.iter_unpack(packed):
        _require(0 < length <= FILE_LIMIT_BYTES, "a run of impossible length")
        if offset == HOLE:
            extents.append(Extent(length))
        elif offset == DATA:
            _require(length <= len(data) - used, "less data than it says")
            extents.append(Extent(length, data=data[used : used + length]))
            used += length
        else:
            _require(offset <= image_size and length <= image_size - offset, "a run outside the image")
            extents.append(Extent(length, fd=image_fd, offset=offset))
    _require(used == len(data), "more data than it says")
    return tuple(extents)


def _read_directory(packed: bytes, limit: int) -> FoundDirectory:
    entries: list[tuple[str, bool, int]] = []
    at = 0
    while at < len(packed):
        _require(len(entries) < limit, "too many names")
        _require(at + NAME.size <= len(packed), "names that end too early")
        is_directory, size, name_bytes = NAME.unpack_from(packed, at)
        at += NAME.size
        name = packed[at : at + name_bytes]
        at += name_bytes
        _require(len(name) == name_bytes, "names that end too early")
        _require(name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name, "an impossible name")
        entries.append((name.decode("utf-8", "surrogateescape"), bool(is_directory), size))
    return FoundDirectory(tuple(sorted(entries)), 200 + 150 * len(entries) + len(packed))


# --- the reader's side ------------------------------------------------------------------------------------


def pack_file(size: int, mtime: int, inode: int, extents: list[Extent]) -> bytes:
    """A file as an answer."""
    runs = bytearray()
    for extent in extents:
        offset = DATA if extent.data is not None else extent.offset if extent.fd is not None else HOLE
        runs += RUN.pack(extent.length, offset)
    data = b"".join(extent.data for extent in extents if extent.data is not None)
    return FILE.pack(size, mtime, inode & ((1 << 64) - 1), len(extents)) + runs + data


def pack_directory(entries: list[tuple[bytes, bool, int]]) -> bytes:
    """A directory as an answer."""
    return b"".join(NAME.pack(is_directory, size, len(name)) + name for name, is_directory, size in entries)
