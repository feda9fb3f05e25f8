"""`menu.lst` / `grub.conf` of GRUB Legacy 0.97: bytes -> command lines.

Lines are made by hand as GRUB makes them (one pass, no quotes, no variables).  `line_grammar` and `word_grammar`
declare what a command line is; splitting one by hand gives the same (a property test holds it to them) without
importing pyparsing, which costs a boot loader more than its whole work.  Any bytes are a menu: nothing here fails, and
which words are commands is not known here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from grammars.spans import SourceSpan

if TYPE_CHECKING:
    import pyparsing as pp

LINE_LIMIT_BYTES = 1500  # NEW_HEAPSIZE of GRUB: the rest of a longer line is lost
LINE_LIMIT = 100_000  # of ours, lines a file: bounds time and memory; GRUB's menus end far below


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a command line and where it stands."""

    text: str
    span: SourceSpan


@dataclass(frozen=True, slots=True)
class _Piece:
    """Characters of a logical line that stand together in the file.

    `start` is the index of the first one in the logical line, `offset` its index in the file.
    """

    text: str
    start: int
    offset: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One logical line: `name` up to the first blank or `=`, `argument` all that follows the separator.

    `text` is the whole line as GRUB stores and echoes it; `cut` says that the line was longer than GRUB's
    limit, so that its end is lost.  Spans are worked out when they are asked for: most never are.
    """

    file: str
    text: str
    name: str
    argument: str
    cut: bool
    _pieces: tuple[_Piece, ...]

    @property
    def span(self) -> SourceSpan:
        """The whole line, from the name to the end of the argument."""
        return self._span(0, len(self.text))

    @property
    def name_span(self) -> SourceSpan:
        """The command's name."""
        return self._span(0, len(self.name))

    @property
    def argument_span(self) -> SourceSpan:
        """All that follows the separator; empty at the end of the line if nothing does."""
        return self._span(len(self.text) - len(self.argument), len(self.text))

    @property
    def words(self) -> tuple[Token, ...]:
        """The blank-separated words of the argument."""
        start = len(self.text) - len(self.argument)
        found = split_words(self.argument)
        return tuple(Token(text, self._span(start + at, start + at + len(text))) for at, text in found)

    def _span(self, start: int, end: int) -> SourceSpan:
        """Where characters start..end of the logical line stand in the file."""
        first = self._piece_of(start)
        column = first.column + start - first.start
        if end <= start:
            return SourceSpan(self.file, first.line, column, 0)
        last = self._piece_of(end - 1)
        length = last.offset + end - last.start - (first.offset + start - first.start)
        return SourceSpan(self.file, first.line, column, length)

    def _piece_of(self, index: int) -> _Piece:
        return self._pieces[bisect_right(self._pieces, index, key=lambda piece: piece.start) - 1]


@dataclass(frozen=True, slots=True)
class MenuFile:
    """The syntax tree: every logical line that is not empty and not a comment, in order.

    `complete` is False if the file has more lines than the limit.
    """

    file: str
    lines: tuple[CommandLine, ...]
    complete: bool = True


def parse(data: bytes, file: str, *, line_limit: int = LINE_LIMIT) -> MenuFile:
    """The command lines of a menu; `file` is the name that spans carry.  Never fails, linear in `len(data)`."""
    logical = _logical_lines(data.decode("utf-8", "surrogateescape"))
    lines = tuple(_command_line(file, pieces, cut) for pieces, cut in islice(logical, line_limit))
    return MenuFile(file, lines, next(logical, None) is None)


def parse_line(text: str, file: str = "") -> CommandLine | None:
    """One line as typed at a prompt or in an editor; None if nothing but blanks stands there."""
    body = text.replace("\t", " ").lstrip(" ")
    if not body:
        return None
    start = len(text) - len(body)
    return _command_line(file, (_Piece(body, 0, start, 1, start + 1),), False)


# --- bytes to logical lines -------------------------------------------------------------------------------


class _LineBuilder:
    """Collects the pieces of one logical line and enforces GRUB's limit, which counts bytes."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._characters = 0
        self._bytes = 0
        self._cut = False

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, text: str, offset: int, line: int, column: int) -> None:
        room = LINE_LIMIT_BYTES - self._bytes
        size = len(text) if text.isascii() else len(_encode(text))
        if size > room:
            self._cut = True
            text = text[:room] if text.isascii() else _decode(_encode(text)[:room])
            size = room
        if text:
            self._pieces.append(_Piece(text, self._characters, offset, line, column))
            self._characters += len(text)
            self._bytes += size

    def continue_line(self) -> None:
        """A blank overwrites the last stored byte: the backslash, or what the limit left in its place."""
        last = self._pieces.pop()
        kept = _decode(_encode(last.text)[:-1])
        self._characters, self._bytes = last.start, self._bytes - len(_encode(last.text))
        if last.start or kept:  # a backslash alone leaves nothing, and blanks do not begin a line
            self.add(kept + " ", last.offset, last.line, last.column)

    def finish(self) -> tuple[tuple[_Piece, ...], bool]:
        """The pieces, and whether the limit cut some text off."""
        return tuple(self._pieces), self._cut


def _logical_lines(text: str) -> Iterator[tuple[tuple[_Piece, ...], bool]]:
    """Join continuations, drop comments, carriage returns and indentation; tabs become blanks."""
    builder = _LineBuilder()
    in_comment = False
    offset = 0
    physical = text.split("\n")
    for number, raw in enumerate(physical, 1):
        at_end = number == len(physical)
        # GRUB drops carriage returns before it looks at a backslash, so "\", CR, LF continues a line too.
        continues = not at_end and raw.rstrip("\r").endswith("\\")
        if not in_comment:
            in_comment = _add_physical_line(builder, raw, offset, number, continues)
        offset += len(raw) + 1
        if continues:
            continue  # also inside a comment: the next line then belongs to the comment
        in_comment = False
        if builder:
            yield builder.finish()
            builder = _LineBuilder()


def _add_physical_line(builder: _LineBuilder, raw: str, offset: int, number: int, continues: bool) -> bool:
    """Add what one line of the file holds; True if it turned out to be a comment."""
    for start, text in _without_carriage_returns(raw.replace("\t", " ")):
        if not builder:
            body = text.lstrip(" ")
            if body.startswith("#"):
                return True
            start, text = start + len(text) - len(body), body
        builder.add(text, offset + start, number, start + 1)
    if continues:
        builder.continue_line()
    return False


def _without_carriage_returns(raw: str) -> Iterator[tuple[int, str]]:
    """The stretches between carriage returns, each with its start."""
    start = 0
    for stretch in raw.split("\r"):
        if stretch:
            yield start, stretch
        start += len(stretch) + 1


# --- a logical line to its parts --------------------------------------------------------------------------


def _command_line(file: str, pieces: tuple[_Piece, ...], cut: bool) -> CommandLine:
    text = pieces[0].text if len(pieces) == 1 else "".join(piece.text for piece in pieces)
    text = text.partition("\0")[0]  # to GRUB a NUL ends the string, though not the line
    name, argument = split_line(text)
    return CommandLine(file, text, name, argument, cut, pieces)


def split_line(text: str) -> tuple[str, str]:
    """Name and argument of a command line, as `line_grammar` has them."""
    blank, equals = text.find(" "), text.find("=")
    end = min(blank, equals) if blank >= 0 <= equals else max(blank, equals)
    if end < 0:
        return text, ""
    return text[:end], text[end:].lstrip(" =")


def split_words(argument: str) -> list[tuple[int, str]]:
    """Place and text of each word of an argument, as `word_grammar` has them."""
    found: list[tuple[int, str]] = []
    at = 0
    for word in argument.split(" "):
        if word:
            found.append((at, word))
        at += len(word) + 1
    return found


@cache
def line_grammar() -> pp.ParserElement:
    """line = name separator argument; only blank and `=` separate, all else is text.

    One terminal, because three joined ones take six times as long and a menu has thousands of lines.
    """
    from pyparsing import Regex

    return _exactly(Regex("(?P<name>[^ =]*)(?P<separator>[ =]*)(?P<argument>(?s:.*))", as_match=True))


@cache
def word_grammar() -> pp.ParserElement:
    """argument = { blank } { word { blank } }, each word with its place."""
    from pyparsing import ParseResults, Regex, ZeroOrMore

    def place(_text: str, location: int, tokens: ParseResults) -> tuple[int, str]:
        return location, tokens[0]

    blanks = Regex(" *").suppress()
    word = Regex("[^ ]+").add_parse_action(place)
    return _exactly(blanks + ZeroOrMore(word + blanks))


def _exactly(grammar: pp.ParserElement) -> pp.ParserElement:
    """No white space is skipped and tabs stay, so that locations are those of the text."""
    return grammar.leave_whitespace().parse_with_tabs()


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
