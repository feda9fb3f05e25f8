"""Paths, names and facts, the same for every driver whose nodes (inodes, directory records) it can ask for.

The rules of paths are those of GRUB and POSIX where they agree: repeated slashes collapse, "." and ".." are taken on
the stack of resolved directories (never from the disk; at the root ".." stays), links are followed at most `MAX_LINKS`
times, an absolute link starts at the root of this volume.  A path without a leading slash counts from the root.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from fsdrivers.api import DirEntry, File, Stat
from fsdrivers.errors import Corrupt, IsADirectory, LinkLoop, NotADirectory, NotFound
from fsdrivers.light import Generic, Protocol, TypeVar
from fsdrivers.modes import MODE_DIRECTORY, MODE_FORMAT, MODE_REGULAR, MODE_SYMLINK, kind_of

MAX_LINKS = 40
# Linux' PATH_MAX; no writer makes longer targets.
MAX_TARGET_BYTES = 4096
# Forty targets of 4 KiB are 80 000 components, each a directory search: a boot path has a handful.
MAX_COMPONENTS = 4096


class Node(Protocol):
    """Facts about one object; `number` tells it from the others of its file system, `mode` has Unix's type bits."""

    @property
    def number(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime(self) -> int: ...


NodeT = TypeVar("NodeT", bound=Node)


def encode(path: str) -> bytes:
    """The bytes on disk of a path or name; `NotFound` for text no disk can hold."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as err:
        raise NotFound("no such file or directory", where=repr(path)) from err


def decode(name: bytes) -> str:
    """A name on disk as `str`, bytes that are not UTF-8 as surrogate escapes."""
    return name.decode("utf-8", "surrogateescape")


def is_directory(node: Node) -> bool:
    """Whether names can be looked up in the node."""
    return node.mode & MODE_FORMAT == MODE_DIRECTORY


def is_symlink(node: Node) -> bool:
    """Whether the node is a symbolic link."""
    return node.mode & MODE_FORMAT == MODE_SYMLINK


class TreeFilesystem(ABC, Generic[NodeT]):
    """The `Filesystem` protocol in terms of a driver's nodes; `name` is that of its source, for messages."""

    name: str

    @abstractmethod
    def root(self) -> NodeT:
        """The root directory."""

    @abstractmethod
    def child(self, directory: NodeT, name: bytes) -> NodeT | None:
        """The node behind a name, None if there is none; `name` is never "", "." or ".."."""

    @abstractmethod
    def entries(self, directory: NodeT) -> Iterator[tuple[bytes, NodeT]]:
        """The names in a directory in on-disk order, without "." and "..", and their nodes."""

    def entry_names(self, directory: NodeT) -> Iterator[bytes]:
        """As `entries`, but names only: drivers whose nodes cost a read override it."""
        return (name for name, _ in self.entries(directory))

    @abstractmethod
    def link_target(self, link: NodeT) -> bytes:
        """The target of a symbolic link."""

    @abstractmethod
    def open_node(self, node: NodeT, path: str) -> File:
        """Open the regular file that `path` has led to."""

    def lookup(self, path: str, *, follow: bool = True) -> Stat:
        """Facts about a path; `NotFound`, `NotADirectory`, `LinkLoop`, `Corrupt`, `Unsupported`, `SourceError`."""
        return self.stat(self.resolve(path, follow=follow))

    def listdir(self, path: str) -> Iterator[DirEntry]:
        """The entries of a directory in on-disk order."""
        for name, node in self.entries(self._directory(path)):
            yield DirEntry(decode(name), self.stat(node))

    def names(self, path: str) -> Iterator[str]:
        """The names in a directory in on-disk order."""
        for name in self.entry_names(self._directory(path)):
            yield decode(name)

    def open(self, path: str) -> File:
        """Open a regular file, links followed; `IsADirectory` for everything else."""
        node = self.resolve(path)
        self.check_regular(node.mode, path)
        return self.open_node(node, path)

    def check_regular(self, mode: int, path: str) -> None:
        """Raise `IsADirectory` for directories and special files."""
        if mode & MODE_FORMAT != MODE_REGULAR:
            found = "a directory" if mode & MODE_FORMAT == MODE_DIRECTORY else "a special file"
            raise IsADirectory("not a regular file", where=f"{self.name}: {path}", found=found)

    def stat(self, node: NodeT) -> Stat:
        """Facts about a node."""
        if not is_symlink(node):
            return Stat(kind_of(node.mode), node.size, node.number, node.mode, node.mtime)
        target = self.link_target(node)
        return Stat("symlink", len(target), node.number, node.mode, node.mtime, decode(target))

    def _directory(self, path: str) -> NodeT:
        node = self.resolve(path)
        if not is_directory(node):
            raise NotADirectory("not a directory", where=f"{self.name}: {path}")
        return node

    def resolve(self, path: str, *, follow: bool = True) -> NodeT:
        """The node that `path` leads to.  Raises as `lookup`, `Corrupt` for a link target of absurd length."""
        at = f"{self.name}: {path}"
        # A trailing slash asks for a directory: it stands for one more component ".".
        pending = _components(encode(path))
        stack = [self.root()]
        links = steps = 0
        while pending:
            name = pending.pop()
            steps += 1
            if steps > MAX_COMPONENTS:
                raise LinkLoop("path has too many components", where=at, expected=f"at most {MAX_COMPONENTS}")
            if not is_directory(stack[-1]):
                raise NotADirectory("not a directory", where=at)
            if name == b".":
                continue
            if name == b"..":
                if len(stack) > 1:
                    stack.pop()
                continue
            node = self.child(stack[-1], name)
            if node is None:
                raise NotFound("no such file or directory", where=at, found=f"nothing named {decode(name)!r}")
            if not is_symlink(node) or not (follow or pending):
                stack.append(node)
                continue
            target = self.link_target(node)
            links += 1
            if links > MAX_LINKS:
                raise LinkLoop("too many levels of symbolic links", where=at, expected=f"at most {MAX_LINKS}")
            if not target:
                raise NotFound("symbolic link with an empty target", where=at)
            check_target_size(len(target), at)
            if target.startswith(b"/"):
                del stack[1:]
            pending += _components(target)
        return stack[-1]


def check_target_size(size: int, where: str) -> None:
    """Raise `Corrupt` for a link target that is longer than any path."""
    if size > MAX_TARGET_BYTES:
        expected = f"at most {MAX_TARGET_BYTES} bytes"
        raise Corrupt("target of a symbolic link is too long", where=where, expected=expected, found=f"{size} bytes")


def _components(path: bytes) -> list[bytes]:
    """The components, last one first; a trailing slash gives a final "."."""
    parts = [part for part in path.split(b"/") if part]
    if path.endswith(b"/") and parts:
        parts.append(b".")
    parts.reverse()
    return parts
