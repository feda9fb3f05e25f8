"""GRUB 2's quoting of one line without variables: text -> words.

Source: the lexer of GRUB 2 (grub-core/script/yylex.l), with Fedora's way with `\\xHH`.
"""

from __future__ import annotations

import re

_HEX_ESCAPE = re.compile(r"x[0-9A-Fa-f]{2}")


def split_words(text: str) -> list[str]:
    """Words end at blanks; quotes and backslashes are resolved, an unclosed quote ends with the line.

    `\\xHH` outside of single quotes stays as it is: installers' labels rely on it.
    """
    words: list[str] = []
    word: list[str] = []
    quote, quoted, at = "", False, 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "\\" and quote != "'" and at < len(text):
            if _HEX_ESCAPE.match(text, at) or (quote and text[at] not in '$"\\'):
                word.append(character)
            word.append(text[at])
            at += 1
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, quoted = character, True
        elif not quote and character in " \t":
            if word or quoted:
                words.append("".join(word))
            word, quoted = [], False
        else:
            word.append(character)
    if word or quoted:
        words.append("".join(word))
    return words
