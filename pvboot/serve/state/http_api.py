"""The HTTP API: who may ask, what bodies are taken, and which route answers.

There are no cookies, so another site's page cannot act for somebody: the token is sent by those who know it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import re
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp import web

from pvboot.errors import PvbootError
from pvboot.serve.http.connection import Connection
from pvboot.serve.state.bodies import read_body
from pvboot.serve.state.identity import read_address
from pvboot.serve.state.problems import ApiError, problem_of
from pvboot.serve.state.route import ApiContext, ApiRequest, Route
from pvboot.serve.state.routes import OPENAPI_PATH, ROUTES
from pvboot.serve.state.settings import StateSettings, digest

BODY_LIMIT_BYTES = 64 << 10
WRONG_TOKENS, THROTTLE_SECONDS = 10, 60.0
_THROTTLED_ADDRESSES = 1024
_PREFIX = "/api"
_BEARER = re.compile(r"bearer +([!-~]{1,512})", re.IGNORECASE)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_api(application: web.Application, context: ApiContext, threads: Executor) -> None:
    """Add the routes of the API to an application; `threads` wait for the database."""
    application.middlewares.insert(1, _problems)
    throttle = Throttle()
    for route in ROUTES:
        add = (
            application.router.add_get if route.method == "GET" else partial(application.router.add_route, route.method)
        )
        # Any character but the slash: braces, too, which aiohttp leaves out by itself.
        add(re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", route.path), _handler_of(route, context, throttle, threads))


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error below `/api` by a problem document."""
    if request.path != _PREFIX and not request.path.startswith(f"{_PREFIX}/"):
        return await handler(request)
    try:
        _refuse_odd_text(request.rel_url.raw_path, 404)
        _refuse_odd_text(request.rel_url.raw_query_string, 400)
        return await handler(request)
    except (ApiError, PvbootError, web.HTTPException) as err:
        return problem_of(err)


def _refuse_odd_text(encoded: str, status: int) -> None:
    """Refuse bytes that are not UTF-8, and NUL: no record has them, and databases choke on them."""
    try:
        text = unquote_to_bytes(encoded.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ApiError(status, "not a text")


def _handler_of(route: Route, context: ApiContext, throttle: Throttle, threads: Executor) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        assert isinstance(request.protocol, Connection)
        address, sent = request.protocol.requester.address, request.headers.get("Authorization", "")
        public = route.path == OPENAPI_PATH
        authorize(address, sent, context.registry.settings, throttle, writes=route.writes, public=public)
        unknown = sorted(set(request.query) - set(route.query))
        if unknown:
            raise ApiError(400, f"unknown parameter {unknown[0][:40]!a}")
        version = _read_version(request) if route.versioned and route.writes else None
        body = read_body(route.body, await _read_json(request), "body") if route.body is not None else None
        query = {name: request.query.getall(name) for name in request.query}
        asked = ApiRequest(context, request.match_info, query, body, version)
        return await asyncio.get_running_loop().run_in_executor(threads, route.call, asked)

    return handle


class Throttle:
    """Keeps out addresses that have sent many wrong tokens of late: guessing has to take time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise `ApiError` 429 if the address has to wait, whatever its token is."""
        wrong = self._wrong.get(address, deque[float]())
        if len(wrong) == WRONG_TOKENS and (wait := wrong[0] + THROTTLE_SECONDS - self._clock()) > 0:
            raise ApiError(429, "too many wrong tokens", {"Retry-After": str(int(wait) + 1)})

    def count(self, address: str) -> None:
        """Note a wrong token."""
        self._wrong.setdefault(address, deque(maxlen=WRONG_TOKENS)).append(self._clock())
        self._wrong.move_to_end(address)
        if len(self._wrong) > _THROTTLED_ADDRESSES:
            self._wrong.popitem(last=False)


def authorize(
    address: str, authorization: str, settings: StateSettings, throttle: Throttle, *, writes: bool, public: bool = False
) -> None:
    """Let a request pass or raise `ApiError`: 401 (no token, or a wrong one), 403 (nobody, or nobody from there, may),
    429 (too many wrong ones).  `address` is the sender's, "" over a Unix socket."""
    if address and not _is_answered(address, settings):
        raise ApiError(403, f"the API does not answer {address}, which is not in api.networks of the configuration")
    if public or (not writes and settings.api.read == "open"):
        return
    if writes and settings.api.writer is None:
        raise ApiError(403, "no token for writing is configured, so nobody writes")
    sent = _BEARER.fullmatch(authorization.strip())
    if sent is not None:
        throttle.check(address)
    found = digest(sent[1]) if sent else b""
    good = [settings.api.writer] if writes else [settings.api.writer, settings.api.reader]
    # Digests in constant time: how long it takes says nothing about a token.
    if not any(hmac.compare_digest(found, token) for token in good if token is not None):
        if sent is not None:
            throttle.count(address)
        detail = "a token is needed" if sent is None else "the token is wrong"
        raise ApiError(401, detail, {"WWW-Authenticate": 'Bearer realm="pvboot"'})


def _is_answered(address: str, settings: StateSettings) -> bool:
    known = read_address(address)
    return known is not None and any(ipaddress.ip_address(known) in network for network in settings.api.answered)


async def _read_json(request: web.Request) -> Any:
    body = await request.read()
    if len(body) > BODY_LIMIT_BYTES:
        raise ApiError(413, f"the body has more than {BODY_LIMIT_BYTES} bytes")
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "expected a body of type application/json")
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise ApiError(400, f"the body is not JSON: {str(err)[:200]}") from err


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: Python would take the last, and another reader the first."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _read_version(request: web.Request) -> int | None:
    """Return the version that must still be there: If-Match's, or 0 (none at all) for `If-None-Match: *`."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return 0
    wanted = request.headers.get("If-Match", "").strip()
    if wanted in ("", "*"):
        return None
    found = re.fullmatch(r'"([0-9]{1,9})"', wanted)
    if found is None:
        raise ApiError(412, "If-Match does not name a version")
    return int(found[1])
