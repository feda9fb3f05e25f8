"""A disk image on an HTTP server, read in parts: only what is looked at is transferred, and that once."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fsdrivers.api import Extent
from fsdrivers.blocks import check_range as check_inside
from fsdrivers.errors import Unsupported
from pvboot.fetch.errors import FetchError
from pvboot.fetch.http_client import BrokenTransferError
from pvboot.fetch.http_file import check_range, check_status, retried
from pvboot.fetch.sink import unwritable

if TYPE_CHECKING:
    from pvboot.fetch.fetch import Fetcher
    from pvboot.fetch.http_client import Answer
    from pvboot.fetch.urls import Url

BLOCK_BYTES: Final = 256 << 10
LARGEST_RUN: Final = 4  # blocks a request
CACHE_BLOCKS: Final = 2048  # 512 MiB of temporary file
PIECE_BYTES: Final = 1 << 20  # of an extent


class NoRangesError(Unsupported):
    """The server sends whole files only."""


class HttpRangeSource:
    """The bytes of a remote image.

    Blocks of 256 KiB are kept in a temporary file without a name, the least used one making place for a new one.  What
    is read in order is read ahead, up to 1 MiB.  The image must not change meanwhile: its entity tag (else its date)
    and its size are held to what they were when it was opened.
    """

    def __init__(self, fetcher: Fetcher, url: Url, *, cache_blocks: int = CACHE_BLOCKS) -> None:
        """Ask for the first block.  Raises `NotFound`, `NoRangesError`, `FetchError`."""
        self.name = str(url)
        self.fetched_bytes = 0
        self._fetcher = fetcher
        self._url = url
        self._cache_blocks = max(cache_blocks, LARGEST_RUN)
        self._slots: OrderedDict[int, int] = OrderedDict()  # block -> its place in the temporary file
        self._run = 1
        self._next = 0
        self._pin: tuple[str, str] | None = None
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by `close`)
        try:
            self.size = self._open()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Give the temporary file back; the connection is the fetcher's."""
        if not self._file.closed:
            self._fetcher.settings.report(f"read {self.fetched_bytes} of the {self.size} bytes of {self.name}")
        self._file.close()

    def read_at(self, offset: int, size: int) -> bytes:
        check_inside(self.name, self.size, offset, size)
        pieces = []
        end = offset + size
        progress = self._fetcher.settings.meter(self.name)
        while offset < end:
            block, start = divmod(offset, BLOCK_BYTES)
            length = min(BLOCK_BYTES - start, end - offset)
            if block not in self._slots:
                self._load(block, (end - 1) // BLOCK_BYTES)
                if progress is not None:
                    progress(self.fetched_bytes, None)
            pieces.append(self._cached(block, start, length))
            offset += length
        if progress is not None:
            progress(self.fetched_bytes, self.fetched_bytes)  # complete: the meter's line goes
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def extents(self, offset: int, size: int) -> Iterator[Extent]:
        """The bytes themselves, read when they are asked for."""
        check_inside(self.name, self.size, offset, size)
        for start in range(offset, offset + size, PIECE_BYTES):
            length = min(PIECE_BYTES, offset + size - start)
            yield Extent(length, data=self.read_at(start, length))

    # -- the cache

    def _cached(self, block: int, start: int, length: int) -> bytes:
        self._slots.move_to_end(block)
        data = os.pread(self._file.fileno(), length, self._slots[block] * BLOCK_BYTES + start)
        if len(data) != length:
            raise FetchError("a temporary file was cut", where=tempfile.gettempdir())
        return data

    def _load(self, block: int, last_wanted: int) -> None:
        """Fetch a block and those behind it that are wanted, or will be if reading goes on like this."""
        self._run = min(self._run * 2, LARGEST_RUN) if block == self._next else 1
        stop = block + min(LARGEST_RUN, max(self._run, last_wanted - block + 1))
        last = min(next((at for at in range(block, stop) if at in self._slots), stop), -(-self.size // BLOCK_BYTES))
        self._store(block, self._ask(block * BLOCK_BYTES, min(last * BLOCK_BYTES, self.size)))
        self._next = last

    def _store(self, block: int, data: bytes) -> None:
        for at in range(0, len(data), BLOCK_BYTES):
            free = len(self._slots) < self._cache_blocks
            slot = len(self._slots) if free else self._slots.popitem(last=False)[1]
            try:
                os.pwrite(self._file.fileno(), data[at : at + BLOCK_BYTES], slot * BLOCK_BYTES)
            except OSError as err:
                raise unwritable(err) from err
            self._slots[block + at // BLOCK_BYTES] = slot

    # -- the server

    def _open(self) -> int:
        """Learn the size, and the tag or date that marks this version of the image."""
        with self._fetcher.http.request("GET", self._url, {"Range": f"bytes=0-{BLOCK_BYTES - 1}"}) as answer:
            check_status(answer, self._url)
            if answer.status != 206:
                what = "the server gives no parts of files"
                raise NoRangesError(what, where=self.name, expected="206", found=answer.reason)
            total = check_range(answer, 0, BLOCK_BYTES - 1)
            if answer.etag is not None:
                self._pin = "If-Match", answer.etag
            elif answer.modified is not None:
                self._pin = "If-Unmodified-Since", answer.modified
            data = self._body(answer, min(BLOCK_BYTES, total))
        self._store(0, data)
        self._next = 1
        return total

    def _ask(self, first: int, end: int) -> bytes:
        """The bytes from `first` to before `end`."""
        return retried(self._fetcher.settings.limits, lambda: self._ask_once(first, end))

    def _ask_once(self, first: int, end: int) -> bytes:
        headers = {"Range": f"bytes={first}-{end - 1}", **dict([self._pin] if self._pin else [])}
        with self._fetcher.http.request("GET", self._url, headers) as answer:
            if answer.status in (412, 416):
                raise self._changed(answer.reason)
            check_status(answer, self._url)
            if answer.status != 206:
                raise self._changed(answer.reason)
            if check_range(answer, first, end - 1) != self.size:
                raise self._changed(answer.headers["Content-Range"])
            if self._pin is not None:
                found = answer.etag if self._pin[0] == "If-Match" else answer.modified
                if found not in (None, self._pin[1]):
                    raise self._changed(str(found))
            return self._body(answer, end - first)

    def _body(self, answer: Answer, size: int) -> bytes:
        data = answer.read(size)
        self.fetched_bytes += len(data)
        if len(data) != size:
            expected, found = f"{size} bytes", f"{len(data)} bytes"
            raise BrokenTransferError("the answer is short", where=self.name, expected=expected, found=found)
        return data

    def _changed(self, found: str) -> FetchError:
        expected = self._pin[1] if self._pin else f"{self.size} bytes"
        what = "the image has changed on the server"
        return FetchError(what, where=self.name, expected=expected, found=found[:200])
