"""The types of the HTTP API's routes: what they are, what they are asked and what they answer from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp.web import Response

from pvboot.serve.api import Content
from pvboot.serve.state.database import Database
from pvboot.serve.state.journal import StateJournal
from pvboot.serve.state.registry import Registry
from pvboot.validation import Model

_TEMPLATE_PART = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The parts of the server that routes answer from.

    `bases` are the server's base URLs by protocol, `counters` returns what its protocols have counted.
    """

    database: Database
    registry: Registry
    journal: StateJournal
    content: Content
    bases: Mapping[str, str]
    counters: Callable[[], dict[str, int]]


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to a route: `names` fills the template, `body` is a value of the route's model, `version` is If-Match's
    (None: not asked for)."""

    context: ApiContext
    names: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: Any
    version: int | None


RouteFunction = Callable[[ApiRequest], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path, which is a template.  `body` and `reply` are models; `reply` None answers without a body
    (204), `dict` with any object."""

    method: str
    path: str
    name: str
    summary: str
    call: RouteFunction
    reply: type | None = None
    body: type[Model] | None = None
    query: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    versioned: bool = False  # answers with an ETag; takes If-Match when it writes

    @property
    def writes(self) -> bool:
        """True if a token is needed whatever the configuration says."""
        return self.method != "GET"

    @property
    def parameters(self) -> list[str]:
        """The names in the template."""
        return _TEMPLATE_PART.findall(self.path)
