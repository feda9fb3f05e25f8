"""The server's configuration file (TOML): read, checked, and turned into values.

Profiles, clients and the API's settings are handed on as they are written: `state` knows what they mean.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsdrivers.errors import SourceError
from pvboot.serve.images import ImageLimits
from pvboot.serve.limits import ServerLimits
from pvboot.serve.tables import ConfigError, Source, Table

__all__ = ["Config", "ConfigError", "Mount", "load_config", "read_config"]

PROTOCOLS = ("tftp", "http", "https")
LOG_FORMATS = ("logfmt", "json")
MOUNT_KINDS = ("directory", "images", "image", "url")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")

# The API, the page and the metrics: on this host only, unless the configuration says otherwise.
ADMIN = ("127.0.0.1:8069",)
_SUN_PATH_BYTES = 107  # sun_path of unix(7), less its NUL

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Mount:
    """Something that is served below `path`: `kind` is one of `MOUNT_KINDS`, `target` where it lies.

    `raw` adds the whole image as a file, `options` are those of the fsspec store.
    """

    path: str
    kind: str
    target: str
    raw: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DhcpSettings:
    """What `--print-dhcp` needs besides; texts are empty where nothing was said."""

    subnet: str = ""
    first: str = ""
    last: str = ""
    router: str = ""
    server: str = ""
    menu: str = "/boot/menu.lst"
    bootfile: str = ""
    efi_bootfile: str = ""
    ipxe_script: str = ""
    lease_seconds: int = 3600
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration.  `tables` are those that `state` reads; `host` is by what clients reach this server.

    `listen` are the addresses for guests by protocol, `admin` those for the API, the page and the metrics: a `Path` is
    that of a Unix socket.
    """

    name: str
    listen: Mapping[str, tuple[Address, ...]]
    admin: tuple[Address | Path, ...]
    mounts: tuple[Mount, ...]
    host: str
    user: str | None
    group: str | None
    certificate: str | None
    key: str | None
    log_format: str
    server_limits: ServerLimits
    image_limits: ImageLimits
    tftp_limits: Any
    http_limits: Any
    dhcp: DhcpSettings
    tables: Mapping[str, Any]
    source: Source


# Top-level keys that `state` reads.
STATE_TABLES = ("state", "default", "menus", "api", "profiles", "clients")


def load_config(path: str) -> Config:
    """Read a configuration file.  Relative paths in it count from its directory.  Raises `ConfigError`."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as err:
        raise SourceError(f"cannot be read: {getattr(err, 'strerror', err)}", where=path) from err
    return read_config(data, path)


def read_config(data: bytes, name: str) -> Config:
    """The configuration in a file's bytes.  Raises `ConfigError` for the first mistake."""
    from pvboot.serve.http.limits import HttpLimits
    from pvboot.serve.tftp.limits import TftpLimits

    source = Source(name, data)
    top = Table(source, "", source.document)
    base = os.path.dirname(os.path.abspath(name))
    listening = top.table("listen")
    admin = _read_admin(listening, base)
    listen = _read_listen(listening)
    tls = top.table("tls")
    certificate, key = (_path(base, tls.take(name, str, "")) for name in ("certificate", "key"))
    tls.done()
    if bool(certificate) != bool(key):
        tls.fail("only one of certificate and key", "certificate" if certificate else "key")
    if listen["https"] and not certificate:
        top.fail("https needs a certificate", "listen.https", expected="[tls] certificate and key")
    log = top.table("log")
    log_format = log.take("format", str, LOG_FORMATS[0])
    if log_format not in LOG_FORMATS:
        log.fail("unknown format", "format", expected=" or ".join(LOG_FORMATS), found=repr(log_format))
    log.done()
    limits = top.table("limits")
    config = Config(
        name,
        listen,
        admin,
        _read_mounts(top, base),
        _read_host(top, listen),
        top.take("user", str, "") or None,
        top.take("group", str, "") or None,
        certificate,
        key,
        log_format,
        limits.numbers("server", ServerLimits),
        limits.numbers("images", ImageLimits),
        limits.numbers("tftp", TftpLimits),
        limits.numbers("http", HttpLimits),
        _read_dhcp(top.table("dhcp")),
        {name: top.take(name, object, None) for name in STATE_TABLES if name in source.document},
        source,
    )
    limits.done()
    # So that a misspelt one is compared with them, too.
    for known in STATE_TABLES:
        top.take(known, object, None)
    top.done()
    return config


def _path(base: str, path: str) -> str | None:
    return os.path.join(base, path) if path else None


# --- addresses --------------------------------------------------------------------------------------------


def _read_listen(table: Table) -> dict[str, tuple[Address, ...]]:
    listen = {}
    for protocol in PROTOCOLS:
        texts = table.take_list(protocol, str)
        addresses = []
        for index, text in enumerate(texts):
            address = read_address(text)
            if address is None:
                table.fail(
                    "not an address", f"{protocol}[{index}]", expected="HOST:PORT or [IPv6]:PORT", found=repr(text)
                )
            addresses.append(address)
        listen[protocol] = tuple(addresses)
    table.done()
    return listen


def _read_admin(table: Table, base: str) -> tuple[Address | Path, ...]:
    """Addresses as for guests, or `unix:PATH`; `[]` is none at all."""
    found: list[Address | Path] = []
    for index, text in enumerate(table.take_list("admin", str, ADMIN)):
        path = os.path.join(base, text.removeprefix("unix:"))
        place: Address | Path | None = Path(path) if text.startswith("unix:") else read_address(text)
        if place is None or text == "unix:" or "\0" in text or len(os.fsencode(path)) > _SUN_PATH_BYTES:
            expected = f"HOST:PORT, [IPv6]:PORT or unix:PATH of at most {_SUN_PATH_BYTES} bytes"
            table.fail("not an address", f"admin[{index}]", expected=expected, found=repr(text))
        found.append(place)
    return tuple(found)


def read_address(text: str) -> Address | None:
    """`HOST:PORT` with an IPv4 address, `[IPv6]` or `localhost`; port 0 lets the system choose; None for others."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port[:9]) > 65535 or len(port) > 5:
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if host == "localhost":
        return "127.0.0.1", int(port)
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return None
    return (host, int(port)) if bracketed == (version == 6) else None


def _read_host(top: Table, listen: Mapping[str, tuple[Address, ...]]) -> str:
    """By what clients call this server: said, or the first address that is one, and reachable for others if any is."""
    host = top.take("host", str, "")
    if host:
        if not _HOST_NAME.fullmatch(host) and read_address(f"[{host}]:0") is None:
            top.fail("not a host name or address", "host", found=repr(host))
        return host
    hosts = [host for addresses in listen.values() for host, _ in addresses]
    outer = [host for host in hosts if not ipaddress.ip_address(host).is_loopback]
    named = [host for host in outer or hosts if host not in ("0.0.0.0", "::")]
    return named[0] if named else socket.gethostname()


# --- content ----------------------------------------------------------------------------------------------


def _read_mounts(top: Table, base: str) -> tuple[Mount, ...]:
    mounts: dict[str, Mount] = {}
    for table in top.tables("content"):
        mount = _read_mount(table, base)
        if mount.path in mounts:
            table.fail("two contents at one path", "path", found=mount.path)
        mounts[mount.path] = mount
    return tuple(mounts.values())


def _read_mount(table: Table, base: str) -> Mount:
    path = table.take("path", str, "/")
    parts = path.split("/")[1:]
    clean = path == "/" or (path.startswith("/") and all(part not in ("", ".", "..") for part in parts))
    if not clean or not path.isprintable():
        table.fail("not a clean absolute path", "path", expected="/NAME", found=repr(path))
    given = {kind: table.take(kind, str, "") for kind in MOUNT_KINDS}
    named = [kind for kind in MOUNT_KINDS if given[kind]]
    raw = table.take("raw", bool, False)
    options = table.take("options", dict, {})
    table.done()
    if len(named) != 1:
        table.fail(
            "a content has exactly one source",
            named[1] if named else "path",
            expected=" or ".join(MOUNT_KINDS),
            found=", ".join(named) or "none",
        )
    kind, target = named[0], given[named[0]]
    if raw and kind not in ("images", "image"):
        table.fail("only images have a raw form", "raw")
    if kind == "url":
        scheme, separator, _rest = target.partition("://")
        if not separator or scheme in ("file", "local", "dir") or "::" in target:
            table.fail(
                "not the URL of a store",
                "url",
                expected="s3://..., http://...; directory = for local files",
                found=repr(target),
            )
        return Mount(path, kind, target, False, options)
    if options:
        table.fail("only a url has options", "options")
    target = os.path.join(base, target)
    if kind == "image" and os.path.isdir(target):
        table.fail("is a directory", kind, expected="an image; images = for a directory of them", found=target)
    if kind != "image" and not os.path.isdir(target):
        table.fail("no such directory", kind, found=target)
    if kind == "image" and not os.path.exists(target):
        table.fail("no such image", kind, found=target)
    return Mount(path, kind, target, raw)


# --- DHCP -------------------------------------------------------------------------------------------------


def _read_dhcp(table: Table) -> DhcpSettings:
    values: dict[str, Any] = {}
    for name in ("subnet", "router", "server", "bootfile", "efi_bootfile", "ipxe_script", "interface"):
        values[name] = table.take(name, str, "")
    values["menu"] = table.take("menu", str, "/boot/menu.lst")
    values["lease_seconds"] = table.take("lease_seconds", int, 3600)
    bounds = table.take_list("range", str)
    table.done()
    if bounds and len(bounds) != 2:
        table.fail("a range has two addresses", "range", found=str(len(bounds)))
    values["first"], values["last"] = bounds or ("", "")
    for name, value in values.items():
        # Quotes, separators and comments: the values are printed into other programs' configurations.
        if any(letter in str(value) for letter in "\"\\;{}'#, ") or not str(value).isprintable():
            table.fail("a character that no DHCP server's configuration takes", name, found=repr(value))
    try:
        network = ipaddress.IPv4Network(values["subnet"]) if values["subnet"] else None
    except ValueError:
        table.fail("not an IPv4 network", "subnet", expected="such as 192.0.2.0/24", found=repr(values["subnet"]))
    for name in ("router", "server", "first", "last"):
        key = "range" if name in ("first", "last") else name
        try:
            address = ipaddress.IPv4Address(values[name]) if values[name] else None
        except ValueError:
            table.fail("not an IPv4 address", key, found=repr(values[name]))
        if network is not None and name != "server" and address is not None and address not in network:
            table.fail("outside the subnet", key, expected=str(network), found=str(address))
    if not 60 <= values["lease_seconds"] <= 1 << 31:
        table.fail("out of range", "lease_seconds", expected="60 or more", found=str(values["lease_seconds"]))
    return DhcpSettings(**values)
