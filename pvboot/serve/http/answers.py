"""What to answer to a request: asks the handlers and the content, decides on conditions and ranges.

`answer` blocks, so it runs in a thread; it knows nothing of sockets.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from fsdrivers.api import Extent
from pvboot.errors import PvbootError
from pvboot.serve.api import Content, Handler, Request, Response, ServedDirectory, ServedFile
from pvboot.serve.http import listing
from pvboot.serve.http.conditional import http_date, precondition, range_applies
from pvboot.serve.http.ranges import Unsatisfiable, parse_range
from pvboot.serve.http.send import clipped

# Files come out of guests' disks: none may run scripts in the name of this server.
_NO_SCRIPTS = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
_UNSAFE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Two of them would make two answers out of one.
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "date", "server"})
# A content's error: the answer is no, or somebody else's server failed; everything else is this server's fault.
_STATUS_OF_EXIT_CODE = {1: 404, 4: 502}
_LAST_SECOND = 253402300799  # of the year 9999: no HTTP date lies behind it


@dataclass(slots=True)
class Answer:
    """An answer to send and to `close`: `body`, or `length` bytes of `file` that `extents` stand for.

    `refusal` says why the request came to nothing, for the journal; "" if it did not.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: ServedFile | None = None
    extents: Sequence[Extent] = ()
    length: int = 0
    refusal: str = ""

    def close(self) -> None:
        """Give back the file; once."""
        file, self.file = self.file, None
        if file is not None:
            file.close()

    def head(self, *, keep_alive: bool) -> bytes:
        """Status line and header fields."""
        date = http_date(int(time.time()))
        lines = [f"HTTP/1.1 {self.status} {phrase(self.status)}", f"Date: {date}", "Server: pvboot"]
        if self.status not in (204, 304):
            lines.append(f"Content-Length: {self.length}")
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        lines.extend(f"{name}: {value}" for name, value in self.headers.items())
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def phrase(status: int) -> str:
    """The usual words of a status, "" if there are none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def plain(status: int, refusal: str, *, said: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal: one line for the client; what went wrong inside is for the journal only."""
    text = f"{status} {phrase(status)}" + (f": {said}" if said else "") + "\n"
    body = text.encode("utf-8", "replace")
    fields = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    return Answer(status, fields, body, length=len(body), refusal=refusal)


def answer(request: Request, *, slash: bool, content: Content, handlers: Sequence[Handler]) -> Answer:
    """The answer; every error becomes one.  `slash`: the request's path ended with "/"."""
    try:
        for handler in handlers:
            response = handler(request)
            if response is not None:
                return _handled(response)
        if request.method not in ("GET", "HEAD"):
            return plain(405, f"{request.method} of a file", headers={"Allow": "GET, HEAD"})
        return _from_content(request, slash, content)
    except PvbootError as err:
        return plain(_STATUS_OF_EXIT_CODE.get(err.exit_code, 500), str(err))
    except Exception as err:  # whatever a handler or a file does wrong, the server stays
        return plain(500, f"{type(err).__name__}: {err}")


def _handled(response: Response) -> Answer:
    if not 200 <= response.status <= 599:
        return plain(500, f"a handler answered with status {response.status}")
    headers = {"Content-Type": response.content_type, **response.headers} if response.body else dict(response.headers)
    if not _sendable(headers):
        return plain(500, "a handler answered with header fields that cannot be sent")
    bare = response.status in (204, 304)
    body = b"" if bare else response.body
    return Answer(response.status, headers, body, length=len(body))


def _sendable(headers: Mapping[str, str]) -> bool:
    names = [name.lower() for name in headers]
    if len(set(names)) < len(names) or not _OURS.isdisjoint(names):
        return False
    return all(_NAME.fullmatch(name) and not _UNSAFE.search(value) for name, value in headers.items())


def _from_content(request: Request, slash: bool, content: Content) -> Answer:
    opened = content.open(request.path, request.who)
    if isinstance(opened, ServedDirectory):
        return _directory(request, slash, opened)
    try:
        if slash:
            return _closing(opened, plain(404, "a file was asked for as a directory"))
        return _file(request, opened)
    except BaseException:
        opened.close()
        raise


def _directory(request: Request, slash: bool, directory: ServedDirectory) -> Answer:
    if not slash:
        return plain(301, "", headers={"Location": listing.quoted(request.path).rstrip("/") + "/"})
    if listing.wants_json(request.headers.get("accept", "")):
        body, kind = listing.as_json(request.path, directory), "application/json"
    else:
        body, kind = listing.as_html(request.path, directory), "text/html; charset=utf-8"
    return Answer(200, {"Content-Type": kind, "Vary": "Accept", **_NO_SCRIPTS}, body, length=len(body))


def _file(request: Request, file: ServedFile) -> Answer:
    modified = _modified(file.mtime)
    headers = {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    if modified is not None:
        headers["Last-Modified"] = http_date(modified)
    else:
        headers["Cache-Control"] = "private, no-cache"  # made for this client
    if not _sendable({**headers, "Content-Type": file.content_type}):
        return _closing(file, plain(500, "a file has a tag or type that cannot be sent"))
    status = precondition(request.headers, file.etag, modified)
    if status == 304:
        return Answer(304, headers, file=file)
    if status is not None:
        return _closing(file, plain(status, "the file is another one", headers=headers))
    headers.update({"Content-Type": file.content_type, **_NO_SCRIPTS})
    whole, wanted = file.size, None
    if request.method == "GET" and "range" in request.headers and range_applies(request.headers, file.etag, modified):
        try:
            wanted = parse_range(request.headers["range"], whole)
        except Unsatisfiable:
            return _closing(file, plain(416, "no such range", headers={"Content-Range": f"bytes */{whole}"}))
    start, length = wanted or (0, whole)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{whole}"
    extents = tuple(clipped(file.extents(), start, length)) if request.method == "GET" else ()
    return Answer(200 if wanted is None else 206, headers, b"", file, extents, length)


def _closing(file: ServedFile, refused: Answer) -> Answer:
    refused.file = file
    return refused


def _modified(mtime: float | None) -> int | None:
    """Last-Modified in seconds; never in the future, whatever a guest's clock said (RFC 9110 section 8.8.2.1)."""
    if mtime is None or not 0 <= mtime <= _LAST_SECOND:
        return None
    return min(int(mtime), int(time.time()))
