"""GET and HEAD of files and menus: what guests may ask for, and all that they may ask for."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web
from multidict import MultiMapping

from fsdrivers.api import Extent
from fsdrivers.extents import cut
from pvboot.errors import PvbootError
from pvboot.serve.api import Content, Journal, Requester, ServedDirectory, ServedFile
from pvboot.serve.http import listing
from pvboot.serve.http.conditional import Unsatisfiable, precondition, wanted_range
from pvboot.serve.http.connection import Connection, refusal
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.http.send import FileResponse, Sender
from pvboot.serve.http.server import HttpServer
from pvboot.serve.paths import clean

# Files come out of guests' disks: none may run scripts in the name of this server.
_NO_SCRIPTS: Final = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
# A content's error: the answer is no, or somebody else's server failed; everything else is this server's fault.
_STATUS_OF_EXIT_CODE: Final = {1: 404, 4: 502}
_LAST_SECOND: Final = 253402300799  # of the year 9999: HTTP's dates end there
_HOST = re.compile(r"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Claims in the query, as iPXE scripts and configuration files write them: `?mac=${net0/mac}&uuid=${uuid}`.
_QUERY_CLAIMS: Final = ("mac", "uuid", "hostname", "serial")
# Anaconda's `inst.ks.sendmac` ("eth0 52:54:00:12:34:56") and `inst.ks.sendsn`.
_FIELD_CLAIMS: Final = {"X-RHN-Provisioning-MAC-0": "mac", "X-System-Serial-Number": "serial"}
_CLAIM_CHARACTERS: Final = 255


@dataclass(slots=True)
class Answer:
    """An answer to send and to `close`: `length` bytes of `file` that `extents` stand for, or `body`.

    `reason` says for the journal why the request was refused; "" if it was not.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: ServedFile | None = None
    extents: Sequence[Extent] = ()
    length: int = 0
    reason: str = ""

    def close(self) -> None:
        """Give the file back; once."""
        file, self.file = self.file, None
        if file is not None:
            file.close()


def file_server(content: Content, journal: Journal, limits: HttpLimits) -> HttpServer:
    """Return a server of a content; to be called in its event loop."""
    threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="http")
    manager = web.Server(Files(content, journal, threads), handler_cancellation=True)
    return HttpServer(manager, journal, limits)


class Files:
    """Answers requests out of a content: the handler of an aiohttp server."""

    def __init__(self, content: Content, journal: Journal, threads: Executor) -> None:
        """`threads` look for files, which may take the time of a disk."""
        self._content = content
        self._journal = journal
        self._threads = threads

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; every error becomes an answer."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        who = connection.requester
        if request.method not in ("GET", "HEAD"):
            return self._refuse(who, 405, f"{request.method} of a file", Allow="GET, HEAD")
        try:
            path, slash = _read_path(request)
        except (PvbootError, ValueError) as err:
            return self._refuse(who, 400, str(err))
        who = replace(who, agent=request.headers.get("User-Agent", ""), claims=_claims(request))
        answer = await self._find(request, path, slash, who)
        try:
            if answer.reason:
                self._journal.refuse(who, path, answer.reason)
            return await self._send(request, connection, answer, who, path)
        finally:
            answer.close()

    def _refuse(self, who: Requester, status: int, reason: str, **headers: str) -> web.Response:
        """Refuse a request and what may follow it on the connection: it could be this one's body."""
        self._journal.refuse(who, "", reason)
        answer = refusal(status, reason, Connection="close", **headers)
        answer.force_close()
        return answer

    async def _find(self, request: web.BaseRequest, path: str, slash: bool, who: Requester) -> Answer:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, find, self._content, request, path, slash, who)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close_unused)
            raise

    async def _send(
        self, request: web.BaseRequest, connection: Connection, answer: Answer, who: Requester, path: str
    ) -> web.StreamResponse:
        if answer.body or not answer.length:
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        response = FileResponse(status=answer.status, headers=answer.headers)
        response.content_length = answer.length
        if request.method == "HEAD":
            return response
        connection.prepare_answer(response)
        sender = Sender(answer.extents, answer.length)
        number = self._journal.begin(who, path, answer.length)
        outcome = "error: the server was interrupted"
        try:
            with connection.transfer(number, sender):
                await sender.send(request, response)
            outcome = "done"
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            outcome = connection.outcome
            raise
        except (OSError, PvbootError) as err:
            outcome = f"error: {getattr(err, 'strerror', None) or err}"
            raise
        finally:
            self._journal.end(number, outcome, sender.sent)
        await response.write_eof()
        return response


def _read_path(request: web.BaseRequest) -> tuple[str, bool]:
    """Return the path as content knows it, and whether it ended with a slash.  Raises `ValueError`, `BadPath`."""
    host, raw = request.headers.get("Host", ""), request.rel_url.raw_path
    if _HOST.fullmatch(host) is None:
        raise ValueError("not a host name")
    if request.body_exists:
        raise ValueError("a body, which nothing here takes")
    if _BAD_ESCAPE.search(raw) is not None:
        raise ValueError("not a percent-encoding")
    decoded = unquote_to_bytes(raw.encode("utf-8", "surrogateescape"))
    return clean(decoded), decoded.endswith(b"/")


def _claims(request: web.BaseRequest) -> dict[str, str]:
    """Return what a request says about its sender; the query goes before header fields, the first value before others.

    HEAD claims to `peek`: looking must not use up what is given once.
    """
    query: MultiMapping[str] = request.query
    found = {name: query[name] for name in _QUERY_CLAIMS if name in query}
    for name, claim in _FIELD_CLAIMS.items():
        words = request.headers.get(name, "").split()
        if words:
            found.setdefault(claim, words[-1])
    known = {claim: value for claim, value in found.items() if 0 < len(value) <= _CLAIM_CHARACTERS}
    return {**known, "peek": "yes"} if request.method == "HEAD" else known


def _close_unused(future: asyncio.Future[Answer]) -> None:
    """Close what a thread found after the connection had gone."""
    if not future.cancelled() and future.exception() is None:
        future.result().close()


# --- in a thread ------------------------------------------------------------------------------------------


def find(content: Content, request: web.BaseRequest, path: str, slash: bool, who: Requester) -> Answer:
    """Return the answer to a GET or HEAD; every error becomes one."""
    try:
        opened = content.open(path, who)
        if isinstance(opened, ServedDirectory):
            return _directory(request, path, slash, opened)
        try:
            answer = _plain(404, "a file was asked for as a directory") if slash else _file(request, opened)
        except BaseException:
            opened.close()
            raise
        answer.file = opened
        return answer
    except PvbootError as err:
        return _plain(_STATUS_OF_EXIT_CODE.get(err.exit_code, 500), str(err))
    except Exception as err:  # whatever a file does wrong, the server stays
        return _plain(500, f"{type(err).__name__}: {err}")


def _plain(status: int, reason: str, said: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """Return a refusal: one line for the client; what went wrong inside is for the journal only."""
    response = refusal(status, said, **(headers or {}))
    assert isinstance(response.body, bytes)
    return Answer(status, dict(response.headers), response.body, reason=reason)


def _directory(request: web.BaseRequest, path: str, slash: bool, directory: ServedDirectory) -> Answer:
    if not slash:
        return _plain(301, "", headers={"Location": listing.quoted(path).rstrip("/") + "/"})
    if listing.wants_json(request.headers.get("Accept", "")):
        body, kind = listing.as_json(path, directory), "application/json"
    else:
        body, kind = listing.as_html(path, directory), "text/html; charset=utf-8"
    return Answer(200, {"Content-Type": kind, "Vary": "Accept", **_NO_SCRIPTS}, body)


def _file(request: web.BaseRequest, file: ServedFile) -> Answer:
    modified, whole = _modified(file.mtime), file.size
    headers = {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    if modified is not None:
        headers["Last-Modified"] = formatdate(modified, usegmt=True)
    else:
        headers["Cache-Control"] = "private, no-cache"  # made for this client
    status = precondition(request, file.etag, modified)
    if status == 304:
        return Answer(304, headers)
    if status is not None:
        return _plain(status, "the file is another one", headers=headers)
    try:
        wanted = wanted_range(request, file.etag, modified, whole)
    except Unsatisfiable:
        return _plain(416, "no such range", headers={**headers, "Content-Range": f"bytes */{whole}"})
    start, length = wanted or (0, whole)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{whole}"
    extents = tuple(cut(file.extents(), start, length)) if request.method == "GET" else ()
    headers.update({"Content-Type": file.content_type, **_NO_SCRIPTS})
    return Answer(200 if wanted is None else 206, headers, extents=extents, length=length)


def _modified(mtime: float | None) -> int | None:
    """Return Last-Modified in seconds; never in the future, whatever a guest's clock said (RFC 9110 8.8.2.1)."""
    if mtime is None or not 0 <= mtime <= _LAST_SECOND:
        return None
    return min(int(mtime), int(time.time()))
