"""Files of `keyword value` lines: what the grammars of BLS, extlinux and elilo build."""

from __future__ import annotations

import re
from collections.abc import Callable

from fsdrivers.light import Any, dataclass
from grammars.source import LINE_LIMIT, Source, Values, read_lines
from grammars.spans import SourceSpan

Rule = Callable[[str, int, list[Any], Any], int]


@dataclass(frozen=True, slots=True)
class Field:
    """A keyword, its value, and where both stand in the file."""

    key: str
    value: str
    span: SourceSpan


@dataclass(frozen=True, slots=True)
class FieldFile:
    """The syntax tree; `complete` is False if the file has more than `LINE_LIMIT` lines."""

    fields: tuple[Field, ...]
    complete: bool = True

    @property
    def limit(self) -> str:
        """What a warning says of a file that is not complete."""
        return f"only the first {LINE_LIMIT} lines are read"


class FieldBuilder:
    """The actions of these grammars."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def here(self, _text: str, at: int, _values: Values) -> list[int]:
        """The end of what was matched."""
        return [at]

    def lower(self, _text: str, _at: int, values: Values) -> list[str]:
        """A keyword in any case."""
        return [values[0].lower()]

    def unescape(self, _text: str, _at: int, values: Values) -> list[str]:
        """A text in which a backslash keeps the next character."""
        return [re.sub(r"\\(.)", r"\1", values[0])]

    def field(self, _text: str, at: int, values: Values) -> list[Field]:
        """KEYWORD [VALUE], and where they end; of two keywords the second completes the first."""
        *words, end = values
        if len(words) > 2:
            words[:2] = [" ".join(words[:2])]
        return [Field(words[0], words[1] if len(words) > 1 else "", self._source.span(at, end))]


def read_fields(data: bytes, file: str, rule: Rule) -> FieldFile:
    """Parse with one of the generated rules.  A carriage return or a NUL ends a line's text, as in C programs."""
    source = read_lines(data.removeprefix(b"\xef\xbb\xbf"), file, lambda line: [(0, _until_end(line))])
    found: list[Field] = []
    rule(source.text, 0, found, FieldBuilder(source))
    return FieldFile(tuple(found), source.complete)


def _until_end(line: str) -> str:
    return line.partition("\r")[0].partition("\0")[0]
