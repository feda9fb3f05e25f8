"""Lists of checksums, as `sha256sum` writes them."""

from __future__ import annotations

import re
from typing import Final

from pvboot.errors import UsageError

LIMIT_BYTES: Final = 8 << 20

_LINE: Final = re.compile(r"\\?([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")


def read_sums(path: str) -> dict[str, str]:
    """Read a list: SHA-256 by name, relative to the directory of the URL.  Raises `UsageError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as err:
        raise UsageError("the list of checksums cannot be read", where=path, found=str(err)) from err
    if len(data) > LIMIT_BYTES:
        raise UsageError("the list of checksums is too large", where=path, expected=f"at most {LIMIT_BYTES} bytes")
    sums: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError("not a line of checksums", where=f"{path}:{number}", expected="SHA-256, name")
        name, digest = match[2], match[1].lower()
        if sums.setdefault(name, digest) != digest:
            raise UsageError("two checksums for one name", where=f"{path}:{number}", found=name)
    return sums
