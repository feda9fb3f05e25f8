"""The served content: mounts of directories, of the inside of images and of stores, joined to one tree."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from fsdrivers.api import Extent, Stat
from fsdrivers.directory import DirectoryFilesystem
from fsdrivers.errors import FsError, NotADirectory, NotFound, SourceError
from pvboot.serve.api import Requester, ServedDirectory, ServedFile
from pvboot.serve.content_types import OCTETS, content_type_of
from pvboot.serve.images import Image, ImageStore, open_in_image
from pvboot.serve.reader_codec import FoundDirectory

NAMES_LIMIT = 100_000
RAW_NAME = "@raw"


class Part(Protocol):
    """The content of a mount; `path` counts from the mount and is "/" for the mount itself."""

    def open(self, path: str) -> ServedFile | ServedDirectory:
        """Open what a path stands for.  Raises `PvbootError`."""


class OpenFile:
    """A served file that is a whole descriptor, which it owns."""

    def __init__(self, fd: int, path: str) -> None:
        facts = os.fstat(fd)
        self._fd = fd
        self.size = facts.st_size
        self.mtime: float | None = facts.st_mtime
        self.content_type = content_type_of(path)
        identity = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        self.etag = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]

    def extents(self) -> Sequence[Extent]:
        """Return one run, none for an empty file."""
        return (Extent(self.size, fd=self._fd),) if self.size else ()

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RawImage:
    """The bytes of an image as a served file."""

    content_type = OCTETS

    def __init__(self, image: Image) -> None:
        self.size = image.size
        self.mtime: float | None = image.key[3] / 1e9
        self.etag = hashlib.sha256(repr(("raw", image.key)).encode()).hexdigest()[:32]
        self._image: Image | None = image

    def extents(self) -> Sequence[Extent]:
        """Return one run."""
        assert self._image is not None, "used after close"
        return (Extent(self.size, fd=self._image.fd),)

    def close(self) -> None:
        """Give the image back."""
        self._image = None


# --- directories ------------------------------------------------------------------------------------------


class Directory:
    """A directory of this host.  Links inside it count from its top, so none leads out of it.

    It is opened by its name each time: whoever swaps a whole tree (by a link, by a rename) needs no reload.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def open(self, path: str) -> ServedFile | ServedDirectory:
        """Open a regular file, or list the regular files and directories of a directory."""
        filesystem = DirectoryFilesystem(self._directory)
        try:
            if filesystem.lookup(path).kind == "dir":
                return ServedDirectory(tuple(sorted(_entries(filesystem, path))))
            return OpenFile(take_descriptor(filesystem, path), path)
        finally:
            filesystem.close()


def take_descriptor(filesystem: DirectoryFilesystem, path: str) -> int:
    """Return a descriptor of a regular file, for the caller to close.  Raises `FsError`."""
    file = filesystem.open(path)
    try:
        return os.dup(file.fileno())
    except OSError as err:
        raise SourceError(f"cannot open: {err.strerror}", where=path) from err


def _entries(filesystem: DirectoryFilesystem, path: str) -> Iterator[tuple[str, bool, int]]:
    for entry in islice(filesystem.listdir(path), NAMES_LIMIT):
        facts: Stat | None = entry.stat
        if entry.stat.kind == "symlink":
            try:
                facts = filesystem.lookup(f"{path.rstrip('/')}/{entry.name}")
            except FsError:
                continue
        if facts is not None and facts.kind in ("file", "dir"):
            yield entry.name, facts.kind == "dir", facts.size if facts.kind == "file" else 0


# --- images -----------------------------------------------------------------------------------------------


class OneImage:
    """One image, whose tree is the mount."""

    def __init__(self, name: str, store: ImageStore, *, raw: bool) -> None:
        self._name = name
        self._store = store
        self._raw = raw

    def open(self, path: str) -> ServedFile | ServedDirectory:
        """Open a file or directory of the image."""
        try:
            # O_NONBLOCK: a FIFO that somebody puts there must not hang us.
            fd = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as err:
            raise SourceError(f"cannot open: {err.strerror}", where=self._name) from err
        return in_image(self._store.image(self._name, fd), path, raw=self._raw)


def in_image(image: Image, path: str, *, raw: bool) -> ServedFile | ServedDirectory:
    """Open a path inside an image; with `raw` also the image itself."""
    if raw and path == f"/{RAW_NAME}":
        return RawImage(image)
    found = open_in_image(image, path)
    if not isinstance(found, FoundDirectory):
        return found
    extra = ((RAW_NAME, False, image.size),) if raw and path == "/" else ()
    return ServedDirectory(tuple(sorted((*extra, *found.entries))))


class ImageDirectory:
    """A directory of images: every regular file in it and below appears as a directory."""

    def __init__(self, directory: str, store: ImageStore, *, raw: bool) -> None:
        self._directory = directory
        self._store = store
        self._raw = raw

    def open(self, path: str) -> ServedFile | ServedDirectory:
        """Open a directory of images, or something inside one of them."""
        filesystem = DirectoryFilesystem(self._directory)
        try:
            above = ""
            for part in [part for part in path.split("/") if part]:
                above = f"{above}/{part}"
                kind = filesystem.lookup(above).kind
                if kind == "file":
                    image = self._store.image(self._directory + above, take_descriptor(filesystem, above))
                    return in_image(image, path[len(above) :] or "/", raw=self._raw)
                if kind != "dir":
                    raise NotFound("no such file or directory", where=path)
            return ServedDirectory(tuple(sorted((name, True, 0) for name, _, _ in _entries(filesystem, path))))
        finally:
            filesystem.close()


# --- the tree ---------------------------------------------------------------------------------------------


class TreeContent:
    """All mounts as one tree; a mount hides what other mounts have at and below its path."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        """`parts` are keyed by their absolute paths."""
        self._parts = {path.rstrip("/"): part for path, part in parts.items()}

    def open(self, path: str, _who: Requester) -> ServedFile | ServedDirectory:
        """Open what a path stands for.  Raises `PvbootError`."""
        path = path.rstrip("/")
        above = path
        while above not in self._parts and above:
            above = above.rpartition("/")[0]
        below = self._names_below(path)
        part = self._parts.get(above)
        if part is None:
            if not below:
                raise NotFound("no such file or directory", where=path or "/")
            return ServedDirectory(tuple((name, True, 0) for name in sorted(below)))
        try:
            opened = part.open(path[len(above) :] or "/")
        except (NotFound, NotADirectory):
            if not below:
                raise
            return ServedDirectory(tuple((name, True, 0) for name in sorted(below)))
        if below and isinstance(opened, ServedDirectory):
            own = (entry for entry in opened.entries if entry[0] not in below)
            return ServedDirectory(tuple(sorted((*own, *((name, True, 0) for name in below)))))
        return opened

    def _names_below(self, path: str) -> set[str]:
        """Return the next component of the mounts below a directory."""
        start = f"{path}/"
        return {mount[len(start) :].partition("/")[0] for mount in self._parts if mount.startswith(start)}
