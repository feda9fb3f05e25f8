"""HTTP(S) requests that end: bounded redirects, answers and time, whatever the server does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from pvboot.errors import UsageError
from pvboot.fetch.errors import FetchError
from pvboot.fetch.settings import Pace
from pvboot.fetch.urls import Url, parse_url
from pvboot.grub_errors import shorten

if TYPE_CHECKING:
    from pvboot.fetch.settings import FetchLimits

CHUNK_BYTES: Final = 64 << 10
REDIRECTS: Final = (301, 302, 303, 307, 308)
LOCATION_LIMIT: Final = 4096


class BrokenTransferError(FetchError):
    """The connection failed or broke; another attempt may do better."""


class _Watch:
    """A watchdog that ends the running request when its time is over, by shutting its socket down.

    Time limits of sockets count from byte to byte; a server that drips would never meet them.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._socket: socket.socket | None = None
        self._pace: Pace | None = None
        self.expired = False

    def holds(self, source: socket.socket) -> None:
        """Note the socket from which the answer is read."""
        with self._lock:
            self._socket = source

    def check(self) -> None:
        """Raise `OSError` if the time was over: to a reader, a socket that was shut down has just ended."""
        if self.expired:
            raise TimeoutError("too slow")

    @contextmanager
    def over(self, pace: Pace) -> Iterator[None]:
        """Watch while the block runs."""
        with self._lock:
            self._pace, self._socket, self.expired = pace, None, False
        thread = threading.Thread(target=self._run, args=(pace,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._pace = self._socket = None
                self._lock.notify_all()
            thread.join()

    def _run(self, pace: Pace) -> None:
        with self._lock:
            while self._pace is pace:
                left = pace.deadline - time.monotonic()
                if left > 0:
                    self._lock.wait(left)
                    continue
                self.expired = True
                if self._socket is not None:
                    with suppress(OSError):  # it is closed already
                        # Not TLS's own, which would have the reader take what is still encrypted for content.
                        socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                self._lock.wait(0.1)  # the socket may come later, or the reader needs a moment


def _pools(watch: _Watch) -> dict[str, type[HTTPConnectionPool]]:
    """Pools of connections that give the watch their socket when an answer is awaited."""

    def watched(kind: Any) -> Any:
        def getresponse(self: HTTPConnection) -> Any:
            watch.holds(self.sock)
            return kind.getresponse(self)

        return type(kind.__name__, (kind,), {"getresponse": getresponse})

    pools = {"http": (HTTPConnectionPool, HTTPConnection), "https": (HTTPSConnectionPool, HTTPSConnection)}
    return {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": watched(kind)}) for scheme, (pool, kind) in pools.items()
    }


class _Adapter(HTTPAdapter):
    def __init__(self, watch: _Watch) -> None:
        self._pools = _pools(watch)
        super().__init__(pool_connections=4, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


class Answer:
    """A response whose body has not been read yet."""

    def __init__(self, response: requests.Response, url: Url, pace: Pace, watch: _Watch) -> None:
        self._response = response
        self._pace = pace
        self._watch = watch
        self.url = url
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    @property
    def reason(self) -> str:
        """`404 Not Found`, harmless and short."""
        return f"{self.status} {shorten(self._response.reason or '')}".rstrip()

    @property
    def size(self) -> int | None:
        """Content-Length.  Raises `FetchError` if it is not a number."""
        text = self.headers.get("Content-Length")
        if text is None or "Transfer-Encoding" in self.headers:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise FetchError("the server's Content-Length is not a number", where=str(self.url), found=shorten(text))
        return int(text)

    @property
    def etag(self) -> str | None:
        """A strong entity tag, None for weak ones: they promise nothing about bytes."""
        tag = self.headers.get("ETag", "")
        return tag if tag.startswith('"') and len(tag) < 1000 else None

    @property
    def modified(self) -> str | None:
        """Last-Modified as it was sent."""
        return self.headers.get("Last-Modified")

    def chunks(self) -> Iterator[bytes]:
        """The body as it is sent, in pieces.  Raises `BrokenTransferError` if it breaks or is slow."""
        received = 0
        # The end of the connection is the end of a body without a length: it must not be our own doing.
        with translated(self.url, self._watch):
            # Not `stream`, which reads the line before a chunk to its end, however far that is.
            while chunk := self._response.raw.read(CHUNK_BYTES, decode_content=False):
                self._watch.check()
                received += len(chunk)
                self._pace.count(received)
                yield chunk
            self._watch.check()

    def read(self, limit_bytes: int) -> bytes:
        """The whole body.  Raises `FetchError` if it is longer than `limit_bytes`."""
        pieces, total = [], 0
        for chunk in self.chunks():
            total += len(chunk)
            if total > limit_bytes:
                expected = f"at most {limit_bytes} bytes"
                raise FetchError("the answer is too large", where=str(self.url), expected=expected)
            pieces.append(chunk)
        return b"".join(pieces)

    def close(self) -> None:
        """Let the connection go (back to the pool if the body was read to its end)."""
        self._response.close()


class _Session(requests.Session):
    """A session that leaves redirects alone: requests would read the whole body of one even without following it."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class HttpClient:
    """A session with kept-alive connections.  Not for several threads at once."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._watch = _Watch()
        self._kept: set[tuple[str, str, int]] = set()  # servers to which a connection may still be open
        self._session = _Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update({"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "pvboot"})
        self._session.adapters.clear()
        adapter = _Adapter(self._watch)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    @contextmanager
    def request(
        self, method: str, url: Url, headers: Mapping[str, str] | None = None, *, follow: bool = True
    ) -> Iterator[Answer]:
        """The answer to a request, redirects followed to http and https only (never from https to http).

        Raises `FetchError`; `BrokenTransferError` if trying again makes sense.
        """
        pace = Pace(self._limits)
        with self._watch.over(pace):
            answer = self._ask(method, url, headers or {}, pace, follow)
            try:
                yield answer
            finally:
                answer.close()

    def _ask(self, method: str, url: Url, headers: Mapping[str, str], pace: Pace, follow: bool) -> Answer:
        asked, user = url, url.user
        for _ in range(self._limits.redirects + 1):
            answer = Answer(self._send(method, asked, user, headers), asked, pace, self._watch)
            if answer.status not in REDIRECTS or not follow:
                return answer
            # The body of a redirect is not read: it may be endless.
            answer.close()
            target = redirect_target(answer)
            if target.origin != asked.origin:
                user = ""
            asked = target
        raise FetchError("too many redirects", where=str(url), expected=f"at most {self._limits.redirects}")

    def _send(self, method: str, url: Url, user: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            response = self._send_once(method, url, user, headers)
        except BrokenTransferError:
            if url.origin not in self._kept or self._watch.expired:
                raise
            # The server may have closed the connection that was kept, as it may at any time.
            self._kept.discard(url.origin)
            response = self._send_once(method, url, user, headers)
        self._kept.add(url.origin)
        return response

    def _send_once(self, method: str, url: Url, user: str, headers: Mapping[str, str]) -> requests.Response:
        name, _colon, password = user.partition(":")
        credentials = (unquote(name), unquote(password)) if user else None
        wait = self._limits.wait_seconds
        with translated(url, self._watch):
            response = self._session.request(
                method,
                str(url),
                headers=dict(headers),
                auth=credentials,
                stream=True,
                allow_redirects=False,
                timeout=(wait, wait),
            )
            self._watch.check()
            return response


def redirect_target(answer: Answer) -> Url:
    """The target of a redirect.  Raises `FetchError` for other protocols than http(s), and from https to http."""
    location = answer.headers.get("Location", "")
    # The parts of a header that are not ASCII are UTF-8 taken for Latin-1.
    location = location.encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        if not location.strip("/") or len(location) > LOCATION_LIMIT:
            raise UsageError("no address")
        target = parse_url(urljoin(str(answer.url), location).partition("#")[0])
    except (UsageError, ValueError) as err:
        raise FetchError("the server redirects to nowhere", where=str(answer.url), found=str(err)) from err
    if target.scheme == "tftp" or (answer.url.scheme, target.scheme) == ("https", "http"):
        raise FetchError("the server redirects to another protocol", where=str(answer.url), found=str(target))
    return target


@contextmanager
def translated(url: Url, watch: _Watch) -> Iterator[None]:
    """Turn the libraries' errors into `FetchError`."""
    try:
        yield
    except (requests.exceptions.SSLError, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as err:
        reason = _reason(err)
        expected = "an authority that REQUESTS_CA_BUNDLE names" if "CERTIFICATE_VERIFY_FAILED" in reason else ""
        raise FetchError("no connection to the server", where=str(url), expected=expected, found=reason) from err
    except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as err:
        if watch.expired:
            raise BrokenTransferError("the server is too slow", where=str(url)) from err
        by_proxy = " to the proxy" if isinstance(err, requests.exceptions.ProxyError) else ""
        raise BrokenTransferError(f"the connection{by_proxy} failed", where=str(url), found=_reason(err)) from err


def _reason(err: BaseException) -> str:
    """The innermost cause: the libraries wrap errors four deep."""
    seen = 0
    while seen < 8:
        inner = getattr(err, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in err.args if isinstance(arg, BaseException)), err.__cause__)
        if inner is None:
            break
        err, seen = inner, seen + 1
    text = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
    return shorten(text.replace("\n", " "), 200) or type(err).__name__
