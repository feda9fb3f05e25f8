"""`(nd)` for a menu that came by its URL: the whole server, and the menu's directory for what is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from fsdrivers.errors import NotADirectory, NotFound

if TYPE_CHECKING:
    from fsdrivers.api import DirEntry, File, Stat
    from pvboot.fetch.tree import UrlFilesystem
    from pvboot.fetch.urls import Url

Result = TypeVar("Result")


class ServerTree:
    """`top` is asked first, as menus written for PV-GRUB mean it; `near` second, for menus beside their files."""

    label: str | None = None
    uuid: str | None = None

    def __init__(self, top: UrlFilesystem, near: UrlFilesystem) -> None:
        self.kind = top.kind
        self._top = top
        self._near = near

    @property
    def base(self) -> Url:
        """The URL that paths count from."""
        return self._top.base

    def _first(self, ask: Callable[[UrlFilesystem], Result]) -> Result:
        try:
            return ask(self._top)
        except (NotFound, NotADirectory) as err:
            try:
                return ask(self._near)
            except (NotFound, NotADirectory) as again:
                found = "; ".join(part for part in (err.found, f"and nothing at {again.where}") if part)
                raise NotFound(err.what, where=err.where, found=found) from err

    def lookup(self, path: str, *, follow: bool = True) -> Stat:
        """See `Filesystem`."""
        return self._first(lambda tree: tree.lookup(path, follow=follow))

    def names(self, path: str) -> Iterator[str]:
        """See `Filesystem`."""
        return iter(self._first(lambda tree: list(tree.names(path))))

    def listdir(self, path: str) -> Iterator[DirEntry]:
        """See `Filesystem`."""
        return iter(self._first(lambda tree: list(tree.listdir(path))))

    def open(self, path: str) -> File:
        """See `Filesystem`."""
        return self._first(lambda tree: tree.open(path))

    def place(self, url: Url, file: File) -> str | None:
        """Take in a file that has been fetched already; its path here."""
        return self._top.place(url, file)
