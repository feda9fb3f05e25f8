"""Made by tools/generate_parsers.py from grammars/bls.py: `make generate`."""

from __future__ import annotations

from fsdrivers.light import Any
from grammars.source import Rule, compiler

_compiled = compiler(globals())
_match0 = _compiled(r"[\t ]*+(?>#[^\n]*\n)")
_match1 = _compiled(r'[\t ]*+((?>[^ \t\n]+))[\t ]*+(?>")((?>[^\n]+(?="[ \t]*\n)))[\t ]*+(?>")()[\t ]*+(?>\n)')
_match2 = _compiled(r'[\t ]*+((?>[^ \t\n]+))[\t ]*+((?>(?!""[ \t]*\n)[^\n]*[^ \t\n]))()[\t ]*+(?>\n)')
_match3 = _compiled(r"[\t ]*+(?>[^\n]*\n)")
_match4 = _compiled("[\\t ]*+((?>[^ \\n]+(?= [^\\n])))(?>[ \t])[\\t ]*+((?>[^\\n]*))()[\\t ]*+(?>\\n)")
_match5 = _compiled("[\\t ]*+((?>[^ \\t\\n]+(?=\\t[^ \\n]+\\n)))(?>[ \t])[\\t ]*+((?>[^\\n]*))()[\\t ]*+(?>\\n)")


def _entry(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match0(text, at):
            at = m.end()
        elif (m := _match1(text, at)) or (m := _match2(text, at)):
            out += build.field(text, m.start(1), (m[1], m[2], *build.here(text, m.start(3), ())))
            at = m.end()
        elif m := _match3(text, at):
            at = m.end()
        else:
            break
    return at


def _blscfg_entry(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match0(text, at):
            at = m.end()
        elif (m := _match4(text, at)) or (m := _match5(text, at)):
            out += build.field(text, m.start(1), (m[1], m[2], *build.here(text, m.start(3), ())))
            at = m.end()
        else:
            break
    return at


RULES: dict[str, Rule] = {"entry": _entry, "blscfg_entry": _blscfg_entry}
