"""Errors as HTTP answers: one JSON document (RFC 9457) and its status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp.web import HTTPException, Response

from pvboot.errors import PvbootError
from pvboot.serve.state import errors
from pvboot.serve.state.schemas import Problem
from pvboot.validation import Model

_STATUS: tuple[tuple[type[PvbootError], int], ...] = (
    (errors.StaleError, 412),
    (errors.ConflictError, 409),
    (errors.UnknownRecordError, 404),
    (errors.DescriptionError, 422),
    (errors.StateError, 503),
)

_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class ApiError(Exception):
    """A request that cannot be answered as asked."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def json_response(
    status: int, value: Any, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """Return a JSON answer out of a model or plain values; nothing of it may be kept by caches."""
    plain = value.model_dump(mode="json", by_alias=True) if isinstance(value, Model) else value
    body = json.dumps(plain, ensure_ascii=True, separators=(",", ":")).encode()
    return Response(status=status, body=body, headers={"Content-Type": media_type, **_NO_STORE, **(headers or {})})


def problem(status: int, detail: str, *, code: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem document."""
    title = HTTPStatus(status).phrase
    document = Problem(type="about:blank", title=title, status=status, detail=detail, code=code)
    plain = document.model_dump(exclude_defaults=True)
    return json_response(status, plain, headers, "application/problem+json")


def problem_of(err: Exception) -> Response:
    """Return the answer for an `ApiError`, one of aiohttp's refusals, or one of the project's errors."""
    if isinstance(err, ApiError):
        return problem(err.status, err.detail, headers=err.headers)
    if isinstance(err, HTTPException):
        allowed = {"Allow": err.headers["Allow"]} if "Allow" in err.headers else {}
        return problem(err.status, err.reason, headers=allowed)
    status = next((status for kind, status in _STATUS if isinstance(err, kind)), 500)
    return problem(status, str(err), code=str(getattr(err, "code", "")))
