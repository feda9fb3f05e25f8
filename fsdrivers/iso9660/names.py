"""Names: Rock Ridge as they are, Joliet from UCS-2, plain ISO names made lower-case and without version."""

from __future__ import annotations


def split_version(name: bytes) -> tuple[bytes, int]:
    """An ISO name without ";version" and without the dot of an empty extension, and the version (0: none)."""
    stem, separator, digits = name.rpartition(b";")
    version = 0
    if separator and digits.isdigit() and len(digits) <= 5:
        name, version = stem, int(digits)
    if name.endswith(b".") and len(name) > 1:
        name = name[:-1]
    return name, version


def joliet(name: bytes) -> bytes:
    """A Joliet name (UCS-2, big-endian) as UTF-8; what is not text becomes U+FFFD."""
    return name.decode("utf-16-be", "replace").encode("utf-8", "replace")
