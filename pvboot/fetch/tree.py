"""The directory of a URL as a read-only file system."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fsdrivers.api import DirEntry, File, Stat
from fsdrivers.errors import FsError, IsADirectory, NotADirectory, NotFound, Unsupported
from pvboot.fetch.errors import FetchError
from pvboot.fetch.fetch import known
from pvboot.fetch.urls import decode

if TYPE_CHECKING:
    from fsdrivers.directory import HostFile
    from pvboot.fetch.fetch import Fetcher
    from pvboot.fetch.listing import Listed
    from pvboot.fetch.urls import Url

REQUESTS_LIMIT: Final = 4096  # questions to one server: a menu may ask for endless files
KEPT_LIMIT_BYTES: Final = 4 << 30  # of temporary files
COMPONENTS_LIMIT: Final = 64

Parts = tuple[str, ...]


class UrlFilesystem:
    """Files below a directory of a server; nothing above it is ever asked for.

    Answers are remembered, files are fetched once, into temporary files without names.  TFTP knows no directories:
    there, only whole names of files lead anywhere.
    """

    label: str | None = None
    uuid: str | None = None

    def __init__(self, fetcher: Fetcher, base: Url) -> None:
        self.base = base.directory
        self.kind = "tftp" if base.scheme == "tftp" else "http"
        self._fetcher = fetcher
        self._asked = 0
        self._kept_bytes = 0
        self._known: dict[Parts, Stat | FsError] = {}
        self._files: dict[Parts, File] = {}
        self._inodes: dict[Parts, int] = {}

    def close(self) -> None:
        """Forget the fetched files; the connections are the fetcher's."""
        self._files.clear()

    def lookup(self, path: str, *, follow: bool = True) -> Stat:
        """Facts about a path; a server shows no links, so `follow` changes nothing."""
        parts = self._parts(path)
        stat = self._stat(parts)
        if path.endswith("/") and stat.kind != "dir":
            raise NotADirectory("not a directory", where=f"{self.base}: {path}")
        return stat

    def names(self, path: str) -> Iterator[str]:
        """The names in a directory, as the server's index lists them.  Raises `Unsupported` without an index."""
        return (entry.name for entry in self._index(self._parts(path)))

    def listdir(self, path: str) -> Iterator[DirEntry]:
        """The names with their facts; a size that is not in the index is asked for."""
        parts = self._parts(path)
        for entry in self._index(parts):
            child = (*parts, entry.name)
            if entry.is_directory:
                yield DirEntry(entry.name, self._directory(child))
            elif entry.size is not None:
                yield DirEntry(entry.name, Stat("file", entry.size, self._inode(child)))
            else:
                try:
                    yield DirEntry(entry.name, self._stat(child))
                except NotFound:
                    continue  # a link on the page that leads to no file

    def open(self, path: str) -> File:
        """Fetch a file (once)."""
        parts = self._parts(path)
        if parts not in self._files:
            known = self._known.get(parts)
            if isinstance(known, FsError):
                raise known
            if not parts or path.endswith("/") or (known is not None and known.kind == "dir"):
                raise IsADirectory("not a file", where=f"{self.base}: {path}", found="a directory")
            self._files[parts] = self._fetch(parts, path)
        return self._files[parts]

    def place(self, url: Url, file: File) -> str | None:
        """Take in a file that has been fetched already; its path here, None if its URL is not below this directory."""
        if url.origin != self.base.origin or not url.path.startswith(self.base.path):
            return None
        path = "/" + decode(url.path[len(self.base.path) :])
        parts = self._parts(path)
        self._keep(parts, file)
        self._files[parts] = file
        return path

    # -- asking

    def _parts(self, path: str) -> Parts:
        """The components, "." and ".." taken off the text; at the top ".." stays, as in a disk's root."""
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        if len(parts) > COMPONENTS_LIMIT:
            raise NotFound("no such file: its path is too deep", where=str(self.base))
        return tuple(parts)

    def _stat(self, parts: Parts) -> Stat:
        if not parts:
            return self._directory(parts)
        if parts not in self._known:
            try:
                self._known[parts] = self._ask(parts)
            except (NotFound, NotADirectory) as err:
                self._known[parts] = err
        known = self._known[parts]
        if isinstance(known, FsError):
            raise known
        return known

    def _ask(self, parts: Parts) -> Stat:
        url = self.base.child(parts)
        self._charge()
        if self.kind == "tftp":
            from pvboot.fetch.tftp_client import ask_size

            return self._file(parts, ask_size(url, self._fetcher.settings.limits))
        from pvboot.fetch.http_file import ask_file

        facts = ask_file(self._fetcher.http, url)
        if facts is None:
            return self._directory(parts)
        size, modified = facts
        return self._file(parts, size, _seconds(modified))

    def _file(self, parts: Parts, size: int | None, mtime: int = 0) -> Stat:
        """Facts about a file; without a size from the server it is fetched to learn it."""
        if size is None:
            if parts not in self._files:
                self._files[parts] = self._fetch(parts, "/" + "/".join(parts))
            size = self._files[parts].size
        return Stat("file", size, self._inode(parts), mtime=mtime)

    def _directory(self, parts: Parts) -> Stat:
        return Stat("dir", 0, self._inode(parts))

    def _inode(self, parts: Parts) -> int:
        return self._inodes.setdefault(parts, len(self._inodes) + 1)

    def _fetch(self, parts: Parts, path: str) -> HostFile:
        url = known(self.base.child(parts), self._fetcher.settings, "/".join(parts))
        self._charge()
        limit = min(self._fetcher.settings.file_limit_bytes, KEPT_LIMIT_BYTES - self._kept_bytes)
        try:
            file = self._fetcher.fetch(url, path=path, limit_bytes=limit)
        except NotFound as err:
            self._known[parts] = err
            raise
        self._keep(parts, file)
        return file

    def _keep(self, parts: Parts, file: File) -> None:
        self._kept_bytes += file.size
        self._known[parts] = Stat("file", file.size, self._inode(parts))

    def _index(self, parts: Parts) -> list[Listed]:
        from pvboot.fetch.listing import PAGE_LIMIT_BYTES, read_index

        url = self.base.child(parts, directory=True)
        if self.kind == "tftp":
            raise Unsupported("TFTP lists no directories", where=str(url))
        from pvboot.fetch.http_file import check_status

        self._charge()
        accept = {"Accept": "application/json, text/html;q=0.9, */*;q=0.1"}
        with self._fetcher.http.request("GET", url, accept) as answer:
            if answer.status == 403:
                raise Unsupported("the server gives no list of the directory", where=str(url), found=answer.reason)
            check_status(answer, url)
            return read_index(answer.read(PAGE_LIMIT_BYTES), answer.headers.get("Content-Type", ""), answer.url)

    def _charge(self) -> None:
        self._asked += 1
        if self._asked > REQUESTS_LIMIT:
            expected = f"at most {REQUESTS_LIMIT}"
            raise FetchError("too many requests to one server", where=str(self.base), expected=expected)


def _seconds(text: str | None) -> int:
    """An HTTP date as seconds since 1970, 0 for none."""
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) if text else 0
    except (ValueError, TypeError, OverflowError, OSError):
        return 0
