"""The servers that a guest's menu may name, and what `(nd)` is.

Only servers that the user named are asked: that of a URL given as SOURCE or disk, and those of `--net`.  A menu on a
guest's own disk must not be able to make this machine fetch from anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pvboot import grub_errors
from pvboot.errors import UsageError
from pvboot.fetch.server_tree import ServerTree
from pvboot.fetch.tree import UrlFilesystem
from pvboot.fetch.urls import PORTS, Url, decode, parse_url
from pvboot.grub_errors import GrubError, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pvboot.fetch.fetch import Fetcher

SERVERS_LIMIT = 64


class Network:
    """`named` are the URLs that the user gave; the first says what `(nd)` is.

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
        """What `(nd)` is."""
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
        """What `(http,HOST[:PORT])` or `(tftp,HOST)` is: all of a server; "" is that of `(nd)`.

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
            raise GrubError(grub_errors.INVALID_DEVICE, f"no server: {shorten(name)!r}") from err
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
        raise GrubError(
            grub_errors.INVALID_DEVICE, f"{wanted.server} is no server that you named; --net {wanted} allows it"
        )

    def choose(self, host: str) -> None:
        """`tftpserver`: make another server that the user named the one of `(nd)`.  Raises `GrubError`."""
        for url in self._named:
            if url.host.lower() == host.lower():
                self._base = url
                return
        raise GrubError(
            grub_errors.INVALID_DEVICE, f"{shorten(host)} is not a server that you named; --net URL allows it"
        )

    def _mount(self, url: Url) -> UrlFilesystem:
        if url not in self._mounted:
            if len(self._mounted) >= SERVERS_LIMIT:
                raise GrubError(grub_errors.INVALID_DEVICE, f"more than {SERVERS_LIMIT} servers")
            self._mounted[url] = UrlFilesystem(self.fetcher, url)
        return self._mounted[url]
