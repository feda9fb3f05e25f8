"""Transfers of whole files into temporary files without names."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from pvboot.errors import UsageError
from pvboot.fetch.errors import UnlistedError
from pvboot.fetch.settings import NetSettings, Progress
from pvboot.fetch.urls import Checksum, Url, parse_url

if TYPE_CHECKING:
    from fsdrivers.directory import HostFile
    from pvboot.fetch.http_client import HttpClient
    from pvboot.fetch.sink import Sink


def fetch_input(url: str, settings: NetSettings, limit_bytes: int) -> bytes:
    """Fetch a URL of the command line, held to the list of checksums if there is one."""
    parsed = known(parse_url(url), settings)
    with closing(Fetcher(settings)) as fetcher:
        file = fetcher.fetch(parsed, limit_bytes=limit_bytes)
    return file.read_at(0, file.size)


def known(url: Url, settings: NetSettings, name: str | None = None) -> Url:
    """Add the checksum to a URL that the list, if there is one, has for `name` (the file's own).

    A checksum in the URL itself goes before.  Raises `UnlistedError` for a file that is not in the list.
    """
    if settings.sums is None or url.checksum is not None:
        return url
    digest = settings.sums.get(name or url.file_name)
    if digest is None:
        raise UnlistedError("the file is not in the list of checksums", where=str(url), expected="a line in --sums")
    return replace(url, checksum=Checksum("sha256", digest))


class Fetcher:
    """Fetches files over connections that are kept open.  Not for several threads at once."""

    def __init__(self, settings: NetSettings | None = None) -> None:
        self.settings = settings or NetSettings()
        self._http: HttpClient | None = None

    @property
    def http(self) -> HttpClient:
        """The HTTP session, opened when it is first needed."""
        if self._http is None:
            from pvboot.fetch.http_client import HttpClient

            self._http = HttpClient(self.settings.limits)
        return self._http

    def close(self) -> None:
        """Close what is open; fetched files stay."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def fetch(self, url: Url, *, path: str | None = None, limit_bytes: int | None = None) -> HostFile:
        """Fetch a file of at most `limit_bytes` (the settings'); it is called `path` (the URL).

        Raises `UsageError` (a directory's URL), `fsdrivers.errors.NotFound` and `IsADirectory`, `FetchError` (network,
        too large, too slow) and `ChecksumError`.
        """
        from pvboot.fetch.sink import Sink

        if url.is_directory:
            raise UsageError("a directory cannot be fetched", where=str(url), expected="a file")
        limit = self.settings.file_limit_bytes if limit_bytes is None else limit_bytes
        with closing(Sink(str(url), limit, url.checksum)) as sink:
            started, progress = time.monotonic(), self.settings.meter(str(url))
            try:
                self._download(url, sink, progress)
            finally:
                if progress is not None:
                    progress(sink.received, sink.received)  # a meter's line is complete, whatever happened
            seconds = time.monotonic() - started
            self.settings.report(f"fetched {url}: {sink.received} bytes in {seconds:.2f} s")
            return sink.finish(path or str(url))

    def _download(self, url: Url, sink: Sink, progress: Progress | None) -> None:
        if url.scheme == "tftp":
            from pvboot.fetch.tftp_client import download

            download(url, sink, self.settings.limits, progress)
        else:
            from pvboot.fetch import http_file

            http_file.download(self.http, url, sink, self.settings.limits, progress)
