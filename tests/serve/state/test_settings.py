"""Descriptions in the configuration: what is taken, and where a mistake is said to be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.state.errors import DescriptionError
from pvboot.serve.state.profiles import LOCAL, ProfileBody, describe
from tests.serve.state.helpers import CONFIG, load, read_profile


def test_whole_configuration() -> None:
    settings = load(CONFIG)
    assert set(settings.profiles) == {"rescue", "debian"}
    assert settings.clients["web"].mac == "52:54:00:00:00:01"
    assert (settings.default, settings.menus.path, settings.api.read) == ("rescue", "/boot", "open")


def test_nothing_is_a_configuration() -> None:
    assert load({}).default is None


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"state": 7}, "state"),
        ({"default": "a/b"}, "default"),
        ({"menus": {"path": "boot"}}, "menus.path"),
        ({"menus": {"path": "/a/../b"}}, "menus.path"),
        ({"menus": {"colour": 1}}, "menus.colour"),
        ({"menus": {"history_boots": 0}}, "menus.history_boots"),
        ({"api": {"networks": "127.0.0.1"}}, "api.networks"),
        ({"api": {"networks": ["127.0.0.1", "192.0.2.1/24"]}}, "api.networks[1]"),
        ({"api": {"read": "never"}}, "api.read"),
        ({"api": {"read": "token"}}, "api.read"),
        ({"api": {"write_token": "short"}}, "api.write_token"),
        ({"api": {"write_token": "a token with blanks in it"}}, "api.write_token"),
        ({"api": {"write_token_file": "/nonexistent/x"}}, "api.write_token_file"),
        ({"profiles": []}, "profiles"),
        ({"profiles": {"p": {}}}, "profiles.p.kernel"),
        ({"profiles": {"p": {"kernel": "k"}}}, "profiles.p.kernel"),
        ({"profiles": {"p": {"kernel": "/a/../k"}}}, "profiles.p.kernel"),
        ({"profiles": {"p": {"kernel": "ftp://h/k"}}}, "profiles.p.kernel"),
        ({"profiles": {"p": {"kernel": "http://[/k"}}}, "profiles.p.kernel"),
        ({"profiles": {"p": {"kernel": "/k", "args": "a\nb"}}}, "profiles.p.args"),
        ({"profiles": {"p": {"kernel": "/k", "args": "a\0b"}}}, "profiles.p.args"),
        ({"profiles": {"p": {"kernel": "/k", "title": "a\u2028b"}}}, "profiles.p.title"),
        ({"profiles": {"p": {"kernel": "/k", "initrd": ["/i"] * 17}}}, "profiles.p.initrd"),
        ({"profiles": {"p": {"kernel": "/k", "timeout": True}}}, "profiles.p.timeout"),
        ({"profiles": {"p": {"kernel": "/k", "default": 1}}}, "profiles.p.default"),
        ({"profiles": {"p": {"kernel": "/k", "fallback": [0, 0]}}}, "profiles.p.fallback"),
        ({"profiles": {"p": {"kernel": "/k", "kernle": "/k"}}}, "profiles.p.kernle"),
        ({"profiles": {"p": {"kernel": "/k", "entries": [{"title": "x", "local": True}]}}}, "profiles.p.kernel"),
        ({"profiles": {"p": {"entries": []}}}, "profiles.p.entries"),
        ({"profiles": {"p": {"entries": [{"title": "x", "local": True, "args": "a"}]}}}, "profiles.p.entries[0].args"),
        ({"profiles": {"a/b": {"kernel": "/k"}}}, "profiles.a/b"),
        ({"clients": {"c": {}}}, "clients.c"),
        ({"clients": {"c": {"mac": "x"}}}, "clients.c.mac"),
        ({"clients": {"c": {"mac": "525400000001", "profile": 3}}}, "clients.c.profile"),
        ({"clients": {"c": {"mac": "525400000001"}, "d": {"mac": "52:54:00:00:00:01"}}}, "clients.d.mac"),
        ({"clients": {"..": {"mac": "525400000001"}}}, "clients..."),
    ],
)
def test_mistake(config: dict[str, Any], where: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        load(config)
    assert caught.value.where == where


def test_token_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    from_file = load({"api": {"write_token_file": str(tmp_path / "token")}})
    assert from_file.api.writer == load({"api": {"write_token": "0123456789abcdef"}}).api.writer


_KEYS = st.sampled_from([*ProfileBody.model_fields, "file", "x"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_is_a_profile_or_a_clear_error(value: Any) -> None:
    try:
        profile = read_profile("p", value)
    except DescriptionError as err:
        assert err.where.startswith("p")
    else:
        assert read_profile("p", describe(profile)) == profile


def test_the_local_profile_describes_itself() -> None:
    assert read_profile("local", describe(LOCAL)) == LOCAL


def test_checking_a_configuration_needs_no_database_library() -> None:
    code = (
        "import sys, pvboot.serve.state.settings, pvboot.serve.state.render\n"
        "assert not {'sqlalchemy', 'asyncio', 'requests', 'pyparsing'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
