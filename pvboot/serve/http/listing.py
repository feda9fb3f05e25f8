"""Directories as pages that browsers and wget follow, and as JSON for programs."""

from __future__ import annotations

import json
from html import escape
from urllib.parse import quote

from pvboot.serve.api import ServedDirectory


def quoted(path: str) -> str:
    """Return a path or name as it stands in a URL; bytes that are not UTF-8 stay what they are."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/")


def as_html(path: str, directory: ServedDirectory) -> bytes:
    """Return a page with one link an entry, directories with a slash behind their names."""
    title = escape(_shown(f"Index of {path}"))
    lines = [
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>',
        f"<body><h1>{title}</h1>\n<table>",
    ]
    if path != "/":
        lines.append('<tr><td><a href="../">../</a></td><td></td></tr>')
    for name, is_directory, size in directory.entries:
        slash = "/" if is_directory else ""
        shown, bytes_ = escape(_shown(name)) + slash, "" if is_directory else size
        lines.append(f'<tr><td><a href="{quoted(name)}{slash}">{shown}</a></td><td align="right">{bytes_}</td></tr>')
    lines.append("</table></body></html>\n")
    return "\n".join(lines).encode()


def as_json(path: str, directory: ServedDirectory) -> bytes:
    """Return `{"path": ..., "entries": [{"name", "type": "file" or "dir", "size"}]}`."""
    entries = [
        {"name": name, "type": "dir" if is_directory else "file", "size": size}
        for name, is_directory, size in directory.entries
    ]
    return json.dumps({"path": path, "entries": entries}).encode() + b"\n"


def wants_json(accept: str) -> bool:
    """Return whether an Accept field names JSON."""
    return any(media.partition(";")[0].strip().lower() == "application/json" for media in accept.split(","))


def _shown(text: str) -> str:
    """Surrogate escapes cannot be encoded."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
