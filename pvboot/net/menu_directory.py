"""What `(nd)` is for a menu that came from a server: its directory, and behind that the top of the server.

To PV-GRUB, and to menus written for it, `(nd)/path` counts from the top; to a menu that lies beside its files, from its
own directory.  Both are the server that the user named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from fsdrivers.errors import NotADirectory, NotFound

if TYPE_CHECKING:
    from fsdrivers.api import DirEntry, Stat
    from fsdrivers.directory import HostFile
    from pvboot.net.tree import UrlFilesystem
    from pvboot.net.urls import Url

Result = TypeVar("Result")


class MenuDirectory:
    """A file system that looks in `near`, and for what is not there in `top`."""

    label: str | None = None
    uuid: str | None = None

    def __init__(self, near: UrlFilesystem, top: UrlFilesystem) -> None:
        self.kind = near.kind
        self.base = near.base
        self._near = near
        self._top = top

    def place(self, url: Url, file: HostFile) -> str | None:
        """As that of the directory."""
        return self._near.place(url, file)

    def lookup(self, path: str, *, follow: bool = True) -> Stat:
        """Facts about a path."""
        return self._first(lambda tree: tree.lookup(path, follow=follow))

    def names(self, path: str) -> Iterator[str]:
        """The names in a directory."""
        return self._first(lambda tree: tree.names(path))

    def listdir(self, path: str) -> Iterator[DirEntry]:
        """The names in a directory and facts about them."""
        return self._first(lambda tree: (tree.lookup(path), tree.listdir(path))[1])

    def open(self, path: str) -> HostFile:
        """Fetch a file (once)."""
        return self._first(lambda tree: tree.open(path))

    def _first(self, ask: Callable[[UrlFilesystem], Result]) -> Result:
        try:
            return ask(self._near)
        except (NotFound, NotADirectory) as err:
            try:
                return ask(self._top)
            except (NotFound, NotADirectory) as again:
                found = "; ".join(part for part in (err.found, f"and nothing at {again.where}") if part)
                raise NotFound(err.what, where=err.where, found=found) from err
