"""`elilo.conf` (and its elder, `lilo.conf`): bytes -> options `name = value` and flags, in order.

A value may be in double quotes, in which a backslash keeps the next character; `#` begins a comment outside of them.
"""

from __future__ import annotations

import re

from grammars.lines import LINE_LIMIT, Field, physical_lines
from grammars.spans import SourceSpan

_OPTION = re.compile(
    r"""\s*(?P<name>[^\s="\#]+)\s*
        (?:(?P<equals>=)\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"?|(?P<plain>[^\s\#"]*)))?""",
    re.VERBOSE,
)


def parse(data: bytes, file: str) -> tuple[Field, ...]:
    """The options; a flag's value is "".  Several may stand on a line; what is no option ends its line."""
    found: list[Field] = []
    for number, line in physical_lines(data.removeprefix(b"\xef\xbb\xbf")):
        at = 0
        while len(found) < LINE_LIMIT and (match := _OPTION.match(line, at)):
            quoted = match["quoted"]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["plain"] or ""
            start, at = match.start("name"), match.end()
            found.append(Field(match["name"].lower(), value, SourceSpan(file, number, start + 1, at - start)))
    return tuple(found)
