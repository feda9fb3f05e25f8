"""Made by tools/generate_parsers.py from grammars/extlinux.py: `make generate`."""

from __future__ import annotations

from fsdrivers.light import Any
from grammars.source import Rule, compiler

_compiled = compiler(globals())
_match0 = _compiled(r"[\t\x0b\x0c ]*+(?>(?:[#=][^\n]*)?\n)")
_match1 = _compiled(
    r"[\t\x0b\x0c ]*+((?>(?i:text)(?=[ \t\v\f\n=])))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>(?:[^\n]*[^ \t\v\f\n])?))()[\t\x0b\x0c ]*+(?>\n)(?:[\t\x0b\x0c ]*+(?>(?!(?i:endtext)[ \t\v\f\n])[^\n]*\n))*+(?:[\t\x0b\x0c ]*+(?>[^\n]*\n))?+"
)
_match2 = _compiled(
    r"[\t\x0b\x0c ]*+((?>(?i:menu)(?=[ \t\v\f=])))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>[^ \t\v\f\n=]+))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>(?:[^\n]*[^ \t\v\f\n])?))()[\t\x0b\x0c ]*+(?>\n)"
)
_match3 = _compiled(
    r"[\t\x0b\x0c ]*+((?>[^ \t\v\f\n=]+))(?:(?>[ \t\v\f]+|=))?+[\t\x0b\x0c ]*+((?>(?:[^\n]*[^ \t\v\f\n])?))()[\t\x0b\x0c ]*+(?>\n)"
)


def _configuration(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match0(text, at):
            at = m.end()
        elif m := _match1(text, at):
            out += build.field(
                text, m.start(1), (*build.lower(text, m.start(1), (m[1],)), m[2], *build.here(text, m.start(3), ()))
            )
            at = m.end()
        elif m := _match2(text, at):
            out += build.field(
                text,
                m.start(1),
                (
                    *build.lower(text, m.start(1), (m[1],)),
                    *build.lower(text, m.start(2), (m[2],)),
                    m[3],
                    *build.here(text, m.start(4), ()),
                ),
            )
            at = m.end()
        elif m := _match3(text, at):
            out += build.field(
                text, m.start(1), (*build.lower(text, m.start(1), (m[1],)), m[2], *build.here(text, m.start(3), ()))
            )
            at = m.end()
        else:
            break
    return at


RULES: dict[str, Rule] = {"configuration": _configuration}
