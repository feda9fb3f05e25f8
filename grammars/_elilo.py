"""Made by tools/generate_parsers.py from grammars/elilo.py: `make generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grammars.source import compiled

_match0 = compiled(
    r'[\t\x0b\x0c ]*+(?>((?>[^ \t\v\f\n="#]+))[\t\x0b\x0c ]*+(?>=)[\t\x0b\x0c ]*+(?>")((?>(?:[^"\\\n]|\\[^\n])*))(?:(?>"))?+()|((?>[^ \t\v\f\n="#]+))[\t\x0b\x0c ]*+(?>=)[\t\x0b\x0c ]*+((?>[^ \t\v\f\n"#]*))()|((?>[^ \t\v\f\n="#]+))())'
)
_match1 = compiled(r"[\t\x0b\x0c ]*+(?>[^\n]*\n)")


def _configuration(text: str, at: int, out: list[Any], build: Any) -> int:
    while (end := _line(text, at, out, build)) >= 0:
        at = end
    return at


def _line(text: str, at: int, out: list[Any], build: Any) -> int:
    size = len(out)
    while m := _match0(text, at):
        if m.lastindex == 3:
            out += build.field(
                text,
                m.start(1),
                (
                    *build.lower(text, m.start(1), (m[1],)),
                    *build.unescape(text, m.start(2), (m[2],)),
                    *build.here(text, m.end(3), ()),
                ),
            )
        elif m.lastindex == 6:
            out += build.field(
                text, m.start(4), (*build.lower(text, m.start(4), (m[4],)), m[5], *build.here(text, m.end(6), ()))
            )
        else:
            out += build.field(
                text, m.start(7), (*build.lower(text, m.start(7), (m[7],)), *build.here(text, m.end(8), ()))
            )
        at = m.end()
    if not (m := _match1(text, at)):
        del out[size:]
        return -1
    return m.end()


RULES: dict[str, Callable[[str, int, list[Any], Any], int]] = {"configuration": _configuration}
