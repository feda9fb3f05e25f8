"""A host directory as a file system: it stands for a guest's disk and its first partition.

Nothing outside the directory can be reached: every component is opened by the descriptor of its parent without
following links, and links are resolved here as if the directory were the root.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from fsdrivers.blocks import FileSource, SourceFile
from fsdrivers.errors import IsADirectory, NotFound, SourceError
from fsdrivers.tree import TreeFilesystem, decode

_STEP_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _Node:
    """A directory entry that was found: how to open it again from its parent, and its facts."""

    __slots__ = ("mode", "mtime", "name", "number", "parent", "size")

    def __init__(self, parent: _Node | None, name: bytes, facts: os.stat_result) -> None:
        self.parent = parent
        self.name = name
        self.number = facts.st_ino
        self.mode = facts.st_mode
        self.size = facts.st_size
        self.mtime = int(facts.st_mtime)


class HostFile(SourceFile):
    """An open regular file of the host, its descriptor open as long as this object lives."""

    __slots__ = ()
    _source: FileSource

    def __init__(self, path: str, source: FileSource) -> None:
        super().__init__(source, path)

    def fileno(self) -> int:
        """Its descriptor."""
        return self._source.fileno()

    def __del__(self) -> None:
        self._source.close()


class DirectoryFilesystem(TreeFilesystem[_Node]):
    """Read-only view of a host directory; its descriptor is given back by `close`, or with the object."""

    kind = "dir"
    label: str | None = None
    uuid: str | None = None
    _root_fd = -1

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `SourceError` if the directory cannot be opened."""
        self.name = os.fspath(path)
        try:
            self._root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as err:
            raise SourceError(f"cannot open directory: {err}", where=self.name) from err

    def close(self) -> None:
        """Close the directory; open files stay open."""
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    def __del__(self) -> None:
        self.close()

    def open(self, path: str) -> HostFile:
        """Open a regular file, links followed; `IsADirectory` for everything else."""
        node = self.resolve(path)
        self.check_regular(node.mode, path)
        return self.open_node(node, path)

    def open_node(self, node: _Node, path: str) -> HostFile:
        """Open a regular file; devices, FIFOs and sockets are refused like directories."""
        fd = self._open_node(node)
        facts = os.fstat(fd)
        try:
            # Between finding and opening, the name may have been given to something else.
            self.check_regular(facts.st_mode, path)
        except IsADirectory:
            os.close(fd)
            raise
        return HostFile(path, FileSource(fd, f"{self.name}: {path}", facts.st_size))

    # -- nodes

    def root(self) -> _Node:
        """The directory itself."""
        return _Node(None, b".", os.fstat(self._root_fd))

    def child(self, directory: _Node, name: bytes) -> _Node | None:
        """One name in a directory, not followed."""
        if b"\0" in name:
            return None
        with self._opened(directory, f"look up {decode(name)!r}") as fd:
            try:
                return _Node(directory, name, os.stat(name, dir_fd=fd, follow_symlinks=False))
            except OSError as err:
                if err.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                    return None
                raise

    def entries(self, directory: _Node) -> Iterator[tuple[bytes, _Node]]:
        """Names as the host orders them; what goes away meanwhile is left out."""
        for name in self.entry_names(directory):
            node = self.child(directory, name)
            if node is not None:
                yield name, node

    def entry_names(self, directory: _Node) -> Iterator[bytes]:
        """Names as the host orders them."""
        with self._opened(directory, "list") as fd:
            return map(os.fsencode, os.listdir(fd))

    def link_target(self, link: _Node) -> bytes:
        """The target of a link."""
        assert link.parent is not None  # the root is a directory
        with self._opened(link.parent, f"read link {decode(link.name)!r}") as fd:
            return os.readlink(link.name, dir_fd=fd)

    # -- descriptors

    @contextmanager
    def _opened(self, directory: _Node, action: str) -> Iterator[int]:
        """A directory's descriptor; an OSError becomes a `SourceError` that says which action it stopped."""
        fd = self._open_node(directory, os.O_DIRECTORY)
        try:
            yield fd
        except OSError as err:
            raise SourceError(f"cannot {action}: {err.strerror}", where=self._where(directory)) from err
        finally:
            os.close(fd)

    def _open_node(self, node: _Node, flags: int = 0) -> int:
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
                step_fd = os.open(name, _STEP_FLAGS | (os.O_DIRECTORY if chain else flags), dir_fd=fd)
                os.close(fd)
                fd = step_fd
        except OSError as err:
            os.close(fd)
            if isinstance(err, FileNotFoundError):
                raise NotFound("no such file or directory", where=self._where(node)) from err
            raise SourceError(f"cannot open: {err.strerror}", where=self._where(node)) from err
        return fd

    def _where(self, node: _Node) -> str:
        return f"{self.name}: {decode(node.name)}"
