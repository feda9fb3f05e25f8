"""The pages about the API and the profiles name what there is, and their examples are taken."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pvboot.serve.state.history import OUTCOMES
from pvboot.serve.state.names import read_name
from pvboot.serve.state.routes import ROUTES
from pvboot.serve.state.settings import ApiSettings, MenuSettings
from tests import REPOSITORY
from tests.serve.state.helpers import load

DOCS = REPOSITORY / "docs"
API = (DOCS / "reference" / "serve-api.md").read_text()
PROFILES = (DOCS / "how-to" / "boot-profiles.md").read_text()


def test_the_reference_names_every_route() -> None:
    described = set()
    for methods, path in re.findall(r"^\| `(GET.*?) (/[^`?]*)[^|]*` \|", API, re.MULTILINE):
        described |= {(method, f"/api/v1{path}") for method in re.findall("[A-Z]+", methods)}
    assert described == {(route.method, route.path) for route in ROUTES}


def test_the_reference_names_every_outcome() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \| ", API, re.MULTILINE)) == set(OUTCOMES)


def test_the_examples_are_configurations(tmp_path: Path) -> None:
    example, api = re.findall(r"```toml\n(.*?)```", PROFILES, re.DOTALL)
    (tmp_path / "token").write_text("0123456789abcdef\n")
    assert load(tomllib.loads(api.replace("/etc/pvboot/token", str(tmp_path / "token")))).api.writer is not None
    settings = load(tomllib.loads(example))
    assert (set(settings.profiles), set(settings.clients)) == ({"rescue", "web"}, {"web1", "db1"})


def test_every_key_of_the_configuration_is_described() -> None:
    keys = [f"api.{key}" for key in ApiSettings.model_fields if not key.endswith("_file")] + [
        f"menus.{key}" for key in MenuSettings.model_fields
    ]
    assert [key for key in keys if f"`{key}`" not in PROFILES] == []


def test_the_names_of_menus_in_the_page_are_menus() -> None:
    names = re.findall(r"`((?:menu\.lst|grub\.cfg|boot\.ipxe)[^`]*)`", PROFILES)
    concrete = [name for name in names if "$" not in name and "MAC" not in name]
    assert len(concrete) > 6
    assert [name for name in concrete if read_name(f"/boot/{name}", "/boot") is None] == []
