"""Path resolution shared by the drivers.

The rules are those of GRUB and POSIX where they agree: repeated slashes collapse, "." and ".." are taken on
the stack of resolved directories (never from the disk; at the root ".." stays), links are followed at most
`MAX_LINKS` times, an absolute link starts at the root of this volume.  A path without a leading slash counts
from the root.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from fsdrivers.errors import Corrupt, LinkLoop, NotADirectory, NotFound

MAX_LINKS = 40
# Linux' PATH_MAX; no writer makes longer targets.
MAX_TARGET_BYTES = 4096
# Forty targets of 4 KiB are 80 000 components, each a directory search: a boot path has a handful.
MAX_COMPONENTS = 4096

Node = TypeVar("Node")


class Tree(Protocol[Node]):
    """What a driver tells about its nodes (inodes, directory records)."""

    def root(self) -> Node:
        """The root directory."""

    def child(self, directory: Node, name: bytes) -> Node | None:
        """The node behind a name, None if there is none; `name` is never "", "." or ".."."""

    def is_directory(self, node: Node) -> bool:
        """Whether names can be looked up in the node."""

    def link_target(self, node: Node) -> bytes | None:
        """Target of a symbolic link, None if the node is something else."""


def encode(path: str) -> bytes:
    """The bytes on disk of a path or name; `NotFound` for text no disk can hold."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as err:
        raise NotFound("no such file or directory", where=repr(path)) from err


def decode(name: bytes) -> str:
    """A name on disk as `str`, bytes that are not UTF-8 as surrogate escapes."""
    return name.decode("utf-8", "surrogateescape")


def resolve(tree: Tree[Node], path: str, *, follow: bool, where: str) -> Node:
    """The node that `path` leads to; `where` names the volume in errors.

    Raises `NotFound`, `NotADirectory`, `LinkLoop`, `Corrupt` (a link target of absurd length).
    """
    at = f"{where}: {path}"
    raw = encode(path)
    # A trailing slash asks for a directory: it stands for one more component ".".
    pending = _components(raw)
    stack = [tree.root()]
    links = steps = 0
    while pending:
        name = pending.pop()
        steps += 1
        if steps > MAX_COMPONENTS:
            raise LinkLoop("path has too many components", where=at, expected=f"at most {MAX_COMPONENTS}")
        if not tree.is_directory(stack[-1]):
            raise NotADirectory("not a directory", where=at)
        if name == b".":
            continue
        if name == b"..":
            if len(stack) > 1:
                stack.pop()
            continue
        node = tree.child(stack[-1], name)
        if node is None:
            raise NotFound("no such file or directory", where=at, found=f"nothing named {decode(name)!r}")
        target = tree.link_target(node) if follow or pending else None
        if target is None:
            stack.append(node)
            continue
        links += 1
        if links > MAX_LINKS:
            raise LinkLoop("too many levels of symbolic links", where=at, expected=f"at most {MAX_LINKS}")
        if not target:
            raise NotFound("symbolic link with an empty target", where=at)
        if len(target) > MAX_TARGET_BYTES:
            raise Corrupt(
                "target of a symbolic link is too long",
                where=at,
                expected=f"at most {MAX_TARGET_BYTES} bytes",
                found=f"{len(target)} bytes",
            )
        if target.startswith(b"/"):
            del stack[1:]
        pending += _components(target)
    return stack[-1]


def _components(path: bytes) -> list[bytes]:
    """The components, last one first; a trailing slash gives a final "."."""
    parts = [part for part in path.split(b"/") if part]
    if path.endswith(b"/") and parts:
        parts.append(b".")
    parts.reverse()
    return parts
