"""The web page below `/ui/`: static files of this package, under a strict content security policy."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from pvboot.serve.api import Request, Response
from pvboot.serve.state.problems import problem

_FILES = {
    "/ui": ("index.html", "text/html; charset=utf-8"),
    "/ui/index.html": ("index.html", "text/html; charset=utf-8"),
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


def serve_page(request: Request) -> Response | None:
    """A `Handler`.  The page holds no data of its own: it asks the API, which knows who may."""
    path = request.path.rstrip("/") or "/"
    if path != "/ui" and not path.startswith("/ui/"):
        return None
    if path not in _FILES:
        return problem(404, "the page has no such file")
    if request.method not in ("GET", "HEAD"):
        return problem(405, "only GET and HEAD", headers={"Allow": "GET, HEAD"})
    name, kind = _FILES[path]
    data, etag = _load(name)
    headers = {**_HEADERS, "ETag": etag}
    if request.headers.get("if-none-match", "") == etag:
        return Response(304, b"", kind, headers)
    return Response(200, data, kind, headers)


@cache
def _load(name: str) -> tuple[bytes, str]:
    data = (resources.files("pvboot.serve.state") / "web" / name).read_bytes()
    return data, f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def preload() -> None:
    """Read all files now: without root's rights it may not be possible later."""
    for name, _kind in _FILES.values():
        _load(name)
