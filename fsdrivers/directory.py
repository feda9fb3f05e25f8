"""A host directory as a file system: it stands for a guest's disk and its first partition.

Nothing outside the directory can be reached: every component is opened by the descriptor of its parent without
following links, and links are resolved here as if the directory were the root.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from fsdrivers import paths
from fsdrivers.api import DirEntry, Extent, Stat
from fsdrivers.blocks import FileSource
from fsdrivers.errors import IsADirectory, NotADirectory, NotFound, SourceError
from fsdrivers.modes import kind_of

_STEP_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _Node:
    """A directory entry that was found: how to open it again from its parent, and its facts."""

    __slots__ = ("name", "parent", "stat")

    def __init__(self, parent: _Node | None, name: bytes, facts: os.stat_result) -> None:
        self.parent = parent
        self.name = name
        self.stat = facts


class HostFile:
    """An open regular file of the host."""

    __slots__ = ("_source", "path", "size")

    def __init__(self, path: str, source: FileSource) -> None:
        self._source = source
        self.path = path
        self.size = source.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""
        length = min(size, self.size - offset)
        return self._source.read_at(offset, length) if offset >= 0 and length > 0 else b""

    def extents(self) -> Iterator[Extent]:
        """The whole file as one run."""
        return self._source.extents(0, self.size)

    def fileno(self) -> int:
        """Its descriptor, open as long as this object lives."""
        return self._source.fileno()

    def __del__(self) -> None:
        self._source.close()


class DirectoryFilesystem:
    """Read-only view of a host directory; its descriptor is given back by `close`, or with the object."""

    _root_fd = -1

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `SourceError` if the directory cannot be opened."""
        self._name = os.fspath(path)
        try:
            self._root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as err:
            raise SourceError(f"cannot open directory: {err}", where=self._name) from err

    kind = "dir"
    label: str | None = None
    uuid: str | None = None

    def close(self) -> None:
        """Close the directory; open files stay open."""
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    def __del__(self) -> None:
        self.close()

    def lookup(self, path: str, *, follow: bool = True) -> Stat:
        """Facts about a path below the directory."""
        return self._stat(paths.resolve(self, path, follow=follow, where=self._name))

    def listdir(self, path: str) -> Iterator[DirEntry]:
        """The entries of a directory, as the host orders them."""
        directory = self._resolve_directory(path)
        for name in self._raw_names(directory):
            node = self.child(directory, name)
            if node is not None:
                yield DirEntry(paths.decode(name), self._stat(node))

    def names(self, path: str) -> Iterator[str]:
        """The names in a directory, as the host orders them."""
        for name in self._raw_names(self._resolve_directory(path)):
            yield paths.decode(name)

    def open(self, path: str) -> HostFile:
        """Open a regular file; devices, FIFOs and sockets are refused like directories."""
        node = paths.resolve(self, path, follow=True, where=self._name)
        where = f"{self._name}: {path}"
        self._refuse_irregular(node.stat.st_mode, where)
        fd = self._open_node(node, _STEP_FLAGS)
        facts = os.fstat(fd)
        try:
            # Between finding and opening, the name may have been given to something else.
            self._refuse_irregular(facts.st_mode, where)
        except IsADirectory:
            os.close(fd)
            raise
        return HostFile(path, FileSource(fd, where, facts.st_size))

    @staticmethod
    def _refuse_irregular(mode: int, where: str) -> None:
        if not stat.S_ISREG(mode):
            raise IsADirectory(
                "not a regular file", where=where, found="a directory" if stat.S_ISDIR(mode) else "a special file"
            )

    def _resolve_directory(self, path: str) -> _Node:
        node = paths.resolve(self, path, follow=True, where=self._name)
        if not self.is_directory(node):
            raise NotADirectory("not a directory", where=f"{self._name}: {path}")
        return node

    def _raw_names(self, directory: _Node) -> list[bytes]:
        fd = self._open_node(directory, _STEP_FLAGS | os.O_DIRECTORY)
        try:
            return [os.fsencode(name) for name in os.listdir(fd)]
        except OSError as err:
            raise SourceError(f"cannot list: {err.strerror}", where=self._where(directory)) from err
        finally:
            os.close(fd)

    # -- for `paths.resolve`

    def root(self) -> _Node:
        """The directory itself."""
        return _Node(None, b".", os.fstat(self._root_fd))

    def child(self, node: _Node, name: bytes) -> _Node | None:
        """One name in a directory, not followed."""
        if b"\0" in name:
            return None
        fd = self._open_node(node, _STEP_FLAGS | os.O_DIRECTORY)
        try:
            return _Node(node, name, os.stat(name, dir_fd=fd, follow_symlinks=False))
        except FileNotFoundError:
            return None
        except OSError as err:
            if err.errno == errno.ENAMETOOLONG:
                return None
            raise SourceError(
                f"cannot look up {paths.decode(name)!r}: {err.strerror}", where=self._where(node)
            ) from err
        finally:
            os.close(fd)

    def is_directory(self, node: _Node) -> bool:
        """Whether the node is a directory."""
        return stat.S_ISDIR(node.stat.st_mode)

    def link_target(self, node: _Node) -> bytes | None:
        """Target of a link, None for other nodes."""
        if not stat.S_ISLNK(node.stat.st_mode) or node.parent is None:
            return None
        fd = self._open_node(node.parent, _STEP_FLAGS | os.O_DIRECTORY)
        try:
            return os.readlink(node.name, dir_fd=fd)
        except OSError as err:
            raise SourceError(f"cannot read link: {err.strerror}", where=self._where(node)) from err
        finally:
            os.close(fd)

    # -- descriptors

    def _open_node(self, node: _Node, flags: int) -> int:
        """Open a node by stepping from the root; the caller closes the descriptor."""
        chain: list[bytes] = []
        step: _Node | None = node
        while step is not None and step.parent is not None:
            chain.append(step.name)
            step = step.parent
        fd = os.dup(self._root_fd)
        try:
            while chain:
                name = chain.pop()
                step_fd = os.open(name, flags if not chain else _STEP_FLAGS | os.O_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = step_fd
        except FileNotFoundError as err:
            os.close(fd)
            raise NotFound("no such file or directory", where=self._where(node)) from err
        except OSError as err:
            os.close(fd)
            raise SourceError(f"cannot open: {err.strerror}", where=self._where(node)) from err
        return fd

    def _where(self, node: _Node) -> str:
        return f"{self._name}: {paths.decode(node.name)}"

    def _stat(self, node: _Node) -> Stat:
        mode = node.stat.st_mode
        target = self.link_target(node)
        return Stat(
            kind_of(mode),
            node.stat.st_size,
            node.stat.st_ino,
            mode,
            int(node.stat.st_mtime),
            None if target is None else paths.decode(target),
        )
