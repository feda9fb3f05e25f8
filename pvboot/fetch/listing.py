"""The names in a directory of an HTTP server: as nginx, Apache, Python's http.server and pvboot list them.

A page is HTML whose links with one plain component below the directory are its names, or JSON as nginx writes it (a
list of objects with `name`, `type` and `size`), by itself or under `entries`.
"""

from __future__ import annotations

import json
import re
from html import unescape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from fsdrivers.errors import Corrupt, Unsupported

if TYPE_CHECKING:
    from pvboot.fetch.urls import Url

PAGE_LIMIT_BYTES: Final = 8 << 20
NAMES_LIMIT: Final = 100_000

# Every repetition is bounded: html.parser needs quadratic time for pages that are made for it.
_LINK: Final = re.compile(
    r"<a\s(?:[^<>]{0,500}?\s)?href\s{0,8}=\s{0,8}(?:\"([^\"<>]{0,3000})\"|'([^'<>]{0,3000})'|([^\s\"'<>]{1,3000}))",
    re.IGNORECASE,
)


class Listed(NamedTuple):
    """A name; `size` is None unless the page gives it exactly."""

    name: str
    is_directory: bool
    size: int | None = None


def read_index(data: bytes, content_type: str, url: Url) -> list[Listed]:
    """The names in order of the page.  Raises `Unsupported` for other pages, `Corrupt` for damaged ones."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        found = _read_json(data, url)
    elif kind in ("text/html", "application/xhtml+xml"):
        found = _read_html(data, url)
    else:
        raise Unsupported(
            "the server gives no list of the directory",
            where=str(url),
            expected="HTML or JSON",
            found=kind[:60] or "no content type",
        )
    names = {entry.name: entry for entry in found if _is_name(entry.name)}
    return list(names.values())[:NAMES_LIMIT]


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _read_json(data: bytes, url: Url) -> list[Listed]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise Corrupt("the server's list of the directory is not JSON", where=str(url), found=str(err)[:100]) from err
    entries = document.get("entries") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise Unsupported("the server gives no list of the directory", where=str(url), found="other JSON")
    return [listed for entry in entries[:NAMES_LIMIT] if (listed := _entry(entry)) is not None]


def _entry(entry: Any) -> Listed | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return None
    name = entry["name"].removesuffix("/")
    size = entry.get("size")
    known = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 63
    return Listed(name, entry.get("type") in ("directory", "dir"), size if known else None)


def _read_html(data: bytes, url: Url) -> list[Listed]:
    found = []
    for match in islice(_LINK.finditer(data.decode("utf-8", "replace")), NAMES_LIMIT):
        link = unescape(match[1] or match[2] or match[3] or "")
        try:
            target = urlsplit(urljoin(str(url), link))
        except ValueError:
            continue
        if (target.scheme, target.netloc) != (url.scheme, url.server) or target.query:
            continue  # another server; or one of Apache's links that sort the page
        path, top = unquote_to_bytes(target.path), unquote_to_bytes(url.path)
        if not path.startswith(top):
            continue  # the parent
        name = path[len(top) :].decode("utf-8", "surrogateescape")
        found.append(Listed(name.removesuffix("/"), name.endswith("/")))
    return found
