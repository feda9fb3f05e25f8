"""Where a piece of text stands in the file it came from."""

from __future__ import annotations

from fsdrivers.light import dataclass


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """`length` characters of `file` from `line`:`column` (both count from 1).

    Characters are those of the file decoded as UTF-8 with surrogate escapes, so a byte that is not UTF-8
    counts as one.  `length` is counted in the file as it is: carriage returns, backslashes and newlines of
    continuations inside the text are included.
    """

    file: str
    line: int
    column: int
    length: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"
