"""The web page below `/ui/`: static files of this package, under a strict content security policy."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from aiohttp import web

_FILES = {
    **dict.fromkeys(("/ui", "/ui/", "/ui/index.html"), ("index.html", "text/html; charset=utf-8")),
    "/ui/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/ui/page.css": ("page.css", "text/css; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def add_page(application: web.Application) -> None:
    """Add the page, which has no data of its own: it asks the API, which knows who may."""
    for path in _FILES:
        application.router.add_get(path, _serve)


async def _serve(request: web.Request) -> web.Response:
    name, media_type = _FILES[request.path]
    data, etag = _load(name)
    headers = {**_HEADERS, "Content-Type": media_type, "ETag": f'"{etag}"'}
    if any(tag.value == etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=data, headers=headers)


@cache
def _load(name: str) -> tuple[bytes, str]:
    data = (resources.files("pvboot.serve.state") / "web" / name).read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:32]


def preload() -> None:
    """Read all files now: without root's rights it may not be possible later."""
    for name, _kind in _FILES.values():
        _load(name)
