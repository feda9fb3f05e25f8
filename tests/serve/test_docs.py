"""The pages about the server say what it takes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pvboot.serve.config import DhcpSettings, read_config
from pvboot.serve.daemon import check_state_tables
from pvboot.serve.dhcp import print_dhcp
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.images import ImageLimits
from pvboot.serve.limits import ServerLimits
from pvboot.serve.tftp.limits import TftpLimits
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
    check_state_tables(config)
    assert config.mounts
    if config.dhcp.subnet:
        for kind in ("dnsmasq", "kea", "isc"):
            assert "192.0.2.50" in print_dhcp(config, kind)


def test_the_reference_has_every_key() -> None:
    page = (DOCS / "reference" / "serve-config.md").read_text()
    named = set(re.findall(r"`(?:\w+\.)?(\w+)`", page))
    limits = {field.name for kind in (ServerLimits, ImageLimits, HttpLimits, TftpLimits) for field in fields(kind)}
    dhcp = {field.name for field in fields(DhcpSettings)} - {"first", "last"} | {"range"}
    content = {"path", "directory", "images", "image", "url", "raw", "options"}
    top = {"host", "user", "group", "state", "tftp", "http", "https", "admin", "certificate", "key", "format"}
    assert not (limits | dhcp | content | top) - named


@pytest.mark.parametrize("kind", [ServerLimits, ImageLimits, HttpLimits])
def test_the_reference_has_the_defaults(kind: type) -> None:
    """As the page writes them: plain, or in KiB, MiB and GiB."""
    page = (DOCS / "reference" / "serve-config.md").read_text()
    rows = [row.split(" | ") for row in page.splitlines() if row.startswith("| `") and row.count(" | ") >= 2]
    said: dict[str, list[str]] = {}
    for row in rows:
        names = re.findall(r"`(\w+)`", row[0])
        for name, value in zip(names, row[1].split(", "), strict=False):
            said.setdefault(name, []).append(value)
    units = {"KiB": 10, "MiB": 20, "GiB": 30}
    for field in fields(kind):
        values = []
        for text in said[field.name]:
            number, _, unit = text.partition(" ")
            values.append(float(number) * (1 << units.get(unit, 0)) if number.replace(".", "").isdigit() else text)
        assert field.default in values, field.name
