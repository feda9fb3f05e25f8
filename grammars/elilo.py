"""`elilo.conf` (and its elder, `lilo.conf`): bytes -> options `name = value` and flags, in order.

A value may be in double quotes, in which a backslash keeps the next character; `#` begins a comment outside of them.
"""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING
from grammars import _elilo
from grammars.fields import FieldBuilder, FieldFile, read_fields

if TYPE_CHECKING:
    from pyparsing import ParserElement


def parse(data: bytes, file: str) -> FieldFile:
    """The options; a flag's value is "".  Several may stand on a line; what is not an option ends its line."""
    return read_fields(data, file, _elilo.RULES["configuration"])


def grammar(build: FieldBuilder) -> dict[str, ParserElement]:
    """The grammar's start, `configuration`."""
    from pyparsing import Empty, Opt, Suppress, ZeroOrMore

    from grammars.elements import blanks, token

    with blanks(" \t\v\f"):
        name = token(r'[^ \t\v\f\n="#]+', build.lower, "NAME")
        equals = Suppress(token("=", name="="))
        quote = Suppress(token('"', name='"'))
        letters = token(r'(?:[^"\\\n]|\\[^\n])*', build.unescape, "value").leave_whitespace()
        closing_quote = Opt(Suppress(token('"', name='"').leave_whitespace()))
        plain = token(r'[^ \t\v\f\n"#]*', name="value")
        end = Empty().leave_whitespace().set_parse_action(build.here)
        rest = Suppress(token(r"[^\n]*\n", name="rest of the line"))

        quoted = (name + equals + quote + letters + closing_quote + end).set_parse_action(build.field)
        option = (name + equals + plain + end).set_parse_action(build.field)
        flag = (name + end).set_parse_action(build.field)
        line = ZeroOrMore(quoted.set_name("option") | option.set_name("option") | flag.set_name("flag")) + rest
        return {"configuration": ZeroOrMore(line.set_name("line"))}
