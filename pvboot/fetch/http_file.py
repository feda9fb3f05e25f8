"""A whole file by HTTP: tried again after a broken connection, from where it broke if the file is still the same."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from fsdrivers.errors import IsADirectory, NotFound
from pvboot.fetch.errors import FetchError
from pvboot.fetch.http_client import REDIRECTS, Answer, BrokenTransferError, HttpClient, redirect_target
from pvboot.grub_errors import shorten

if TYPE_CHECKING:
    from pvboot.fetch.settings import FetchLimits, Progress
    from pvboot.fetch.sink import Sink
    from pvboot.fetch.urls import Url

T = TypeVar("T")

ABSENT: Final = (403, 404, 410)  # servers forbid what a directory without an index would show
NO_HEAD: Final = (405, 501)
TRY_AGAIN: Final = (408, 429, 500, 502, 503, 504)

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,18})")


def retried(limits: FetchLimits, attempt: Callable[[], T]) -> T:
    """The result of `attempt`, called again after each `BrokenTransferError`, `limits.attempts` times in all."""
    for number in range(limits.attempts - 1):
        try:
            return attempt()
        except BrokenTransferError:
            time.sleep(limits.pause_seconds * 2**number)
    return attempt()


def download(client: HttpClient, url: Url, sink: Sink, limits: FetchLimits, progress: Progress | None = None) -> None:
    """The file behind `url` into `sink`.  Raises `NotFound`, `IsADirectory`, `FetchError`."""
    validator: str | None = None

    def attempt() -> None:
        nonlocal validator
        headers = {}
        if validator is not None and sink.received:
            headers = {"Range": f"bytes={sink.received}-", "If-Range": validator}
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

    retried(limits, attempt)


def ask_file(client: HttpClient, url: Url) -> tuple[int | None, str | None] | None:
    """A file's size and date, None where the server does not give them; None for a directory without its slash."""
    with client.request("HEAD", url, follow=False) as answer:
        redirected = answer.status in REDIRECTS
        if redirected and redirect_target(answer).path == url.path + "/":
            return None
    if redirected:
        with client.request("HEAD", url) as answer:
            pass
    if answer.status in NO_HEAD:
        return None, None
    check_status(answer, url)
    return answer.size, answer.modified


def check_status(answer: Answer, url: Url) -> None:
    """Raise an error unless a file follows: `NotFound`, `FetchError`, `BrokenTransferError` where retrying may help."""
    if answer.status in (200, 206):
        return
    if answer.status in ABSENT:
        raise NotFound("no such file", where=str(url), found=answer.reason)
    kind = BrokenTransferError if answer.status in TRY_AGAIN else FetchError
    what = "the server wants a name and password" if answer.status in (401, 407) else "the server refuses"
    raise kind(what, where=str(url), found=answer.reason)


def check_range(answer: Answer, first: int, last: int | None) -> int:
    """The whole file's size by the Content-Range of a 206.  Raises `FetchError` if it is not what was asked for.

    `last` None, or behind the end of the file: up to the end.
    """
    text = answer.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(text)
    total = int(match[3]) if match else 0
    end = total - 1 if last is None else min(last, total - 1)
    if match is None or (int(match[1]), int(match[2])) != (first, end):
        expected, found = f"bytes {first}-{'' if last is None else last}", shorten(text) or "no Content-Range"
        where = str(answer.url)
        raise FetchError(
            "the server sends another part than was asked for", where=where, expected=expected, found=found
        )
    return total


def _receive(answer: Answer, sink: Sink, progress: Progress | None) -> None:
    """Take the body.  Raises `BrokenTransferError` if it is shorter than announced."""
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
        expected, found = f"{total} bytes", f"{sink.received} bytes"
        raise BrokenTransferError("the file ends early", where=str(answer.url), expected=expected, found=found)
