"""Made by tools/generate_parsers.py from grammars/extlinux.py: `make generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grammars.source import compiled

_match0 = compiled(r"[\t\x0b\x0c ]*+(?>(?:[#=][^\n]*)?\n)")
_match1 = compiled(
    r"[\t\x0b\x0c ]*+(?>((?>(?i:text)(?=[ \t\v\f\n=])))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>(?:[^\n]*[^ \t\v\f\n])?))()[\t\x0b\x0c ]*+(?>\n)(?:[\t\x0b\x0c ]*+(?>(?!(?i:endtext)[ \t\v\f\n])[^\n]*\n))*+(?:[\t\x0b\x0c ]*+(?>[^\n]*\n))?+|((?>(?i:menu)(?=[ \t\v\f=])))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>[^ \t\v\f\n=]+))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>(?:[^\n]*[^ \t\v\f\n])?))()[\t\x0b\x0c ]*+(?>\n)|((?>[^ \t\v\f\n=]+))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>(?:[^\n]*[^ \t\v\f\n])?))()[\t\x0b\x0c ]*+(?>\n))"
)


def _configuration(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match0(text, at):
            at = m.end()
        elif m := _match1(text, at):
            if m.lastindex == 3:
                out += build.field(
                    text, m.start(1), (*build.lower(text, m.start(1), (m[1],)), m[2], *build.here(text, m.end(3), ()))
                )
            elif m.lastindex == 7:
                out += build.field(
                    text,
                    m.start(4),
                    (
                        *build.lower(text, m.start(4), (m[4],)),
                        *build.lower(text, m.start(5), (m[5],)),
                        m[6],
                        *build.here(text, m.end(7), ()),
                    ),
                )
            else:
                out += build.field(
                    text, m.start(8), (*build.lower(text, m.start(8), (m[8],)), m[9], *build.here(text, m.end(10), ()))
                )
            at = m.end()
        else:
            break
    return at


RULES: dict[str, Callable[[str, int, list[Any], Any], int]] = {"configuration": _configuration}
