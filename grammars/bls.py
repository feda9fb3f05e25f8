"""Boot Loader Specification, type #1: `key value` lines of one entry, or of systemd-boot's `loader.conf`.

Two families of readers cut the same bytes differently; each has its grammar here.  Any bytes are a file.
"""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING
from grammars import _bls
from grammars.fields import Field, FieldBuilder, read_fields

if TYPE_CHECKING:
    from pyparsing import ParserElement

FIELD_LIMIT = 1000


def parse(data: bytes, file: str) -> tuple[Field, ...]:
    """The fields as the UAPI group's specification and systemd-boot cut them.

    Blank lines and comments count for nothing; a value in double quotes loses them; a key needs a value.
    """
    return read_fields(data, file, _bls.RULES["entry"]).fields[:FIELD_LIMIT]


def parse_as_grub(data: bytes, file: str) -> tuple[Field, ...]:
    """The fields as Fedora's `blscfg` cuts them.

    Reading ends at a blank line or a key without value; a tab separates only in a line without any blank.
    """
    return read_fields(data, file, _bls.RULES["blscfg_entry"]).fields[:FIELD_LIMIT]


def grammar(build: FieldBuilder) -> dict[str, ParserElement]:
    """The starts: `entry` as systemd-boot reads it, `blscfg_entry` as GRUB does."""
    from pyparsing import Empty, Suppress, ZeroOrMore

    from grammars.elements import blanks, token

    with blanks(" \t"):
        comment = Suppress(token(r"#[^\n]*\n", name="comment"))
        ignored = Suppress(token(r"[^\n]*\n", name="line without a value"))
        newline = Suppress(token(r"\n", name="newline"))
        end = Empty().leave_whitespace().set_parse_action(build.here)

        key = token(r"[^ \t\n]+", name="key")
        quote = Suppress(token('"', name='"'))
        inner = token(r'[^\n]+(?="[ \t]*\n)', name="value").leave_whitespace()
        value = token(r'(?!""[ \t]*\n)[^\n]*[^ \t\n]', name="value")
        quoted = (key + quote + inner + quote + end + newline).set_parse_action(build.field)
        field = (key + value + end + newline).set_parse_action(build.field)

        blank_key = token(r"[^ \n]+(?= [^\n])", name="key up to the first blank")
        tab_key = token(r"[^ \t\n]+(?=\t[^ \n]+\n)", name="key up to the first tab")
        separator = Suppress(token("[ \t]", name="blank").leave_whitespace())
        rest = token(r"[^\n]*", name="value")
        blank_field = (blank_key + separator + rest + end + newline).set_parse_action(build.field)
        tab_field = (tab_key + separator + rest + end + newline).set_parse_action(build.field)
        return {
            "entry": ZeroOrMore(comment | quoted.set_name("field") | field.set_name("field") | ignored),
            "blscfg_entry": ZeroOrMore(comment | blank_field.set_name("field") | tab_field.set_name("field")),
        }
