"""The servers that a guest's menu may name, and the one that is `(nd)`.

Only servers that the user named are asked: that of a URL given as SOURCE or disk, and those of `--net`.  A menu on a
guest's own disk must not be able to make this machine fetch from anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from fsdrivers.errors import NotADirectory, NotFound
from pvboot import grub_errors
from pvboot.errors import UsageError
from pvboot.fetch.tree import UrlFilesystem
from pvboot.fetch.urls import PORTS, Url, decode, parse_url
from pvboot.grub_errors import GrubError, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fsdrivers.api import DirEntry, File, Stat
    from pvboot.fetch.fetch import Fetcher

Result = TypeVar("Result")

SERVERS_LIMIT = 64


class Network:
    """`named` are the URLs that the user gave; the first is that of `(nd)`.

    A directory is `(nd)` itself.  Of a file's URL it is the whole server, as in PV-GRUB; what is not there is looked
    for in the file's directory (with a list of checksums, whose names count from there, only there).

    `config` is what `dhcp --with-configfile` goes on with: the file that the first URL names, if it names one.
    """

    def __init__(self, fetcher: Fetcher, named: Sequence[Url]) -> None:
        self.fetcher = fetcher
        self._named = tuple(named)
        self._base = named[0]
        self.config = None if self._base.is_directory else f"(nd){self._path()}"
        self._mounted: dict[Url, UrlFilesystem] = {}

    def close(self) -> None:
        """Close the connections and drop the fetched files."""
        for filesystem in self._mounted.values():
            filesystem.close()
        self.fetcher.close()

    @property
    def default_server(self) -> str:
        """GRUB 2's `net_default_server`: the server of `(nd)`, with its port if that is not the protocol's own."""
        return self._base.server

    @property
    def url(self) -> str:
        """The URL that `(nd)` stands for."""
        return str(self.base().base)

    def adopt(self, filesystem: UrlFilesystem) -> None:
        """Use a file system that stands for a directory already."""
        self._mounted.setdefault(filesystem.base, filesystem)

    def base(self) -> UrlFilesystem | ServerTree:
        """The file system of `(nd)`."""
        near = self._mount(self._base.directory)
        top = replace(self._base, path="/", query="", checksum=None)
        if self._base.is_directory or near.base == top or self.fetcher.settings.sums is not None:
            return near
        return ServerTree(self._mount(top), near)

    def _path(self) -> str:
        """The path on `(nd)` of the file that the first URL names."""
        whole = self.fetcher.settings.sums is None
        return decode(self._base.path) if whole else f"/{self._base.file_name}"

    def server(self, protocol: str, name: str) -> UrlFilesystem:
        """The file system of `(http,HOST[:PORT])` or `(tftp,HOST)`: a whole server; "" is that of `(nd)`.

        Raises `GrubError` 12 for one that the user did not name.
        """
        if not name:
            same = (protocol == "tftp") == (self._base.scheme == "tftp")
            name = self.default_server if same else replace(self._base, port=None).server
        try:
            if set(name) & set("@/?#"):
                raise UsageError("more than a server")
            wanted = parse_url(f"{protocol}://{name}/")
        except UsageError as err:
            raise GrubError(grub_errors.INVALID_DEVICE, f"not a server: {shorten(name)!r}") from err
        for url in self._named:
            if wanted.host.lower() != url.host.lower():
                continue
            if (protocol, url.scheme) == ("http", "https") and wanted.port in (None, url.number):
                return self._mount(replace(url, path="/", query=""))  # named by TLS, never asked without
            if wanted.origin == url.origin:
                return self._mount(replace(wanted, user=url.user))
            # The protocol's own port on the same machine: menus come by TFTP and name kernels by HTTP.
            if wanted.number in (url.number, PORTS[protocol]):
                return self._mount(wanted)
        raise _not_named(wanted.server, str(wanted))

    def choose(self, host: str) -> None:
        """`tftpserver`: make another server that the user named the one of `(nd)`.  Raises `GrubError`."""
        for url in self._named:
            if url.host.lower() == host.lower():
                self._base = url
                return
        raise _not_named(shorten(host), "URL")

    def _mount(self, url: Url) -> UrlFilesystem:
        if url not in self._mounted:
            if len(self._mounted) >= SERVERS_LIMIT:
                raise GrubError(grub_errors.INVALID_DEVICE, f"more than {SERVERS_LIMIT} servers")
            self._mounted[url] = UrlFilesystem(self.fetcher, url)
        return self._mounted[url]


def _not_named(server: str, option: str) -> GrubError:
    what = f"{server} is not a server that you named; --net {option} allows it"
    return GrubError(grub_errors.INVALID_DEVICE, what)


class ServerTree:
    """`(nd)` for a menu that came by its URL: the whole server (`top`), as menus written for PV-GRUB mean it, and the
    menu's directory (`near`) for files that are not there."""

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
