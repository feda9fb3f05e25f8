"""Configuration of syslinux, extlinux, isolinux and pxelinux, and of U-Boot's reader of the same: bytes -> directives.

A directive is one line: a keyword in any case, blanks, the rest.  `MENU` is half a keyword, its second word the other
half.  Which keywords there are is not known here; any bytes are a file.
"""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING
from grammars import _extlinux
from grammars.fields import FieldBuilder, FieldFile, read_fields

if TYPE_CHECKING:
    from pyparsing import ParserElement


def parse(data: bytes, file: str) -> FieldFile:
    """The directives in order, keywords in lower case (`menu label`); comments and help texts are left out."""
    return read_fields(data, file, _extlinux.RULES["configuration"])


def grammar(build: FieldBuilder) -> dict[str, ParserElement]:
    """The grammar's start, `configuration`."""
    from pyparsing import Empty, Opt, Suppress, ZeroOrMore

    from grammars.elements import blanks, token

    with blanks(" \t\v\f"):
        newline = Suppress(token(r"\n", name="newline"))
        ignored = Suppress(token(r"(?:[#=][^\n]*)?\n", name="comment"))
        help_line = Suppress(token(r"(?!(?i:endtext)[ \t\v\f\n])[^\n]*\n", name="line of the help text"))
        help_end = Suppress(token(r"[^\n]*\n", name="ENDTEXT"))
        keyword = token(r"[^ \t\v\f\n=]+", build.lower, "KEYWORD")
        menu = token(r"(?i:menu)(?=[ \t\v\f=])", build.lower, "MENU")
        text = token(r"(?i:text)(?=[ \t\v\f\n=])", build.lower, "TEXT")
        # pygrub also takes `=` for the blank; syslinux has no keyword that goes on with one.
        separator = Suppress(Opt(token(r"[ \t\v\f]+|=", name="blank or =").leave_whitespace()))
        value = token(r"(?:[^\n]*[^ \t\v\f\n])?", name="value")
        end = Empty().leave_whitespace().set_parse_action(build.here)

        ending = separator + value + end + newline
        help_text = (text + ending + ZeroOrMore(help_line) + Opt(help_end)).set_parse_action(build.field)
        two_words = (menu + separator + keyword + ending).set_parse_action(build.field)
        directive = (keyword + ending).set_parse_action(build.field)
        return {
            "configuration": ZeroOrMore(
                ignored
                | help_text.set_name("help text")
                | two_words.set_name("MENU directive")
                | directive.set_name("directive")
            )
        }
