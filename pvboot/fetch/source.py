"""The URLs among a guest's sources: images, files and directories, and the servers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fsdrivers.blocks import LoopSource
from pvboot.device_names import Device
from pvboot.devices import Disk
from pvboot.fetch.fetch import Fetcher, known
from pvboot.fetch.network import Network
from pvboot.fetch.settings import NetOptions
from pvboot.fetch.tree import UrlFilesystem
from pvboot.fetch.urls import Url, parse_url

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource, File

WHOLE_LIMIT_BYTES: Final = 1 << 20  # a smaller file is fetched at once, and not by parts
DOWNLOAD_LIMIT_BYTES: Final = 256 << 20  # of an image that its server does not give in parts


class Servers:
    """The servers of a guest: those of the URLs among its sources (`urls`), and those that menus may use besides."""

    def __init__(self, options: NetOptions | None, sources: Sequence[str]) -> None:
        """Raises `UsageError` for bad URLs."""
        options = options or NetOptions()
        self._allowed = [parse_url(url) for url in options.urls]
        self._opened: list[UrlFilesystem] = []
        self._network: Network | None = None
        self.urls = {name: parse_url(name) for name in sources}
        self.fetcher = Fetcher(options.settings)

    def close(self) -> None:
        """Close the connections."""
        self.fetcher.close()

    def printed(self, name: str) -> str:
        """A source for messages and reports: a URL without user and password."""
        return str(parse_url(name)) if name in self.urls else name

    def open(self, name: str) -> Disk:
        """The disk behind the URL of a source.  Raises `FsError`, `NetworkError`."""
        found = open_url(self.fetcher, self.urls[name])
        if not isinstance(found, UrlFilesystem):
            return Disk(self.printed(name), found)
        if self._network is None:
            self.urls[name] = found.base  # perhaps with a slash that was missing
            self._opened.append(found)
        return Disk(self.printed(name), filesystem=found)

    def network(self) -> Network | None:
        """The servers that menus may use, None for none; (nd) is the options' first, else the sources'."""
        named = [*self._allowed, *self.urls.values()]
        if named:
            self._network = Network(self.fetcher, named)
            for filesystem in self._opened:
                self._network.adopt(filesystem)
        return self._network

    def place(self, name: str, menu: File, root: str | None) -> tuple[Device | None, str, Disk | None]:
        """The place of a fetched menu: its device, its path there, and the disk if that is the directory `root`.

        Without a root it stands on `(nd)` if it is below that, else nowhere.
        """
        url = self.urls[name]
        if root is not None:
            top = replace(url, path=root, query="", checksum=None)
            tree = UrlFilesystem(self.fetcher, top)
            path = tree.place(url, menu)
            assert path is not None
            return Device("hd", 0), path, Disk(str(top), filesystem=tree)
        assert self._network is not None
        path = self._network.base().place(url, menu)
        return (None, str(url), None) if path is None else (Device("nd"), path, None)


def open_url(fetcher: Fetcher, url: Url) -> UrlFilesystem | BlockSource:
    """A directory as a file system, a file as blocks, which come by parts if the file is large and the server can.

    Raises `FsError`, `NetworkError`.
    """
    if url.is_directory:
        return UrlFilesystem(fetcher, url)
    url = known(url, fetcher.settings)
    if url.scheme != "tftp" and url.checksum is None:
        from pvboot.fetch.http_file import ask_file

        facts = ask_file(fetcher.http, url)
        if facts is None:
            return UrlFilesystem(fetcher, replace(url, path=url.path + "/"))
        if (facts[0] or 0) > WHOLE_LIMIT_BYTES:
            return _open_image(fetcher, url)
    limit = fetcher.settings.file_limit_bytes if url.checksum else DOWNLOAD_LIMIT_BYTES
    return LoopSource(fetcher.fetch(url, limit_bytes=limit), str(url))


def _open_image(fetcher: Fetcher, url: Url) -> BlockSource:
    from pvboot.fetch.image import HttpRangeSource, NoRangesError

    try:
        return HttpRangeSource(fetcher, url)
    except NoRangesError:
        return LoopSource(fetcher.fetch(url, limit_bytes=DOWNLOAD_LIMIT_BYTES), str(url))
