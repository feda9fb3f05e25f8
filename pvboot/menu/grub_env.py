"""GRUB 2's environment block, the file `grubenv`, read only."""

from __future__ import annotations

SIGNATURE = b"# GRUB Environment Block\n"
BLOCK_LIMIT_BYTES = 64 << 10  # GRUB makes blocks of 1 KiB


def read_block(data: bytes) -> dict[str, str] | None:
    """The variables of a block; None if `data` is none.  A later line of a name wins.

    A backslash makes the character behind it plain: `\\\\` and a newline in a value (lib/envblk.c).
    """
    if not data.startswith(SIGNATURE):
        return None
    values: dict[str, str] = {}
    text = data[len(SIGNATURE) : BLOCK_LIMIT_BYTES].decode("utf-8", "surrogateescape")
    for line in _lines(text):
        if line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if equals:
            values[name] = _plain(value)
    return values


def _lines(text: str) -> list[str]:
    """Complete lines, a newline behind a backslash kept in its line."""
    lines: list[str] = []
    pending = ""
    for piece in text.split("\n")[:-1]:
        pending += piece
        if (len(piece) - len(piece.rstrip("\\"))) % 2 and not pending.startswith("#"):
            pending += "\n"
            continue
        lines.append(pending)
        pending = ""
    return lines


def _plain(value: str) -> str:
    if "\\" not in value:
        return value
    letters: list[str] = []
    escaped = False
    for letter in value:
        if letter == "\\" and not escaped:
            escaped = True
            continue
        letters.append(letter)
        escaped = False
    return "".join(letters)
