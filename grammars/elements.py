"""What the grammars of this room are made of: pyparsing's elements, and one of our own for GRUB's way with errors.

Only grammars import this, so only tools and tests: what parses are the modules that `tools/generate_parsers.py` makes.
Actions are methods `(text, at, values) -> list` of a builder; the list takes the place of the values that were matched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyparsing import ParseExpression, ParserElement, ParseSyntaxException, Regex
from pyparsing.results import ParseResults

from fsdrivers.light import Any
from grammars.source import Fault, Values

Action = Callable[[str, int, Values], list[Any]]


@contextmanager
def blanks(characters: str) -> Iterator[None]:
    """Let the elements made inside skip these characters, and no others, before they match."""
    before = ParserElement.DEFAULT_WHITE_CHARS
    ParserElement.set_default_whitespace_chars(characters)
    try:
        yield
    finally:
        ParserElement.set_default_whitespace_chars(before)


def token(pattern: str, action: Action | None = None, name: str | None = None) -> ParserElement:
    """A terminal; `name` is what messages and diagrams call it, "" one that only looks ahead."""
    element: ParserElement = Regex(pattern)
    if name:
        element = element.set_name(name)
    element.show_in_diagram = name != ""
    return element.set_parse_action(action) if action is not None else element


class Recovering(ParseExpression):
    """The second alternative goes on where the first one met a `Fault`; `problem` makes a node of the fault.

    `missing` is the fault of an unmet expectation behind a `-`.  Where the first alternative simply does not begin,
    neither does the whole.
    """

    def __init__(
        self,
        statement: ParserElement,
        recovery: ParserElement,
        missing: Callable[[str, int, str], Fault],
        problem: Callable[[Fault], list[Any]],
    ) -> None:
        super().__init__([statement, recovery])
        self.missing = missing
        self.problem = problem

    def parseImpl(self, instring: str, loc: int, do_actions: bool = True) -> tuple[int, ParseResults]:  # noqa: N802
        statement, recovery = self.exprs
        try:
            return statement._parse(instring, loc, do_actions)
        except ParseSyntaxException as err:
            fault = self.missing(instring, err.loc, err.msg.removeprefix("Expected "))
        except Fault as err:
            fault = err
        found = self.problem(fault)
        end, rest = recovery._parse(instring, fault.resume, do_actions)
        return end, ParseResults([*found, *rest])


def parse_with(grammar: ParserElement, text: str) -> list[Any]:
    """What the grammar itself makes of a text, up to where it ends.  The generated modules do the same, faster."""
    grammar.parse_with_tabs()
    return list(grammar.parse_string(text))
