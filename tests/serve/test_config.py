"""The configuration: what is taken, and one line for every mistake."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.errors import PvbootError
from pvboot.serve.config import ConfigError, read_address, read_config

LISTEN = '[listen]\nhttp = ["127.0.0.1:80"]\n'

# A file, " ; " between its lines, and its message after the file's name.
MISTAKES = r"""
[listen -> 1: not TOML: Expected ']' at the end of a table declaration
user = "x" ; frob = 1 -> 2: frob: unknown key (expected
[lisen] ; tftp = [] -> 1: lisen: unknown key (expected listen?)
[listen] ; tfpt = [] -> 2: listen.tfpt: unknown key (expected tftp?)
[listen] ; tftp = "x" -> 2: listen.tftp: wrong kind of value (expected a list, found text)
[listen] ; tftp = [1] -> 2: listen.tftp[0]: wrong kind of value (expected text, found a whole number)
[listen] ; tftp = ["[::1]"] -> 2: listen.tftp[0]: not an address (expected HOST:PORT
[listen] ; admin = ["unix:"] -> 2: listen.admin[0]: not an address (expected HOST:PORT, [IPv6]:P
[listen] ; https = ["[::1]:443"] -> 2: listen.https: https needs a certificate
[tls] ; key = "x" -> 2: tls.key: only one of certificate and key
[[content]] ; path = "x" ; directory = "/" -> 2: content[0].path: not a clean absolute path
[[content]] ; path = "/a/../b" ; directory = "/" -> 2: content[0].path: not a clean
[[content]] ; path = "/" -> 2: content[0].path: a content has exactly one source (expected direc
[[content]] ; directory = "/" ; image = "/" -> 3: content[0].image: a content has exactly one
[[content]] ; directory = "nowhere" -> 2: content[0].directory: no such directory
[[content]] ; image = "nowhere" -> 2: content[0].image: no such image
[[content]] ; image = "/" -> 2: content[0].image: is a directory
[[content]] ; url = "file:///etc" -> 2: content[0].url: not the URL of a store
[[content]] ; directory = "/" ; raw = true -> 3: content[0].raw: only images have a raw form
[[content]] ; directory = "/" ; options = { a = 1 } -> 3: content[0].options: only a url has options
[[content]] ; directory = "/" ; [[content]] ; path = "/x" ; directroy = "/" -> 5: content[1].directroy: unknown key (exp
[[content]] ; directory = "/" ; [[content]] ; path = "/" ; directory = "/" -> 4: content[1].path: two contents
[limits.http] ; conections = 1 -> 2: limits.http.conections: unknown key (expected connections?)
[limits.tftp] ; blksize = 99999 -> 2: limits.tftp.blksize: out of range (expected at most 65464, found 99999)
[limits.tftp] ; timeout = 0.1 -> 2: limits.tftp.timeout: out of range (expected at least 0.2
[limits.images] ; readers = true -> 2: limits.images.readers: wrong kind of value
[limits.images] ; readers = -1 -> 2: limits.images.readers: out of range
[log] ; format = "xml" -> 2: log.format: unknown value (expected logfmt or json, found 'xml')
[dhcp] ; subnet = "192.0.2.0/33" -> 2: dhcp.subnet: not an IPv4 network
[dhcp] ; subnet = "192.0.2.0/24" ; range = ["192.0.3.1", "192.0.2.9"] -> 3: dhcp.range: outside
[dhcp] ; menu = "/a\nlog-dhcp" -> 2: dhcp.menu: a character that no DHCP server
[dhcp] ; menu = "/a\"; b" -> 2: dhcp.menu: a character that no DHCP server
[profiles.x] ; kernel = "/k" ; [clients.a] ; mac = "zz" -> 4: clients.a.mac: not a MAC address
""".strip().splitlines()


@pytest.mark.parametrize("row", MISTAKES)
def test_a_mistake_is_one_line_with_its_place(row: str) -> None:
    text, message = row.split(" -> ")
    with pytest.raises(ConfigError) as caught:
        read_config((text.replace(" ; ", "\n") + "\n").encode(), "serve.toml")
    assert str(caught.value).startswith(f"serve.toml:{message}")
    assert "\n" not in str(caught.value)


def test_a_unix_socket_has_a_short_path() -> None:
    read_config(f'[listen]\nadmin = ["unix:/{"x" * 106}"]\n'.encode(), "serve.toml")
    with pytest.raises(ConfigError, match=r"listen.admin\[0\]: not an address"):
        read_config(f'[listen]\nadmin = ["unix:/{"x" * 107}"]\n'.encode(), "serve.toml")


def test_check_config_prints_all_mistakes_in_the_order_of_the_file(run_cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(
        '[listen]\ntftp = ["x"]\nhttps = ["[::1]:443"]\n[[content]]\npath = "x"\nurl = 1\n'
        '[profiles."a.b"]\nkernle = "/k"\nargs = "\\u0007"\n[clients.a]\nmac = "zz"\n[frob]\n'
    )
    done = run_cli("serve", config, "--check-config")
    places = [line.removeprefix(f"pvboot: {config}:").split(": ")[:2] for line in done.stderr.splitlines()]
    assert places == [
        ["2", "listen.tftp[0]"],
        ["5", "content[0].path"],
        ["6", "content[0].url"],
        ["8", "profiles.a.b.kernle"],
        ["9", "profiles.a.b.args"],
        ["11", "clients.a.mac"],
        ["12", "frob"],
    ]
    assert done.returncode == 2
    assert done.stdout == ""
    served = run_cli("serve", config)
    assert (served.returncode, served.stderr.count("\n")) == (2, 1)


def test_a_name_with_brackets_has_the_line_of_its_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^serve.toml: clients.a\[b.mac: not a MAC"):
        read_config(b'[clients."a[b"]\nmac = "zz"\n', "serve.toml")


def test_check_config_says_good(run_cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(LISTEN)
    assert run_cli("serve", config, "--check-config").stdout == f"{config}: good\n"
    assert run_cli("serve", config, "--check-config", "--json").stdout == f'{{"config": "{config}", "ok": true}}\n'
    assert run_cli("serve", tmp_path / "none", "--check-config").returncode == 3
    assert run_cli("serve").returncode == 2


def test_nothing_to_listen_on_is_refused(run_cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text("")
    done = run_cli("serve", config)
    assert done.returncode == 2
    assert "nothing to listen on" in done.stderr


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    text = LISTEN + '[[content]]\ndirectory = "here"\n[limits.tftp]\nports = [2000, 2100]\nsession_seconds = 5\n'
    config = read_config(text.encode(), str(tmp_path / "serve.toml"))
    assert [mount.target for mount in config.content] == [str(tmp_path / "here")]
    assert config.limits.tftp.ports == (2000, 2100)
    assert config.limits.tftp.session_seconds == 5.0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:69", ("127.0.0.1", 69)),
        ("[::]:0", ("::", 0)),
        ("localhost:8", ("127.0.0.1", 8)),
        ("[fe80::1%eth0]:69", ("fe80::1%eth0", 69)),
        ("::1:69", None),
        ("[127.0.0.1]:69", None),
        ("1.2.3.4", None),
        ("1.2.3.4:", None),
        ("1.2.3.4:70000", None),
        ("1.2.3.4:\u0664", None),
        ("host:1", None),
        (":69", None),
    ],
)
def test_addresses(text: str, address: tuple[str, int] | None) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize(
    ("module", "config", "extra"),
    [
        ("sqlalchemy", 'state = "/nowhere/state.db"\n', "pvboot[serve]"),
        ("psycopg", 'state = "postgresql://127.0.0.1/x"\n', "pvboot[postgresql]"),
        ("fsspec", '[[content]]\nurl = "s3://x/y"\n', "pvboot[remote]"),
    ],
)
def test_check_config_names_the_extra_that_is_missing(
    run_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, config: str, extra: str
) -> None:
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text("raise ModuleNotFoundError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "serve.toml").write_text(config + LISTEN)
    done = run_cli("serve", tmp_path / "serve.toml", "--check-config")
    assert done.returncode == 2
    assert f"pip install '{extra}'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("http", "https", "host"),
    [
        ("127.0.0.1:80", "[::1]:443", "127.0.0.1"),
        ("127.0.0.1:80", "192.0.2.1:443", "192.0.2.1"),
        ("0.0.0.0:80", "192.0.2.1:443", "192.0.2.1"),
        ("0.0.0.0:80", "127.0.0.1:443", socket.gethostname()),
    ],
)
def test_the_host_in_menus_is_one_that_others_reach(http: str, https: str, host: str) -> None:
    listen = f'[listen]\nhttp = ["{http}"]\nhttps = ["{https}"]\n[tls]\ncertificate = "c"\nkey = "k"\n'
    assert read_config(listen.encode(), "serve.toml").public_host == host


@pytest.mark.parametrize(
    ("line", "admin"),
    [
        ("", [("127.0.0.1", 8069)]),
        ("admin = []", []),
        ('admin = ["[::1]:0", "unix:/run/pvboot.sock"]', [("::1", 0), Path("/run/pvboot.sock")]),
        ('admin = ["unix:api.sock"]', [Path("/etc/pvboot/api.sock")]),
    ],
)
def test_the_api_has_a_listener_of_its_own(line: str, admin: list[object]) -> None:
    assert list(read_config((LISTEN + line).encode(), "/etc/pvboot/serve.toml").listen.admin) == admin


@given(
    st.text(max_size=200)
    | st.recursive(
        st.sampled_from(["[listen]", "[[content]]", "a = 1", "x.y = []"]),
        lambda lines: st.lists(lines, max_size=6).map("\n".join),
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_config(text.encode("utf-8", "surrogatepass"), "serve.toml")
    except PvbootError as err:
        assert str(err)
