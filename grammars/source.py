"""The text that a grammar reads, and the way back to the file it was made of."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

from fsdrivers.light import Any, dataclass, field
from grammars.spans import SourceSpan

Values = Any  # what an element matched: a list, or pyparsing's ParseResults
Match = Callable[[str, int], "re.Match[str] | None"]
Rule = Callable[[str, int, list[Any], Any], int]

LINE_LIMIT = 20_000  # lines of a `keyword value` file: bounds time and memory; real files end far below


class Fault(Exception):  # noqa: N818  (control flow, as pyparsing's own exceptions)
    """A syntax error that ends a statement: text[start:end] cannot stand where it stands, reading goes on at `resume`.

    `is_limit`: a bound of ours was met, which the loader itself does not have.
    """

    def __init__(self, message: str, start: int, end: int, resume: int, *, is_limit: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.resume = resume
        self.is_limit = is_limit


@dataclass(frozen=True, slots=True)
class Source:
    """`text` is what the grammar reads: stretches of the file, with what its loader drops left out.

    `_starts` are the stretches' indices in `text`, `_places` their line, column and index in the file.  `complete` is
    False if the file has more lines than the limit.
    """

    file: str
    text: str
    _starts: list[int] = field(repr=False)
    _places: list[tuple[int, int, int]] = field(repr=False)
    complete: bool = True

    def span(self, start: int, end: int) -> SourceSpan:
        """Where text[start:end] stands in the file."""
        line, column, offset = self._place(start)
        length = self._place(end - 1)[2] + 1 - offset if end > start else 0
        return SourceSpan(self.file, line, column, length)

    def _place(self, index: int) -> tuple[int, int, int]:
        at = max(bisect_right(self._starts, index) - 1, 0)
        if not self._starts:
            return 1, 1, 0
        line, column, offset = self._places[at]
        behind = index - self._starts[at]
        return line, column + behind, offset + behind


def read_lines(
    data: bytes, file: str, keep: Callable[[str], list[tuple[int, str]]], *, line_limit: int = LINE_LIMIT
) -> Source:
    """The text of a file, line by line, each with a newline behind it.

    `keep` gives the stretches of a line that stay and their columns from 0; none at all drops the line.
    """
    starts: list[int] = []
    places: list[tuple[int, int, int]] = []
    kept: list[str] = []
    offset = size = 0
    lines = data.decode("utf-8", "surrogateescape").split("\n", line_limit)
    complete = len(lines) <= line_limit or not lines[-1]
    if len(lines) > line_limit or not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        stretches = keep(line)
        for column, text in stretches:
            starts.append(size)
            places.append((number, column + 1, offset + column))
            kept.append(text)
            size += len(text)
        if stretches:
            kept.append("\n")
            size += 1
        offset += len(line) + 1
    return Source(file, "".join(kept), starts, places, complete)


def compiler(module: dict[str, Any]) -> Callable[[str], Match]:
    """Make the patterns of a generated module.

    One is compiled when it is first used, and then takes its own place in the `module`: of many patterns a run needs
    few, and compiling one costs more than matching it against most files.
    """

    def compiled(pattern: str) -> Match:
        def compile_and_match(text: str, at: int) -> re.Match[str] | None:
            match = re.compile(pattern).match
            module.update({name: match for name, value in module.items() if value is compile_and_match})
            return match(text, at)

        return compile_and_match

    return compiled


def expect(match: Match, text: str, at: int, build: Any, wanted: str) -> int:
    """The end of what must match; `build` makes the fault if it does not."""
    found = match(text, at)
    if found is None:
        raise build.missing(text, at, wanted)
    return found.end()


def act(match: re.Match[str], build: Any) -> list[Any]:
    """Call the action that the group that matched is called after."""
    name = match.lastgroup or ""
    return getattr(build, name)(match.string, match.start(name), (match[name],))  # type: ignore[no-any-return]


def acts(match: re.Match[str], build: Any) -> list[Any]:
    """Call the actions that the groups that matched are called after, in order."""
    made: list[Any] = []
    for name, value in match.groupdict().items():
        if value is not None:
            made += getattr(build, name)(match.string, match.start(name), (value,))
    return made


class Syntax:
    """The arguments of a command: how help writes them, the words among them that stand as they are, and the rule.

    That is a pattern after the other, one in a list as often as it matches; groups have the names of actions.
    """

    __slots__ = ("_matches", "_patterns", "literals", "usage")

    def __init__(self, usage: str, literals: tuple[str, ...], *patterns: str | list[str]) -> None:
        self.usage = usage
        self.literals = literals
        self._patterns = patterns
        self._matches: list[tuple[Match, bool]] = []

    def parse(self, text: str, out: list[Any], build: Any) -> None:
        """Append what the actions make of a text."""
        if not self._matches:
            for pattern in self._patterns:
                text_of = pattern[0] if isinstance(pattern, list) else pattern
                self._matches.append((re.compile(text_of).match, isinstance(pattern, list)))
        at = 0
        for match, repeats in self._matches:
            while found := match(text, at):
                out += acts(found, build)
                at = found.end()
                if not repeats:
                    break
