"""Made by tools/generate_parsers.py from grammars/elilo.py: `make generate`."""

from __future__ import annotations

from fsdrivers.light import Any
from grammars.source import Rule, compiler

_compiled = compiler(globals())
_match0 = _compiled(
    r'[\t\x0b\x0c ]*+((?>[^ \t\v\f\n="#]+))[\t\x0b\x0c ]*+(?>=)[\t\x0b\x0c ]*+(?>")((?>(?:[^"\\\n]|\\[^\n])*))(?:(?>"))?+()'
)
_match1 = _compiled(r'[\t\x0b\x0c ]*+((?>[^ \t\v\f\n="#]+))[\t\x0b\x0c ]*+(?>=)[\t\x0b\x0c ]*+((?>[^ \t\v\f\n"#]*))()')
_match2 = _compiled(r'[\t\x0b\x0c ]*+((?>[^ \t\v\f\n="#]+))()')
_match3 = _compiled(r"[\t\x0b\x0c ]*+(?>[^\n]*\n)")


def _configuration(text: str, at: int, out: list[Any], build: Any) -> int:
    while (end := _line(text, at, out, build)) >= 0:
        at = end
    return at


def _line(text: str, at: int, out: list[Any], build: Any) -> int:
    size = len(out)
    while True:
        if m := _match0(text, at):
            out += build.field(
                text,
                m.start(1),
                (
                    *build.lower(text, m.start(1), (m[1],)),
                    *build.unescape(text, m.start(2), (m[2],)),
                    *build.here(text, m.start(3), ()),
                ),
            )
            at = m.end()
        elif m := _match1(text, at):
            out += build.field(
                text, m.start(1), (*build.lower(text, m.start(1), (m[1],)), m[2], *build.here(text, m.start(3), ()))
            )
            at = m.end()
        elif m := _match2(text, at):
            out += build.field(
                text, m.start(1), (*build.lower(text, m.start(1), (m[1],)), *build.here(text, m.start(2), ()))
            )
            at = m.end()
        else:
            break
    if not (m := _match3(text, at)):
        del out[size:]
        return -1
    return m.end()


RULES: dict[str, Rule] = {"configuration": _configuration}
