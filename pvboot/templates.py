"""jinja2 templates that packages carry in `templates/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def environment(package: str, finalize: Callable[[Any], Any] | None = None) -> Environment:
    """Load a package's templates: those for HTML escape every value, after `finalize` has seen it; `json` is a filter.

    A name that a template does not know is an error, and lines with nothing but tags leave no line.
    """
    made = Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["json"] = json.dumps
    return made
