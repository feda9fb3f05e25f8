"""The server's configuration file (TOML): the models of its tables, and reading it."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fsdrivers.errors import SourceError
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.images import ImageLimits
from pvboot.serve.limits import ServerLimits
from pvboot.serve.state.settings import StateSettings
from pvboot.serve.tftp.limits import TftpLimits
from pvboot.validation import ConfigError, Items, Mistake, Model, TomlFile, refusal, refuse, show, text_of

__all__ = ["Config", "ConfigError", "Mount", "load_config", "read_config"]

PROTOCOLS = ("tftp", "http", "https")
_SUN_PATH_BYTES = 107  # sun_path of unix(7), less its NUL
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")

Address = tuple[str, int]


def _from_folder(path: str, info: ValidationInfo) -> str:
    """A path as it counts from the file's directory."""
    assert isinstance(info.context, TomlFile)
    return os.path.join(info.context.folder, path) if path else ""


LocalPath = Annotated[str, AfterValidator(_from_folder)]


# --- addresses --------------------------------------------------------------------------------------------


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


def _address(value: object) -> Address:
    address = read_address(text_of(value))
    if address is None:
        raise refuse("not an address", expected="HOST:PORT or [IPv6]:PORT", found=show(value))
    return address


def _admin_address(value: object, info: ValidationInfo) -> Address | Path:
    text = text_of(value)
    if not text.startswith("unix:"):
        return _address(text)
    path = _from_folder(text.removeprefix("unix:"), info)
    if not path or "\0" in path or len(os.fsencode(path)) > _SUN_PATH_BYTES:
        expected = f"HOST:PORT, [IPv6]:PORT or unix:PATH of at most {_SUN_PATH_BYTES} bytes"
        raise refuse("not an address", expected=expected, found=show(value))
    return Path(path)


Addresses = Items[Annotated[Address, BeforeValidator(_address, json_schema_input_type=str)]]
AdminAddresses = Items[Annotated[Address | Path, BeforeValidator(_admin_address, json_schema_input_type=str)]]


class Listen(Model):
    """`[listen]`: the addresses for guests, and in `admin` those for the API, the page and the metrics: on this host
    only unless the configuration says otherwise.  A `Path` is that of a Unix socket."""

    tftp: Addresses = ()
    http: Addresses = ()
    https: Addresses = ()
    admin: AdminAddresses = (("127.0.0.1", 8069),)

    def guests(self, protocol: str) -> tuple[Address, ...]:
        """The addresses of one of `PROTOCOLS`."""
        addresses: tuple[Address, ...] = getattr(self, protocol)
        return addresses


class Tls(Model):
    """`[tls]`"""

    certificate: LocalPath = ""
    key: LocalPath = ""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise refusal(Mistake("only one of certificate and key", "certificate" if self.certificate else "key"))
        return self


class Log(Model):
    """`[log]`"""

    format: Literal["logfmt", "json"] = "logfmt"


class LimitTables(Model):
    """`[limits]`"""

    server: ServerLimits = ServerLimits()
    images: ImageLimits = ImageLimits()
    tftp: TftpLimits = TftpLimits()
    http: HttpLimits = HttpLimits()


# --- content ----------------------------------------------------------------------------------------------

MountKind = Literal["directory", "images", "image", "url"]
MOUNT_KINDS: tuple[MountKind, ...] = get_args(MountKind)


def _clean(path: str) -> str:
    parts = path.split("/")[1:]
    clean = path == "/" or (path.startswith("/") and all(part not in ("", ".", "..") for part in parts))
    if not clean or not path.isprintable():
        raise refuse("not a clean absolute path", expected="/NAME", found=show(path))
    return path


class Mount(Model):
    """`[[content]]`: something that is served below `path`.

    `raw` adds the whole image as a file, `options` are those of the fsspec store.
    """

    path: Annotated[str, AfterValidator(_clean)] = "/"
    directory: LocalPath = ""
    images: LocalPath = ""
    image: LocalPath = ""
    url: str = ""
    raw: bool = False
    options: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def kind(self) -> MountKind:
        """The key that names the source."""
        return next(kind for kind in MOUNT_KINDS if getattr(self, kind))

    @property
    def target(self) -> str:
        """The place of the source: a path or a URL."""
        return str(getattr(self, self.kind))

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [kind for kind in MOUNT_KINDS if getattr(self, kind)]
        if len(named) != 1:
            at, found = named[1] if named else "path", ", ".join(named) or "none"
            raise refusal(Mistake("a content has exactly one source", at, " or ".join(MOUNT_KINDS), found))
        mistakes = self._check_url() if self.url else self._check_local()
        if self.raw and self.kind not in ("images", "image"):
            mistakes.append(Mistake("only images have a raw form", "raw"))
        if self.options and not self.url:
            mistakes.append(Mistake("only a url has options", "options"))
        if mistakes:
            raise refusal(*mistakes)
        return self

    def _check_url(self) -> list[Mistake]:
        scheme, separator, _rest = self.url.partition("://")
        if separator and scheme not in ("file", "local", "dir") and "::" not in self.url:
            return []
        expected = "s3://..., http://...; directory = for local files"
        return [Mistake("not the URL of a store", "url", expected, show(self.url))]

    def _check_local(self) -> list[Mistake]:
        is_directory, target = os.path.isdir(self.target), self.target
        if self.kind != "image":
            return [] if is_directory else [Mistake("no such directory", self.kind, "", target)]
        if is_directory:
            return [Mistake("is a directory", "image", "an image; images = for a directory of them", target)]
        return [] if os.path.exists(target) else [Mistake("no such image", "image", "", target)]


def _one_a_path(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    paths = [mount.path for mount in mounts]
    twice = [at for at, path in enumerate(paths) if path in paths[:at]]
    if twice:
        raise refusal(*(Mistake("two contents at one path", f"[{at}].path", "", paths[at]) for at in twice))
    return mounts


# --- DHCP -------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Refuse quotes, separators and comments: the values are printed into other programs' configurations."""
    if any(letter in text for letter in "\"\\;{}'#, ") or not text.isprintable():
        raise refuse("a character that no DHCP server's configuration takes", found=show(text))
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text)) if text else ""
    except ValueError:
        raise refuse("not an IPv4 network", expected="such as 192.0.2.0/24", found=show(text)) from None


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text)) if text else ""
    except ValueError:
        raise refuse("not an IPv4 address", found=show(text)) from None


Plain = Annotated[str, AfterValidator(_plain)]
Ipv4 = Annotated[Plain, AfterValidator(_ipv4)]


class DhcpSettings(Model):
    """`[dhcp]`, for `--print-dhcp`; texts are empty where the file has none."""

    subnet: Annotated[Plain, AfterValidator(_network)] = ""
    range: Items[Ipv4] = ()
    router: Ipv4 = ""
    server: Ipv4 = ""
    menu: Plain = "/boot/menu.lst"
    bootfile: Plain = ""
    efi_bootfile: Plain = ""
    ipxe_script: Plain = ""
    lease_seconds: Annotated[int, Field(ge=60, le=1 << 31)] = 3600
    interface: Plain = ""

    @model_validator(mode="after")
    def _check_subnet(self) -> Self:
        mistakes = []
        if len(self.range) not in (0, 2):
            mistakes.append(Mistake("a range has two addresses", "range", "", str(len(self.range))))
        network = ipaddress.IPv4Network(self.subnet or "0.0.0.0/0")
        for key, address in (("router", self.router), *(("range", address) for address in self.range)):
            if address and ipaddress.IPv4Address(address) not in network:
                mistakes.append(Mistake("outside the subnet", key, self.subnet, address))
        if mistakes:
            raise refusal(*mistakes)
        return self


# --- the whole --------------------------------------------------------------------------------------------


class Config(StateSettings):
    """A whole configuration.  `host` is how clients reach this server, "" leaves it to `public_host`."""

    host: str = ""
    user: str = ""
    group: str = ""
    tls: Tls = Tls()
    listen: Listen = Listen()
    log: Log = Log()
    content: Annotated[Items[Mount], AfterValidator(_one_a_path)] = ()
    limits: LimitTables = LimitTables()
    dhcp: DhcpSettings = DhcpSettings()
    _file: TomlFile = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Keep the file."""
        self._file = context

    @property
    def file(self) -> TomlFile:
        """The file that the values come from, for errors about it."""
        return self._file

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if host and not _HOST_NAME.fullmatch(host) and read_address(f"[{host}]:0") is None:
            raise refuse("not a host name or address", found=show(host))
        return host

    @field_validator("listen")
    @classmethod
    def _check_https(cls, listen: Listen, info: ValidationInfo) -> Listen:
        if listen.https and "tls" in info.data and not info.data["tls"].certificate:
            raise refusal(Mistake("https needs a certificate", "https", "[tls] certificate and key"))
        return listen

    @cached_property
    def public_host(self) -> str:
        """`host`, or the first listening address that names this host, one that others reach if there is one."""
        hosts = [host for protocol in PROTOCOLS for host, _ in self.listen.guests(protocol)]
        outer = [host for host in hosts if not ipaddress.ip_address(host).is_loopback]
        named = [host for host in outer or hosts if host not in ("0.0.0.0", "::")]
        return self.host or (named[0] if named else socket.gethostname())


def load_config(path: str) -> Config:
    """Read a configuration file.  Raises `ConfigError`, `SourceError`."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as err:
        raise SourceError(f"cannot be read: {getattr(err, 'strerror', err)}", where=path) from err
    return read_config(data, path)


def read_config(data: bytes, name: str) -> Config:
    """The configuration in a file's bytes; relative paths in it count from its directory.  Raises `ConfigError`."""
    return TomlFile(name, data).read(Config)
