"""Download of a whole file by HTTP, resumed after a broken connection if the file is still the same."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from fsdrivers.errors import IsADirectory, NotFound
from pvboot.fetch.errors import FetchError
from pvboot.fetch.http_client import Answer, BrokenTransferError, HttpClient
from pvboot.grub_errors import shorten

if TYPE_CHECKING:
    from pvboot.fetch.settings import Limits, Progress
    from pvboot.fetch.sink import Sink
    from pvboot.fetch.urls import Url

ABSENT: Final = (403, 404, 410)  # servers forbid what a directory without an index would show
TRY_AGAIN: Final = (408, 429, 500, 502, 503, 504)

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


def download(client: HttpClient, url: Url, sink: Sink, limits: Limits, progress: Progress | None = None) -> None:
    """Fetch `url` into `sink`.  Raises `NotFound`, `IsADirectory`, `FetchError`."""
    validator: str | None = None
    for attempt in range(limits.attempts):
        if attempt:
            time.sleep(limits.pause_seconds * 2 ** (attempt - 1))
        headers = {}
        if validator is not None and sink.received:
            headers = {"Range": f"bytes={sink.received}-", "If-Range": validator}
        try:
            with client.request("GET", url, headers) as answer:
                check_status(answer, url)
                if answer.url.path == url.path + "/":  # and what comes is the page that lists it
                    raise IsADirectory("not a file", where=str(url), found="a directory")
                if answer.status != 206:
                    sink.restart()
                elif not headers:
                    raise FetchError("the server sends a part that was not asked for", where=str(url))
                else:
                    check_range(answer, sink.received, None)
                validator = answer.etag or answer.modified
                _receive(answer, sink, progress)
            return
        except BrokenTransferError:
            if attempt == limits.attempts - 1:
                raise


def check_status(answer: Answer, url: Url) -> None:
    """Raise `NotFound`, `BrokenTransferError` (another attempt may help) or `FetchError` unless the status is good."""
    if answer.status in (200, 206):
        return
    if answer.status in ABSENT:
        raise NotFound("no such file", where=str(url), found=answer.reason)
    kind = BrokenTransferError if answer.status in TRY_AGAIN else FetchError
    what = "the server wants a name and password" if answer.status in (401, 407) else "the server refuses"
    raise kind(what, where=str(url), found=answer.reason)


def check_range(answer: Answer, first: int, last: int | None) -> int:
    """Return the whole file's size by the Content-Range of a 206.  Raises `FetchError` if it is not what was asked for.

    `last` None: up to the end.
    """
    text = answer.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(text)
    total = int(match[3]) if match and match[3] != "*" else None
    if match is None or total is None or (int(match[1]), int(match[2])) != (first, total - 1 if last is None else last):
        wanted = f"bytes {first}-{'' if last is None else last}"
        raise FetchError(
            "the server sends another part than was asked for",
            where=str(answer.url),
            expected=wanted,
            found=shorten(text) or "no Content-Range",
        )
    return total


def _receive(answer: Answer, sink: Sink, progress: Progress | None) -> None:
    """Append the body to `sink`.  Raises `BrokenTransferError` if it is shorter than announced."""
    size = answer.size
    total = None if size is None else sink.received + size
    if total is not None:
        sink.expect(total)
    for chunk in answer.chunks():
        sink.write(chunk)
        if progress is not None:
            progress(sink.received, total)
    if total is None and not sink.received and "Transfer-Encoding" not in answer.headers:
        # What a connection looks like that broke amid the headers.
        raise BrokenTransferError("the answer has neither a length nor content", where=str(answer.url))
    if total is not None and sink.received != total:
        raise BrokenTransferError(
            "the file ends early", where=str(answer.url), expected=f"{total} bytes", found=f"{sink.received} bytes"
        )
