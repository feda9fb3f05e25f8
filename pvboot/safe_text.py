"""Making the guest's text safe to print: a title or a file name must not steer the terminal."""

from __future__ import annotations


def safe(text: str) -> str:
    """Escape everything that does not print: controls, direction marks, bytes that are not UTF-8."""
    return text if text.isprintable() else "".join(map(_escape, text))


def safe_lines(text: str) -> str:
    """As `safe`, but line ends stay and tabs become blanks."""
    return "\n".join(safe(line.expandtabs()) for line in text.split("\n"))


def _escape(character: str) -> str:
    code = ord(character)
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
