"""The reference page says what the code does."""

from __future__ import annotations

import re

from pvboot.serve.http.limits import HttpLimits
from tests import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reference" / "http-server.md").read_text()
SOURCE = "".join(path.read_text() for path in (REPOSITORY / "pvboot" / "serve" / "http").glob("*.py"))


def test_the_page_has_every_limit_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE))
    defaults = HttpLimits().model_dump()
    assert rows == {name: str(int(value)) for name, value in defaults.items()}


def test_the_page_has_every_count() -> None:
    assert set(re.findall(r"^\| `(http_\w+)` \|", PAGE, re.MULTILINE)) == set(re.findall(r'count\("(\w+)"', SOURCE))


def test_the_page_has_every_status() -> None:
    written = {int(status) for status in re.findall(r"(?:refusal|refuse|_refuse|_plain)\((?:who, )?(\d{3})", SOURCE)}
    assert written <= {int(status) for status in re.findall(r"\b[1-5]\d\d\b", PAGE)}
