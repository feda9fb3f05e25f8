"""GRUB 2's environment block, the file `grubenv`, read only."""

from __future__ import annotations

import re

SIGNATURE = b"# GRUB Environment Block\n"
BLOCK_LIMIT_BYTES = 64 << 10  # GRUB makes blocks of 1 KiB

# A backslash makes the character behind it plain, also a newline (lib/envblk.c).
_LINE = re.compile(r"#[^\n]*+\n|(?P<name>[^=\n\\]*+)(?P<value>(?:[^\n\\]|\\[\s\S])*+)\n")


def read_block(data: bytes) -> dict[str, str] | None:
    """The variables of a block; None if `data` is not a block.  A later line of a name wins."""
    if not data.startswith(SIGNATURE):
        return None
    text = data[len(SIGNATURE) : BLOCK_LIMIT_BYTES].decode("utf-8", "surrogateescape")
    found = {match["name"]: match["value"] for match in _LINE.finditer(text) if (match["value"] or "")[:1] == "="}
    return {name: re.sub(r"\\([\s\S])", r"\1", value[1:]) for name, value in found.items()}
