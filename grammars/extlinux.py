"""Configuration of syslinux, extlinux, isolinux and pxelinux, and of U-Boot's reader of the same: bytes -> directives.

A directive is one line: a keyword in any case, blanks, the rest.  `MENU` is half a keyword, its second word the other
half.  Which keywords there are is not known here; any bytes are a file.
"""

from __future__ import annotations

import re

from grammars.lines import Field, field_at, physical_lines

# pygrub also takes `=` for the blank; syslinux has no keyword that goes on with one.
_DIRECTIVE = re.compile(r"(?P<keyword>[^\s=]+)(?:\s+|=\s*)?(?P<value>.*)", re.DOTALL)
_TEXT_END = "endtext"


def parse(data: bytes, file: str) -> tuple[Field, ...]:
    """The directives in order, keywords in lower case (`menu label`); comments and help texts are left out."""
    found: list[Field] = []
    in_text = False
    for number, line in physical_lines(data.removeprefix(b"\xef\xbb\xbf")):
        body = line.strip()
        if in_text:
            in_text = body.partition(" ")[0].lower() != _TEXT_END
            continue
        match = _DIRECTIVE.match(body)
        if match is None or body.startswith("#"):
            continue
        keyword, value = match["keyword"].lower(), match["value"]
        if keyword == "menu":
            second = _DIRECTIVE.match(value)
            if second is not None:
                keyword, value = f"menu {second['keyword'].lower()}", second["value"]
        in_text = keyword == "text"
        found.append(field_at(file, number, line, keyword, value))
    return tuple(found)
