"""Made by tools/generate_parsers.py from grammars/menu_lst.py: `make generate`."""

from __future__ import annotations

from fsdrivers.light import Any
from grammars.source import Rule, compiler

_compiled = compiler(globals())
_match0 = _compiled(r"((?>[^ =\0\n]*))((?>[ =]*))((?>[^\0\n]*))(?>(?:\0[^\n]*)?\n)")


def _menu(text: str, at: int, out: list[Any], build: Any) -> int:
    while m := _match0(text, at):
        out += build.line(text, m.start(1), (m[1], m[2], m[3]))
        at = m.end()
    return at


RULES: dict[str, Rule] = {"menu": _menu}
