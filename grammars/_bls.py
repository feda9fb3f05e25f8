"""Made by tools/generate_parsers.py from grammars/bls.py: `make generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grammars.source import compiled

_match0 = compiled(r"[\t ]*+(?>#[^\n]*\n)")
_match1 = compiled(
    r'[\t ]*+(?>((?>[^ \t\n]+))[\t ]*+(?>")((?>[^\n]+(?="[ \t]*\n)))[\t ]*+(?>")()[\t ]*+(?>\n)|((?>[^ \t\n]+))[\t ]*+((?>(?!""[ \t]*\n)[^\n]*[^ \t\n]))()[\t ]*+(?>\n))'
)
_match2 = compiled(r"[\t ]*+(?>[^\n]*\n)")
_match3 = compiled(
    "[\\t ]*+(?>((?>[^ \\n]+(?= [^\\n])))(?>[ \t])[\\t ]*+((?>[^\\n]*))()[\\t ]*+(?>\\n)|((?>[^ \\t\\n]+(?=\\t[^ \\n]+\\n)))(?>[ \t])[\\t ]*+((?>[^\\n]*))()[\\t ]*+(?>\\n))"
)


def _entry(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match0(text, at):
            at = m.end()
        elif m := _match1(text, at):
            if m.lastindex == 3:
                out += build.field(text, m.start(1), (m[1], m[2], *build.here(text, m.end(3), ())))
            else:
                out += build.field(text, m.start(4), (m[4], m[5], *build.here(text, m.end(6), ())))
            at = m.end()
        elif m := _match2(text, at):
            at = m.end()
        else:
            break
    return at


def _blscfg_entry(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match0(text, at):
            at = m.end()
        elif m := _match3(text, at):
            if m.lastindex == 3:
                out += build.field(text, m.start(1), (m[1], m[2], *build.here(text, m.end(3), ())))
            else:
                out += build.field(text, m.start(4), (m[4], m[5], *build.here(text, m.end(6), ())))
            at = m.end()
        else:
            break
    return at


RULES: dict[str, Callable[[str, int, list[Any], Any], int]] = {"entry": _entry, "blscfg_entry": _blscfg_entry}
