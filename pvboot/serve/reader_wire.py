"""How the server and a confined image reader talk: requests, answers, and the checks of what a reader says.

A reader works on hostile bytes and may have been taken over, so its answers are read like any other hostile input:
counts and sizes are bounded before anything is read, every run must lie inside the image, and the parts must add up.
All integers are in the machine's byte order, for both ends are one machine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from fsdrivers import errors as fs_errors
from fsdrivers.api import Extent
from pvboot.errors import PvbootError

MAIN_VOLUME = -1  # the one whose tree stands at the top of the image

# volume number, bytes of the path that follows
REQUEST = struct.Struct("=iH")
# kind, size of the file, its mtime and inode, runs or names that follow, bytes that follow
ANSWER = struct.Struct("=BQqQIQ")
FILE, DIRECTORY, ERROR = 1, 2, 3
RUN = struct.Struct("=QQ")  # length, offset in the image or:
HOLE, DATA = (1 << 64) - 1, (1 << 64) - 2  # zeros; bytes that follow behind all runs
NAME = struct.Struct("=BQH")  # 1 for a directory, size, bytes of the name that follows

FILE_LIMIT_BYTES = 1 << 50
TEXT_LIMIT_BYTES = 2000

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


def read_answer(receive: Callable[[int], bytes], image_fd: int, image_size: int, limits: AnswerLimits) -> Found:
    """One answer; `receive(n)` gives exactly n bytes.  Raises what the reader met, `ImageError` for nonsense."""
    kind, size, mtime, inode, count, tail_bytes = ANSWER.unpack(receive(ANSWER.size))
    if kind == ERROR:
        _require(tail_bytes <= TEXT_LIMIT_BYTES, "an error of too many bytes")
        code, _, text = receive(tail_bytes).decode("utf-8", "replace").partition("\0")
        raise _ERRORS[code](text) if code in _ERRORS else ImageError(text)
    if kind == DIRECTORY:
        _require(count <= limits.names, "too many names")
        _require(tail_bytes <= count * (NAME.size + 0xFFFF), "more bytes than names")
        _require(tail_bytes <= limits.data_bytes, "too many bytes of names")
        return _read_directory(receive(tail_bytes), count)
    _require(kind == FILE, "an answer of no known kind")
    _require(size <= FILE_LIMIT_BYTES, "a file of impossible size")
    _require(count <= limits.runs, "a file in too many pieces")
    _require(count * RUN.size <= tail_bytes <= count * RUN.size + limits.data_bytes, "runs and bytes that do not fit")
    extents = _read_runs(receive(count * RUN.size), receive(tail_bytes - count * RUN.size), image_fd, image_size)
    _require(sum(extent.length for extent in extents) == size, "runs that do not add up to the file")
    return FoundFile(size, mtime, inode, extents, 200 + 120 * count + tail_bytes)


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


def _read_directory(packed: bytes, count: int) -> FoundDirectory:
    entries = []
    at = 0
    for _ in range(count):
        _require(at + NAME.size <= len(packed), "names that end too early")
        is_directory, size, name_bytes = NAME.unpack_from(packed, at)
        at += NAME.size
        name = packed[at : at + name_bytes]
        at += name_bytes
        _require(len(name) == name_bytes, "names that end too early")
        _require(name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name, "an impossible name")
        entries.append((name.decode("utf-8", "surrogateescape"), bool(is_directory), size))
    _require(at == len(packed), "more bytes than names")
    return FoundDirectory(tuple(sorted(entries)), 200 + 150 * count + len(packed))


# --- the reader's side ------------------------------------------------------------------------------------


def pack_error(err: PvbootError) -> bytes:
    """An error as an answer."""
    text = f"{err.code}\0{err}".encode("utf-8", "replace")[:TEXT_LIMIT_BYTES]
    return ANSWER.pack(ERROR, 0, 0, 0, 0, len(text)) + text


def pack_file(size: int, mtime: int, inode: int, extents: list[Extent]) -> bytes:
    """A file as an answer."""
    runs = bytearray()
    for extent in extents:
        offset = DATA if extent.data is not None else extent.offset if extent.fd is not None else HOLE
        runs += RUN.pack(extent.length, offset)
    data = b"".join(extent.data for extent in extents if extent.data is not None)
    return ANSWER.pack(FILE, size, mtime, inode & ((1 << 64) - 1), len(extents), len(runs) + len(data)) + runs + data


def pack_directory(entries: list[tuple[bytes, bool, int]]) -> bytes:
    """A directory as an answer."""
    tail = b"".join(NAME.pack(is_directory, size, len(name)) + name for name, is_directory, size in entries)
    return ANSWER.pack(DIRECTORY, 0, 0, 0, len(entries), len(tail)) + tail
