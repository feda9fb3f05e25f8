"""MIME types of the files of boot clients: by the name's end, never by the bytes."""

from __future__ import annotations

OCTETS = "application/octet-stream"
_TEXT = "text/plain; charset=utf-8"
_TEXT_ENDS = (".lst", ".cfg", ".conf", ".ipxe", ".txt", ".ks")
_BY_END = {**dict.fromkeys(_TEXT_ENDS, _TEXT), ".json": "application/json"}


def content_type_of(path: str) -> str:
    """Return the type of text for menus and scripts, of plain bytes for all else."""
    name = path.rpartition("/")[2]
    return _BY_END.get(name[name.rfind(".") :].lower(), OCTETS) if "." in name else OCTETS
