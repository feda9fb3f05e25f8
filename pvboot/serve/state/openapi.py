"""The OpenAPI document of the HTTP API, made from the table of routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pvboot
from pvboot.serve.state.route import Route
from pvboot.serve.state.schemas import Problem, schemas
from pvboot.validation import Model


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pvboot serve", "version": pvboot.__version__, "license": {"name": "GPL-2.0-or-later"}},
        "paths": paths,
        "components": {"schemas": schemas(), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route),
        # {} is "no token": reading needs one where the configuration says so.
        "security": [{"token": []}] if route.writes else [{}, {"token": []}],
    }
    if route.body:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    headers = (["If-Match", "If-None-Match"] if route.method == "PUT" else ["If-Match"]) if route.writes else []
    named = {"type": "string", "maxLength": 64}
    return [
        *({"name": name, "in": "path", "required": True, "schema": named} for name in route.parameters),
        *({"name": name, "in": "query", "schema": schema} for name, schema in route.query.items()),
        *({"name": name, "in": "header", "schema": {"type": "string"}} for name in headers if route.versioned),
    ]


def _responses(route: Route) -> dict[str, Any]:
    if route.reply is None:
        responses: dict[str, Any] = {"204": {"description": "Done"}}
    else:
        good: dict[str, Any] = {"description": "As asked", "content": _content(route.reply)}
        if route.versioned:
            good["headers"] = {"ETag": {"schema": {"type": "string"}}}
        responses = {"200": good}
        if route.versioned and route.method == "PUT":
            responses["201"] = {**good, "description": "Made"}
    problem = _content(Problem, "application/problem+json")
    return {**responses, "default": {"description": "A problem", "content": problem}}


def _content(model: type, media_type: str = "application/json") -> dict[str, Any]:
    named = {"$ref": f"#/components/schemas/{model.__name__}"} if issubclass(model, Model) else {"type": "object"}
    return {media_type: {"schema": named}}
