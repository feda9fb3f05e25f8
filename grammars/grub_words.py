"""The lexer of `grub.cfg`: text -> tokens, words with their quoting and variables.

Rules of GRUB 2.06 (script/yylex.l), checked with its grub-script-check; one departure: an unquoted `\\xHH` keeps
its backslash, as the GRUB of Fedora, RHEL and SUSE does, whose installers count on it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from grammars.spans import SourceSpan

PieceKind = Literal["text", "quoted", "variable", "quoted variable"]

_KEYWORDS = "case do done elif else esac fi for if in select then until while function"
LINE_LIMIT = 100_000  # of ours, lines a file: bounds memory
KEYWORDS = frozenset(_KEYWORDS.split())
END = "end of file"
WORD = "word"
NEWLINE = "\n"


class Piece(NamedTuple):
    """A part of a word: characters as they are, or the name of a variable.

    "text" stood without quotes (wildcards in it count), "quoted" in quotes or behind a backslash; the value of
    a "variable" is split at blanks, that of a "quoted variable" is not.
    """

    kind: PieceKind
    text: str


class Word(NamedTuple):
    """One word; `start` and `end` are indices into the text of its `Source`."""

    pieces: tuple[Piece, ...]
    start: int
    end: int


class UnexpectedTokenError(Exception):
    """A syntax error: the token text[start:end] cannot stand where it stands."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end


# --- the text as GRUB's reader hands it on, and the way back to the file ----------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """The text that is lexed, and where each of its lines stood in the file.

    GRUB's reader drops carriage returns, what follows a NUL in a line, and lines that begin with `#` (even inside
    of a quoted text).  `complete` is False if the file has more lines than the limit.
    """

    file: str
    text: str
    _starts: list[int] = field(repr=False)
    _lines: list[tuple[int, int, str]] = field(repr=False)  # number, index in the file, the line as it stood
    complete: bool = True

    def span(self, start: int, end: int) -> SourceSpan:
        """Where text[start:end] stands in the file."""
        line, column, origin = self._place(start)
        length = self._place(end - 1)[2] + 1 - origin if end > start else 0
        return SourceSpan(self.file, line, column, length)

    def _place(self, index: int) -> tuple[int, int, int]:
        if not self._lines:
            return 1, 1, 0
        at = bisect_right(self._starts, index) - 1
        number, origin, raw = self._lines[at]
        column = index - self._starts[at]
        if "\r" in raw:
            kept = [place for place, letter in enumerate(raw) if letter != "\r"]
            column = kept[column] if column < len(kept) else len(raw)
        return number, column + 1, origin + column


def read_source(data: bytes, file: str) -> Source:
    """Take the bytes of a file apart into lines as GRUB's reader does."""
    starts: list[int] = []
    lines: list[tuple[int, int, str]] = []
    kept: list[str] = []
    origin = size = 0
    physical = data.decode("utf-8", "surrogateescape").split("\n", LINE_LIMIT)
    complete = len(physical) <= LINE_LIMIT or not physical[-1]
    if len(physical) > LINE_LIMIT or not physical[-1]:
        physical.pop()
    for number, raw in enumerate(physical, 1):
        line = raw.replace("\r", "").partition("\0")[0]
        if not line.startswith("#"):
            starts.append(size)
            lines.append((number, origin, raw))
            kept.append(line)
            size += len(line) + 1
        origin += len(raw) + 1
    return Source(file, "".join(f"{line}\n" for line in kept), starts, lines, complete)


# --- tokens -----------------------------------------------------------------------------------------------

_VARIABLE = r"(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@]|\{(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@])\})"
# Possessive throughout: no input makes these go back and try again.
_TOKEN = re.compile(
    rf"""[ \t]*+(?:
      (?P<comment>\#[^\n]*+)
    | (?P<plain>[^{{}}|&$;<>\ \t\n'"\\]++(?=[;{{}}|&<>\ \t\n]))
    | (?P<word>(?:[^{{}}|&$;<>\ \t\n'"\\]++
                | \$?"(?:[^"\\]|\\[\s\S])*+"
                | '[^']*+'
                | \\[\s\S]
                | \${_VARIABLE})++)
    | (?P<operator>\n|;;|\|\||&&|[;{{}}|&<>])
    )""",
    re.VERBOSE,
)
_BLANKS = re.compile(r"[ \t]*+")
_UNQUOTED = re.compile(
    rf"""(?P<text>[^"'$\\]++)
    | \\(?P<hexadecimal>x[0-9A-Fa-f]{{2}})
    | \\(?P<escaped>[\s\S])
    | '(?P<single>[^']*+)'
    | (?P<translated>\$?)"(?P<double>(?:[^"\\]|\\[\s\S])*+)"
    | \$(?P<variable>{_VARIABLE})""",
    re.VERBOSE,
)
_QUOTED = re.compile(
    rf"""(?P<text>[^$\\]++) | \\(?P<escaped>[$"\\\n]) | \$(?P<variable>{_VARIABLE}) | (?P<stray>\\)""", re.VERBOSE
)


class Lexer:
    """One token at a time: `kind` of the current one, its place `start`:`end`, and `word` if it is one.

    `kind` is WORD, a keyword, an operator, NEWLINE or END.  Keywords are words too: whether one is special depends
    on where it stands.
    """

    __slots__ = ("end", "kind", "start", "text", "word", "words")

    def __init__(self, text: str) -> None:
        self.text = text
        self.kind = NEWLINE
        self.start = self.end = 0
        self.word: Word | None = None
        self.words = 0

    def next(self) -> None:
        """Step to the next token.  Raises `UnexpectedTokenError`."""
        self.kind, self.word = "", None
        match = _TOKEN.match(self.text, self.end)
        if match is not None and match.lastgroup == "comment":
            match = _TOKEN.match(self.text, match.end())
        if match is None:
            self._no_token()
            return
        group = match.lastgroup
        assert group is not None
        raw = match[group]
        self.start, self.end = match.span(group)
        if group == "operator":
            self.kind = raw
            return
        self.words += 1
        if group == "plain":
            if raw in ("[[", "]]"):
                raise UnexpectedTokenError(f"{raw!r} has no meaning", self.start, self.end)
            self.kind = raw if raw in KEYWORDS else WORD
            self.word = Word((Piece("text", raw),), self.start, self.end)
            return
        if raw.endswith("\\\n") and self.end == len(self.text):
            raise UnexpectedTokenError("the file ends in a continued line", self.start, self.end)
        self.kind = WORD
        self.word = Word(tuple(_pieces(raw, self.start)), self.start, self.end)

    def _no_token(self) -> None:
        """The end of the text, or something that begins no token."""
        blanks = _BLANKS.match(self.text, self.end)
        assert blanks is not None
        self.start = self.end = blanks.end()
        if self.start == len(self.text):
            self.kind = END
            return
        letter = self.text[self.start]
        self.end = self.start + 1
        if letter == "$":
            if self.text[self.end : self.end + 1] == '"':
                letter = '"'
            else:
                raise UnexpectedTokenError("'$' without the name of a variable", self.start, self.end)
        if letter in "\"'":
            self.end = len(self.text)
            raise UnexpectedTokenError(f"the text in {letter} is not closed", self.start, self.start + 1)
        raise UnexpectedTokenError(f"{letter!r} has no meaning", self.start, self.end)

    def next_line(self) -> None:
        """Go on behind the line in which the current token ends, as GRUB does after a syntax error."""
        if self.kind != NEWLINE:
            newline = self.text.find("\n", self.end)
            self.end = newline + 1 if newline >= 0 else len(self.text)
        self.kind, self.word = NEWLINE, None


def _pieces(raw: str, start: int) -> list[Piece]:
    """What a word is made of.  Raises `UnexpectedTokenError` for a `$` in quotes that names nothing."""
    pieces: list[Piece] = []
    for match in _UNQUOTED.finditer(raw):
        group = match.lastgroup
        if group == "text":
            pieces.append(Piece("text", match[0]))
        elif group == "hexadecimal":
            pieces.append(Piece("quoted", match[0]))
        elif group == "escaped":
            if match[group] != "\n":
                pieces.append(Piece("quoted", match[group]))
        elif group == "single":
            pieces.append(Piece("quoted", match[group]))
        elif group == "variable":
            pieces.append(Piece("variable", match[group].strip("{}")))
        else:
            pieces += _quoted_pieces(match["double"], start + match.start("double"), bool(match["translated"]))
    return pieces


def _quoted_pieces(raw: str, start: int, translated: bool) -> list[Piece]:
    """The inside of `"..."`, or of the translated form `$"..."`, in which a bare `$` is text."""
    pieces = [Piece("quoted", "")]  # even an empty pair of quotes makes a word
    at = 0
    while at < len(raw):
        match = _QUOTED.match(raw, at)
        if match is None:
            if not translated:
                raise UnexpectedTokenError("'$' without the name of a variable", start + at, start + at + 1)
            pieces.append(Piece("quoted", "$"))
            at += 1
            continue
        if match.lastgroup == "variable":
            pieces.append(Piece("quoted variable", match["variable"].strip("{}")))
        elif match[0] != "\\\n":
            pieces.append(Piece("quoted", match["escaped"] or match[0]))
        at = match.end()
    return pieces
