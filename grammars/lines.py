"""Lines of `keyword value` files, cut without a parser library: these dialects know nothing that nests or quotes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grammars.spans import SourceSpan

LINE_LIMIT = 20_000  # lines a file: bounds time and memory; real files end far below


@dataclass(frozen=True, slots=True)
class Field:
    """A keyword as it is written, its value, and where the line stands in the file."""

    key: str
    value: str
    span: SourceSpan


def physical_lines(data: bytes) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1, up to `LINE_LIMIT`; a carriage return ends a line's text.

    A NUL ends the text too, as in the C programs that read these files.
    """
    text = data.decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n", LINE_LIMIT)[:LINE_LIMIT], 1):
        yield number, line.partition("\r")[0].partition("\0")[0]


def is_cut(data: bytes) -> bool:
    """Whether there are more lines than are read."""
    return data.count(b"\n") >= LINE_LIMIT


def field_at(file: str, number: int, line: str, key: str, value: str) -> Field:
    """A field of line `number`, its span from the first to the last character that is not blank."""
    body = line.strip()
    return Field(key, value, SourceSpan(file, number, line.find(body) + 1, len(body)))
