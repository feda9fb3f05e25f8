"""The pages about the server say what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from pvboot.serve.config import Config, read_config
from pvboot.serve.dhcp import print_dhcp
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.images import ImageLimits
from pvboot.serve.limits import ServerLimits
from tests import REPOSITORY

DOCS = REPOSITORY / "docs"
EXAMPLES = re.findall(r"```toml\n(.*?)```", (DOCS / "how-to/serve-guests.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_are_good(text: str, tmp_path: Path) -> None:
    for name in re.findall(r'^(?:images|directory) = "(.*?)"', text, re.MULTILINE):
        (tmp_path / name[1:]).mkdir(parents=True)
        text = text.replace(f'"{name}"', f'"{tmp_path}{name}"')
    for name in re.findall(r'^image = "(.*?)"', text, re.MULTILINE):
        (tmp_path / name[1:]).parent.mkdir(parents=True)
        (tmp_path / name[1:]).write_bytes(b"x")
        text = text.replace(f'"{name}"', f'"{tmp_path}{name}"')
    config = read_config(text.encode(), "serve.toml")
    assert config.content
    if config.dhcp.subnet:
        for kind in ("dnsmasq", "kea"):
            assert "192.0.2.50" in print_dhcp(config, kind)


def keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key of a model and of the models below it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys(kind)


def test_the_reference_has_every_key() -> None:
    pages = [(DOCS / "reference" / "serve-config.md").read_text(), (DOCS / "how-to" / "boot-profiles.md").read_text()]
    named = set(re.findall(r"[`.\[](\w+)", "".join(pages)))
    assert {key.removesuffix("_file") for key in keys(Config)} - named == set()


@pytest.mark.parametrize("kind", [ServerLimits, ImageLimits, HttpLimits])
def test_the_reference_has_the_defaults(kind: type[BaseModel]) -> None:
    """As the page writes them: plain, or in KiB, MiB and GiB."""
    page = (DOCS / "reference" / "serve-config.md").read_text()
    rows = [row.split(" | ") for row in page.splitlines() if row.startswith("| `") and row.count(" | ") >= 2]
    said: dict[str, list[str]] = {}
    for row in rows:
        names = re.findall(r"`(\w+)`", row[0])
        for name, value in zip(names, row[1].split(", "), strict=False):
            said.setdefault(name, []).append(value)
    units = {"KiB": 10, "MiB": 20, "GiB": 30}
    for name, field in kind.model_fields.items():
        values = []
        for text in said[name]:
            number, _, unit = text.partition(" ")
            values.append(float(number) * (1 << units.get(unit, 0)) if number.replace(".", "").isdigit() else text)
        assert field.default in values, name
