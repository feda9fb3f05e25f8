"""The HTTP API: who may ask, what bodies are taken, and which route answers.

There are no cookies, so another site's page cannot act for somebody: the token is sent by whoever knows it.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pvboot.errors import PvbootError
from pvboot.serve.api import Request, Response
from pvboot.serve.state.bodies import read_body
from pvboot.serve.state.identity import read_address
from pvboot.serve.state.problems import ApiError, problem_of
from pvboot.serve.state.route import ApiContext, ApiRequest, Route
from pvboot.serve.state.routes import OPENAPI_PATH, ROUTES
from pvboot.serve.state.settings import StateSettings, digest

BODY_LIMIT_BYTES = 64 << 10
_PREFIX = "/api"
_BEARER = re.compile(r"bearer +([!-~]{1,512})", re.IGNORECASE)


class HttpApi:
    """A `Handler` for everything below `/api/`."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def __call__(self, request: Request) -> Response | None:
        """The answer; every error becomes a problem document."""
        if request.path != _PREFIX and not request.path.startswith(f"{_PREFIX}/"):
            return None
        try:
            return self._answer(request)
        except (ApiError, PvbootError) as err:
            return problem_of(err)

    def _answer(self, request: Request) -> Response:
        route, names = _find(request)
        authorize(request, self._context.registry.settings, writes=route.writes, public=route.path == OPENAPI_PATH)
        _refuse_odd_text(names.values(), 404)
        for values in request.query.values():
            _refuse_odd_text(values, 400)
        unknown = sorted(set(request.query) - set(route.query))
        if unknown:
            raise ApiError(400, f"unknown parameter {unknown[0][:40]!a}")
        body = _read_json(request) if route.body else None
        version = _read_version(request) if route.versioned and route.writes else None
        if route.body is not None:
            body = read_body(route.body, body, "body")
        return route.call(ApiRequest(self._context, names, request.query, body, version))


def _refuse_odd_text(values: Iterable[str], status: int) -> None:
    """Bytes that are no UTF-8 (surrogate escapes here) and NUL: no record has them, and databases choke on them."""
    if any("\0" in value or value != value.encode("utf-8", "replace").decode() for value in values):
        raise ApiError(status, "this is no text")


def _find(request: Request) -> tuple[Route, dict[str, str]]:
    method = "GET" if request.method == "HEAD" else request.method
    allowed = []
    for route in ROUTES:
        names = route.match(request.path)
        if names is not None and route.method == method:
            return route, names
        if names is not None:
            allowed.append(route.method)
    if not allowed:
        raise ApiError(404, "there is no such path in this API")
    if "GET" in allowed:
        allowed.append("HEAD")
    raise ApiError(405, f"{method} is no method of it", {"Allow": ", ".join(sorted(allowed))})


def authorize(request: Request, settings: StateSettings, *, writes: bool, public: bool = False) -> None:
    """Let it pass or raise `ApiError` 401 (no or a wrong token) or 403 (nobody, or nobody from there, may)."""
    address = read_address(request.who.address)
    if address is None or not any(ipaddress.ip_address(address) in network for network in settings.api.answered):
        raise ApiError(403, f"the API does not answer {address}, which is not in api.networks of the configuration")
    if public or (not writes and settings.api.read == "open"):
        return
    if writes and settings.api.writer is None:
        raise ApiError(403, "no token for writing is configured, so nobody writes")
    given = _BEARER.fullmatch(request.headers.get("authorization", "").strip())
    found = digest(given[1]) if given else b""
    good = [settings.api.writer] if writes else [settings.api.writer, settings.api.reader]
    # Digests in constant time: how long it takes says nothing about a token.
    if not any(hmac.compare_digest(found, token) for token in good if token is not None):
        raise ApiError(
            401,
            "a token is needed" if given is None else "the token is wrong",
            {"WWW-Authenticate": 'Bearer realm="pvboot"'},
        )


def _read_json(request: Request) -> Any:
    if len(request.body) > BODY_LIMIT_BYTES:
        raise ApiError(413, f"the body has more than {BODY_LIMIT_BYTES} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "expected a body of type application/json")
    try:
        return json.loads(request.body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise ApiError(400, f"the body is no JSON: {str(err)[:200]}") from err


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Python would take the last of two equal keys, and another reader the first."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _read_version(request: Request) -> int | None:
    """The version that must still be there: If-Match's, or 0 (none at all) for `If-None-Match: *`."""
    if request.headers.get("if-none-match", "").strip() == "*":
        return 0
    wanted = request.headers.get("if-match", "").strip()
    if wanted in ("", "*"):
        return None
    found = re.fullmatch(r'"([0-9]{1,9})"', wanted)
    if found is None:
        raise ApiError(412, "If-Match names no version that there ever was")
    return int(found[1])
