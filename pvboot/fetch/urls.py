"""URLs: read strictly, printed without secrets, joined without leaving their directory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from fsdrivers.errors import NotFound
from pvboot.errors import UsageError
from pvboot.grub_errors import shorten

PORTS: Final = {"http": 80, "https": 443, "tftp": 69}
URL_LIMIT: Final = 4096  # characters
DIGEST_LETTERS: Final = {"sha256": 64, "sha512": 128}

_PATH_SAFE: Final = "/!$&'()*+,;=:@~-._"
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}(?<!-)")
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user>[^/?#]*)@)?(?P<host>\[[^\]/?#@]*\]|[^/?#@:\[\]]*)"
    r"(?::(?P<port>[^/?#@]*))?(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Checksum:
    """`algorithm` is "sha256" or "sha512", `digest` hexadecimal in small letters."""

    algorithm: str
    digest: str


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL.

    `host` stands without brackets; `port` is None for the scheme's own; `path` begins with a slash and is escaped as it
    is sent by HTTP; `user` ("name:password", still escaped) is never printed.
    """

    scheme: str
    host: str
    port: int | None = None
    path: str = "/"
    query: str = ""
    user: str = field(default="", repr=False)
    checksum: Checksum | None = None

    def __str__(self) -> str:
        """The URL for messages and requests: no user, no password, no checksum."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.server}{self.path}{query}"

    @property
    def server(self) -> str:
        """`host` or `host:port`, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def number(self) -> int:
        """The port, the scheme's own if none is given."""
        return self.port or PORTS[self.scheme]

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: equal for two URLs of one server."""
        return self.scheme, self.host.lower(), self.number

    @property
    def is_directory(self) -> bool:
        """True if the path ends in a slash."""
        return self.path.endswith("/")

    @property
    def file_name(self) -> str:
        """The last part of the path, as the server's disk has it."""
        return decode(self.path.rpartition("/")[2])

    @property
    def directory(self) -> Url:
        """The directory of the file, or the directory itself."""
        return replace(self, path=self.path.rpartition("/")[0] + "/", query="", checksum=None)

    @property
    def tftp_name(self) -> bytes:
        """The file name of a TFTP request: what follows the first slash (RFC 3617)."""
        return unquote_to_bytes(self.path[1:])

    def child(self, parts: tuple[str, ...], *, directory: bool = False) -> Url:
        """A file (or directory) below this directory.

        Raises `NotFound` for names that a URL cannot carry or that would lead elsewhere.
        """
        for part in parts:
            if part in ("", ".", "..") or "/" in part or "\0" in part:
                raise NotFound("no such file", where=f"{self}: {shorten(part)!r}")
        escaped = "/".join(quote_from_bytes(_encode(part), safe="!$&'()*+,;=:@~-._") for part in parts)
        path = f"{self.path}{escaped}{'/' if directory and parts else ''}"
        if len(path) > URL_LIMIT:
            raise NotFound("no such file: its name is too long", where=str(self))
        return replace(self, path=path, query="", checksum=None)


def parse_url(text: str) -> Url:
    """Read `http(s)://[USER:PASSWORD@]HOST[:PORT]/PATH[?QUERY][#sha256=HEX]` or the same with `tftp://`.

    A missing path is "/"; letters outside of ASCII in path and query are escaped as UTF-8.  Raises `UsageError`, whose
    text never holds user or password.
    """
    try:
        return _parse(text)
    except UsageError as err:
        err.where = shorten(re.sub(r"//[^/?#]*@", "//", text))
        raise


def _parse(text: str) -> Url:
    match = _URL.fullmatch(text)
    if match is None or len(text) > URL_LIMIT:
        raise UsageError("not a URL", expected=f"scheme://host/path of at most {URL_LIMIT}")
    scheme = match["scheme"].lower()
    if scheme not in PORTS:
        raise UsageError("this kind of URL is not fetched", expected="http, https or tftp", found=scheme)
    if any(letter <= " " or letter in "\x7f\\" for letter in text):
        raise UsageError("a URL holds no blanks, backslashes or control characters")
    path, query = (_escape(match[part] or "") for part in ("path", "query"))
    url = Url(
        scheme,
        _read_host(match["host"]),
        _read_port(match["port"]),
        path or "/",
        query,
        match["user"] or "",
        read_checksum(match["fragment"], "") if match["fragment"] else None,
    )
    if scheme == "tftp" and (url.user or url.query):
        raise UsageError("a tftp URL has neither user nor query")
    if any(part in (".", "..") for part in decode(url.path).split("/")):
        raise UsageError("a URL's path holds no '.' or '..'")
    if b"\0" in unquote_to_bytes(url.path):
        raise UsageError("a URL's path holds no NUL")
    return url


def read_checksum(text: str, where: str) -> Checksum:
    """`sha256=HEX` or `sha512=HEX`.  Raises `UsageError`."""
    algorithm, _equals, digest = text.partition("=")
    digest = digest.lower()
    if len(digest) != DIGEST_LETTERS.get(algorithm, -1) or digest.strip("0123456789abcdef"):
        expected = "sha256=64 or sha512=128 hexadecimal digits"
        raise UsageError("not a checksum", where=where, expected=expected, found=shorten(text))
    return Checksum(algorithm, digest)


def _read_host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except AddressValueError as err:
            raise UsageError("not an IPv6 address", found=shorten(host)) from err
    if not _HOST.fullmatch(host):
        raise UsageError("not a host name or address", found=shorten(host) or "none")
    return host


def _read_port(port: str | None) -> int | None:
    if not port:
        return None
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 1 <= int(port) <= 0xFFFF):
        raise UsageError("not a port", expected="1 to 65535", found=shorten(port))
    return int(port)


def _escape(part: str) -> str:
    if _BROKEN_ESCAPE.search(part):
        raise UsageError("a URL has two hexadecimal digits behind every '%'")
    return quote(_encode(part), safe=_PATH_SAFE + "%?[]")


def _encode(text: str) -> bytes:
    """Encode a name.  Raises `NotFound` for half of a surrogate pair, which no server has."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as err:
        raise NotFound("no such file", where=repr(shorten(text))) from err


def decode(escaped: str) -> str:
    """A part of a path as the server's disk has it."""
    return unquote_to_bytes(escaped).decode("utf-8", "surrogateescape")
