"""Passwords of menus, and their hashes: reports show where they stand, and never what they are."""

from __future__ import annotations

import re
from typing import Final

SHORTEST_PART: Final = 6  # of a password that a message has cut

# The secret is the group; a comment may hold one that was in use.
_SECRETS: Final = {
    "menu.lst": re.compile(r"^[ \t#]*password(?:[ \t=]+--\S+)*[ \t=]+([^\s-]\S*)"),
    "grub.cfg": re.compile(r"\bpassword(?:_pbkdf2)?[ \t]+\S+[ \t]+([^\s;}]+)"),
    "extlinux": re.compile(r"^[ \t#]*menu[ \t]+(?:master[ \t]+)?passwd[ \t]+(\S+)", re.IGNORECASE),
    "elilo": re.compile(r"^[ \t#]*password[ \t]*=[ \t]*(\S+)"),
}


def mask_line(dialect: str, line: str) -> str:
    """Return a line of a menu with stars in place of the letters of passwords."""
    pattern = _SECRETS.get(dialect)
    for match in pattern.finditer(line) if pattern is not None else ():
        start, end = match.span(1)
        line = f"{line[:start]}{'*' * (end - start)}{line[end:]}"
    return line


def mask_message(dialect: str, line: str, message: str) -> str:
    """Return what is said of a line without the passwords in it, also where the message has cut them."""
    pattern = _SECRETS.get(dialect)
    for match in pattern.finditer(line) if pattern is not None else ():
        secret = match[1]
        for length in range(len(secret), min(len(secret), SHORTEST_PART) - 1, -1):
            if secret[:length] in message:
                message = message.replace(secret[:length], "*" * min(length, SHORTEST_PART))
                break
    return message
