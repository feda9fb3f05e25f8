"""`grub.cfg`: bytes -> the syntax tree of GRUB 2's shell, with spans.

By hand and not with pyparsing: a boot must not pay for a parser generator, and GRUB's way with errors (a statement
that is wrong is dropped, reading goes on with the next line) is a matter of lines, not of grammar.
Source of the rules: GRUB 2.06 (script/parser.y), checked with its grub-script-check.  Nothing here fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from grammars.grub_words import (
    END,
    KEYWORDS,
    LINE_LIMIT,
    NEWLINE,
    WORD,
    Lexer,
    Piece,
    Source,
    UnexpectedTokenError,
    Word,
    read_source,
)
from grammars.spans import SourceSpan

__all__ = [
    "Block",
    "Command",
    "For",
    "Function",
    "If",
    "Loop",
    "Piece",
    "Problem",
    "Script",
    "Source",
    "Statement",
    "Word",
    "parse",
    "parse_text",
]

DEPTH_LIMIT = 60  # of ours: blocks and `if`s inside each other; real menus end below ten
_LIMITS = ("only the first", "beyond the first", "nested deeper")
WORD_LIMIT = 50_000  # of ours, words a file: bounds time and memory


@dataclass(frozen=True, slots=True)
class Block:
    """`{ ... }` behind a command."""

    source: Source
    start: int
    end: int
    body: tuple[Statement, ...]

    @property
    def text(self) -> str:
        """What stands between the braces."""
        return self.source.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words, the first of which names it, and the block behind them if there is one."""

    source: Source
    words: tuple[Word, ...]
    block: Block | None = None

    @property
    def span(self) -> SourceSpan:
        """From the first word to the last."""
        return self.source.span(self.words[0].start, self.words[-1].end)


@dataclass(frozen=True, slots=True)
class If:
    """`if`, `elif` ...: pairs of condition and body in order, and what `else` holds."""

    branches: tuple[tuple[tuple[Statement, ...], tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class For:
    """`for NAME in WORDS; do BODY; done`."""

    name: str
    words: tuple[Word, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """`while`, or `until` if `until` is set."""

    condition: tuple[Statement, ...]
    body: tuple[Statement, ...]
    until: bool


@dataclass(frozen=True, slots=True)
class Function:
    """`function NAME { BODY }`; GRUB defines it when it has read it, not when it would run it."""

    name: str
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A statement with a syntax error stood here; it is as if it were not there."""

    message: str
    span: SourceSpan

    @property
    def is_limit(self) -> bool:
        """Whether a bound of ours was met, which GRUB does not have."""
        return any(words in self.message for words in _LIMITS)


Statement = Command | If | For | Loop | Function | Problem


@dataclass(frozen=True, slots=True)
class Script:
    """The syntax tree of a file."""

    source: Source
    statements: tuple[Statement, ...]


def parse(data: bytes, file: str) -> Script:
    """The syntax tree of a file; `file` is the name that spans carry.  Never fails, linear in `len(data)`."""
    return parse_source(read_source(data, file))


def parse_text(text: str, file: str = "") -> Script:
    """The same for a text that a command names or somebody has typed."""
    return parse(text.encode("utf-8", "surrogateescape"), file)


def parse_source(source: Source) -> Script:
    """Statement by statement; a wrong one becomes a `Problem`."""
    parser = _Parser(source)
    statements: list[Statement] = []
    while parser.lexer.kind != END:
        if parser.lexer.words > WORD_LIMIT:
            span = source.span(parser.lexer.end, parser.lexer.end)
            statements.append(Problem(f"only the first {WORD_LIMIT} words are read", span))
            break
        statements += parser.read_chunk()
    if not source.complete:
        end = len(source.text)
        statements.append(Problem(f"only the first {LINE_LIMIT} lines are read", source.span(end, end)))
    return Script(source, tuple(statements))


class _Parser:
    """Recursive descent; `lexer` always stands on a token that is not yet used."""

    __slots__ = ("depth", "functions", "lexer", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lexer = Lexer(source.text)
        self.depth = 0
        self.functions: list[Statement] = []

    def read_chunk(self) -> list[Statement]:
        """What GRUB reads before it runs anything: up to the first end of a line outside of every block."""
        lexer = self.lexer
        self.depth = 0
        self.functions = []
        commands: list[Statement] = []
        try:
            lexer.next()
            while lexer.kind not in (NEWLINE, END):
                if lexer.kind == "function":
                    self._function()
                else:
                    commands.append(self._command())
                if lexer.kind == ";":
                    lexer.next()
                elif lexer.kind not in (NEWLINE, END):
                    raise self._unexpected("';' or the end of the line")
        except UnexpectedTokenError as err:
            # Functions that were complete before the error stay defined, commands are lost.
            found = Problem(f"syntax error: {err.message}", self.source.span(err.start, err.end))
            lexer.next_line()
            lexer.words += 1  # so that errors count towards the limit
            return [*self.functions, found]
        return [*self.functions, *commands]

    def _unexpected(self, wanted: str) -> UnexpectedTokenError:
        lexer = self.lexer
        if lexer.kind == END:
            return UnexpectedTokenError(f"{wanted} is missing at the end of the file", lexer.start, lexer.end)
        found = "the end of the line" if lexer.kind == NEWLINE else repr(lexer.text[lexer.start : lexer.end][:40])
        return UnexpectedTokenError(f"{found} where {wanted} should be", lexer.start, lexer.end)

    def _take(self, kind: str) -> None:
        if self.lexer.kind != kind:
            raise self._unexpected(repr(kind))
        self.lexer.next()

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise UnexpectedTokenError(f"nested deeper than {DEPTH_LIMIT}", self.lexer.start, self.lexer.end)
        if self.lexer.words > WORD_LIMIT:
            raise UnexpectedTokenError(f"beyond the first {WORD_LIMIT} words", self.lexer.start, self.lexer.end)

    def _skip_newlines(self) -> None:
        while self.lexer.kind == NEWLINE:
            self.lexer.next()

    # -- statements

    def _command(self) -> Statement:
        kind = self.lexer.kind
        if kind == WORD:
            return self._simple_command()
        if kind == "if":
            return self._if()
        if kind == "for":
            return self._for()
        if kind in ("while", "until"):
            return self._loop()
        raise self._unexpected("a command")

    def _commands(self) -> tuple[tuple[Statement, ...], bool]:
        """One command or more, and whether something separates the last one from what follows."""
        lexer = self.lexer
        self._skip_newlines()
        commands = [self._command()]
        while True:
            if lexer.kind not in (";", NEWLINE):
                return tuple(commands), False
            lexer.next()
            self._skip_newlines()
            if lexer.kind not in (WORD, "if", "for", "while", "until"):
                return tuple(commands), True
            if lexer.words > WORD_LIMIT:
                raise UnexpectedTokenError(f"beyond the first {WORD_LIMIT} words", lexer.start, lexer.end)
            commands.append(self._command())

    def _ended_commands(self) -> tuple[Statement, ...]:
        """Commands that need a `;` or a new line behind the last one."""
        commands, ended = self._commands()
        if not ended:
            raise self._unexpected("';' or the end of the line")
        return commands

    def _arguments(self) -> list[Word]:
        lexer = self.lexer
        words: list[Word] = []
        while lexer.kind == WORD or lexer.kind in KEYWORDS:
            assert lexer.word is not None
            words.append(lexer.word)
            if lexer.words > WORD_LIMIT:
                raise UnexpectedTokenError(f"beyond the first {WORD_LIMIT} words", lexer.start, lexer.end)
            lexer.next()
        return words

    def _simple_command(self) -> Command:
        words = tuple(self._arguments())
        block = self._block() if self.lexer.kind == "{" else None
        return Command(self.source, words, block)

    def _block(self) -> Block:
        start = self.lexer.end
        self._deeper()
        self.lexer.next()
        body, _ended = self._commands()
        end = self.lexer.start
        self._take_last("}")
        return Block(self.source, start, end, body)

    def _take_last(self, kind: str) -> None:
        """The token that closes a compound: what follows may stand on no line that GRUB has read."""
        if self.lexer.kind != kind:
            raise self._unexpected(repr(kind))
        self.depth -= 1
        self.lexer.next()

    def _if(self) -> If:
        self._deeper()
        branches: list[tuple[tuple[Statement, ...], tuple[Statement, ...]]] = []
        otherwise: tuple[Statement, ...] = ()
        while True:
            self.lexer.next()  # past `if` or `elif`
            condition = self._ended_commands()
            self._take("then")
            branches.append((condition, self._ended_commands()))
            if self.lexer.kind != "elif":
                break
        if self.lexer.kind == "else":
            self.lexer.next()
            otherwise = self._ended_commands()
        self._take_last("fi")
        return If(tuple(branches), otherwise)

    def _for(self) -> For:
        self.lexer.next()
        name = self._name()
        self._deeper()
        self._take("in")
        words = tuple(self._arguments())
        if self.lexer.kind not in (";", NEWLINE):
            raise self._unexpected("';' or the end of the line")
        self.lexer.next()
        self._skip_newlines()
        self._take("do")
        body = self._ended_commands()
        self._take_last("done")
        return For(name, words, body)

    def _loop(self) -> Loop:
        until = self.lexer.kind == "until"
        self._deeper()
        self.lexer.next()
        condition = self._ended_commands()
        self._take("do")
        body = self._ended_commands()
        self._take_last("done")
        return Loop(condition, body, until)

    def _function(self) -> None:
        self.lexer.next()
        name = self._name()
        self._deeper()
        self._skip_newlines()
        self._take("{")
        body = self._ended_commands()
        if self.lexer.kind != "}":
            raise self._unexpected("'}'")
        self.functions.append(Function(name, body))
        self._take_last("}")

    def _name(self) -> str:
        lexer = self.lexer
        text = lexer.text[lexer.start : lexer.end]
        if lexer.kind != WORD or not (text.isascii() and text.isidentifier()):
            raise self._unexpected("a name")
        lexer.next()
        return text
