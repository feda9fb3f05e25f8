"""Requests from bytes: strict where senders and receivers could come to read them differently (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

# Those that a file or a handler may answer; others do not exist here (501).
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"})

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])")
# The whole section at once.  No space before the colon, no folded line, no control character, no bare CR or LF.
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*")
_ABSOLUTE = re.compile(rb"https?://[^/?#@]+(?=[/?]|\Z)", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LENGTH = re.compile(r"[0-9]{1,15}")
# Two of one of these would let two readers see two different requests.
_SINGLE = frozenset({"host", "content-length", "transfer-encoding", "expect", "authorization", "content-type", "range"})
_QUERY_FIELDS = 64


class BadRequest(Exception):  # noqa: N818  (what it is)
    """A request that is refused for its form; `status` is the answer's, the text its reason in a few words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body.

    `path` is percent-decoded once and otherwise as the client wrote it; `query` not decoded.  `headers` has lower-case
    names, values as Latin-1, repeated fields joined with ", ".  `keep_alive` is what the client wishes.
    `body_bytes` is what Content-Length says, 0 without one; `expects` that the client waits for "100 Continue".
    """

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, str]
    keep_alive: bool
    body_bytes: int
    expects: bool


def parse_head(data: bytes, max_fields: int) -> Head:
    """The head of a request; `data` ends with the empty line.  Raises `BadRequest`."""
    line, _, rest = data.partition(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise BadRequest(400, "not a request line")
    method, target, major, minor = found.groups()
    if major != b"1":
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    headers = _fields(rest[:-2], max_fields)
    newer = minor != b"0"
    host = headers.get("host")
    if newer and host is None:
        raise BadRequest(400, "no Host field")
    if host is not None and _HOST.fullmatch(host) is None:
        raise BadRequest(400, "not a host name")
    name = method.decode("ascii")
    if name not in METHODS:
        raise BadRequest(501, "unknown method")
    path, query = _target(target)
    wishes = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    keep_alive = "close" not in wishes and (newer or "keep-alive" in wishes)
    return Head(name, path, query, headers, keep_alive, _body_bytes(headers), _expects(headers, newer))


def _fields(section: bytes, max_fields: int) -> dict[str, str]:
    if _FIELDS.fullmatch(section) is None:
        raise BadRequest(400, "not a header field")
    if section.count(b"\r\n") > max_fields:
        raise BadRequest(431, "too many header fields")
    headers: dict[str, str] = {}
    for line in section.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip("\t ")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise BadRequest(400, f"more than one {name} field")
        else:
            headers[name] += ", " + value
    return headers


def _target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of an origin-form or absolute-form target (RFC 9112 section 3.2)."""
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        target = target[absolute.end() :]
        if not target.startswith(b"/"):
            target = b"/" + target
    if not target.startswith(b"/") or b"#" in target:
        raise BadRequest(400, "not a path")
    path, _, query = target.partition(b"?")
    return percent_decoded(path), query


def _body_bytes(headers: Mapping[str, str]) -> int:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "both Transfer-Encoding and Content-Length")
        # Allowed by RFC 9112 section 6.3, and no reader of chunks is one that cannot be led astray.
        raise BadRequest(411 if coding.lower() == "chunked" else 501, "a body needs a Content-Length")
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise BadRequest(400, "not a Content-Length")
    return int(length)


def _expects(headers: Mapping[str, str], newer: bool) -> bool:
    expectation = headers.get("expect")
    if expectation is None or not newer:
        return False
    if expectation.lower() != "100-continue":
        raise BadRequest(417, "unknown expectation")
    return True


def percent_decoded(text: bytes) -> bytes:
    """Decode once.  Raises `BadRequest` where "%" is followed by anything but two hexadecimal digits."""
    if b"%" not in text:
        return text
    if _BAD_ESCAPE.search(text) is not None:
        raise BadRequest(400, "not a percent-encoding")
    return unquote_to_bytes(text)


def parse_query(query: bytes) -> dict[str, Sequence[str]]:
    """The values of each name of a query, in order.  Raises `BadRequest`."""
    parts = [part for part in query.split(b"&") if part]
    if len(parts) > _QUERY_FIELDS:
        raise BadRequest(400, "too many query fields")
    values: dict[str, list[str]] = {}
    for part in parts:
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        try:
            key, text = percent_decoded(name).decode(), percent_decoded(value).decode()
        except UnicodeDecodeError as err:
            raise BadRequest(400, "a query that is not UTF-8") from err
        values.setdefault(key, []).append(text)
    return dict(values)
