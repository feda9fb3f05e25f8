"""`grub.cfg`: bytes -> the syntax tree of GRUB 2's shell, with spans.

Source of the rules: GRUB 2.06 (script/parser.y and yylex.l), checked with its grub-script-check; one departure: an
unquoted `\\xHH` keeps its backslash, as the GRUB of Fedora, RHEL and SUSE does, whose installers count on it.
A statement with a syntax error becomes a `Problem`, and reading goes on with the next line.  Nothing here fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from fsdrivers.light import TYPE_CHECKING, Any, Literal, NamedTuple, dataclass
from grammars import _grub_cfg
from grammars.source import Fault, Source, Values, read_lines
from grammars.spans import SourceSpan

if TYPE_CHECKING:
    from pyparsing import ParserElement

PieceKind = Literal["text", "quoted", "variable", "quoted variable"]

LINE_LIMIT = 100_000  # of ours, lines a file: bounds memory
WORD_LIMIT = 50_000  # of ours, words a file: bounds time and memory
DEPTH_LIMIT = 60  # of ours: blocks and `if`s inside each other; real menus end below ten
SHOWN_CHARACTERS = 40


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


class Command(NamedTuple):
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
    """A statement with a syntax error stood here; it is as if it were not there.

    `is_limit`: a bound of ours was met, which GRUB does not have.
    """

    message: str
    span: SourceSpan
    is_limit: bool = False


Statement = Command | If | For | Loop | Function | Problem


@dataclass(frozen=True, slots=True)
class Script:
    """The syntax tree of a file."""

    source: Source
    statements: tuple[Statement, ...]


def parse(data: bytes, file: str) -> Script:
    """The syntax tree of a file; `file` is the name that spans carry.  Never fails, linear in `len(data)`."""
    source = read_source(data, file)
    statements: list[Statement] = []
    _grub_cfg.RULES["script"](source.text, 0, statements, Builder(source))
    if not source.complete:
        end = len(source.text)
        message = f"only the first {LINE_LIMIT} lines are read"
        statements.append(Problem(message, source.span(end, end), is_limit=True))
    return Script(source, tuple(statements))


def parse_text(text: str, file: str = "") -> Script:
    """The same for a text that a command names or somebody has typed."""
    return parse(text.encode("utf-8", "surrogateescape"), file)


def commands(statements: Iterable[Statement], *, blocks: bool = True) -> Iterator[Command]:
    """Every simple command of a script in order: of branches, loops and functions, and of blocks behind commands."""
    waiting = [iter(statements)]
    while waiting:
        statement = next(waiting[-1], None)
        if statement is None:
            waiting.pop()
        elif isinstance(statement, Command):
            yield statement
            if statement.block is not None and blocks:
                waiting.append(iter(statement.block.body))
        elif isinstance(statement, If):
            parts = [part for branch in statement.branches for part in branch]
            waiting += [iter(part) for part in reversed([*parts, statement.otherwise])]
        elif isinstance(statement, For | Loop | Function):
            waiting.append(iter(statement.body))


def split_words(text: str) -> list[str]:
    """The words of a line without variables, their quotes resolved; an unclosed quote ends with the line."""
    words: list[str] = []
    _grub_cfg.RULES["words"](text, 0, words, Builder(Source("", text, [], [])))
    return words


def read_source(data: bytes, file: str) -> Source:
    """The text that the grammar reads.

    GRUB's reader drops carriage returns, what follows a NUL in a line, and lines that begin with `#` (even inside of a
    quoted text).
    """
    return read_lines(data, file, _kept, line_limit=LINE_LIMIT)


def _kept(line: str) -> list[tuple[int, str]]:
    line = line.partition("\0")[0]
    if "\r" not in line:
        return [] if line.startswith("#") else [(0, line)]
    kept = [(match.start(), match[0]) for match in re.finditer(r"[^\r]+", line)]
    return [] if kept and kept[0][1].startswith("#") else kept or [(len(line), "")]


# --- the grammar ------------------------------------------------------------------------------------------

_KEYWORDS = "case|do|done|elif|else|esac|fi|for|if|in|select|then|until|while|function"
_END = r"(?=[;{}|&<> \t\n])"
_TEXT = r"""[^{}|&$;<> \t\n'"\\]++"""
_WORD = rf"(?=[^#{{}}|&;<> \t\n])(?!(?:\[\[|\]\]){_END})"
_NAME = "[A-Za-z_][A-Za-z0-9_]*+"
_PARAMETER = rf"(?:{_NAME}|[0-9]++|[?#*@])"
_VARIABLE = rf"\$(?:{_PARAMETER}|\{{{_PARAMETER}\}})"
_ESCAPE = r"\\(?:x[0-9A-Fa-f]{2}|[^\n]|\n(?=[\s\S]))"


def grammar(build: Builder) -> dict[str, ParserElement]:
    """The grammar's starts, `script` and `words`; the rules have the names that they have in parser.y."""
    from pyparsing import Empty, Forward, Group, OneOrMore, Opt, Suppress, ZeroOrMore

    from grammars.elements import Recovering, blanks, token

    def keyword(word: str, action: Any = None) -> ParserElement:
        """A word that is special where a command may begin."""
        element = token(f"{word}{_END}", action)
        return (element if action is not None else Suppress(element)).set_name(repr(word))

    def piece(pattern: str, action: Any, name: str) -> ParserElement:
        """A part of a word: no blanks before it."""
        return token(pattern, action, name).leave_whitespace()

    with blanks(" \t"):
        here = Empty().leave_whitespace().set_parse_action(build.here)

        # words (yylex.l)
        text = piece(_TEXT, build.text, "text")
        escape = piece(_ESCAPE, build.escaped, "escape")
        variable = piece(_VARIABLE, build.variable, "variable")
        single_quoted = piece("'[^']*+'", build.single_quoted, "text in single quotes")
        quote = piece('"', build.open_quote, '"')
        closing_quote = Suppress(piece('"', None, '"')).set_name("closing quote")
        quoted_piece = (
            piece(r'[^"$\\]++', build.quoted, "text")
            | piece(r'\\[$"\\\n]', build.escaped, "escape")
            | piece(_VARIABLE, build.quoted_variable, "variable")
            | piece(r"\\", build.backslash, "backslash")
        )
        double_quoted = (quote - ZeroOrMore(quoted_piece) - closing_quote).set_name("text in double quotes")
        # In the translated form a dollar sign alone is text, too.
        dollar = piece(r"\$", build.dollar, "dollar sign")
        translated = piece(r'\$"', build.open_quote, '$"') - ZeroOrMore(quoted_piece | dollar) - closing_quote
        translated.set_name("translated text")
        first = piece(rf"[ \t]*+{_WORD}", build.begin_word, "")
        pieces = OneOrMore(text | escape | single_quoted | variable | double_quoted | translated)
        compound_word = (first + pieces + here).set_parse_action(build.word).set_name("compound word")
        plain_word = token(f"{_WORD}{_TEXT}{_END}", build.plain_word, "plain word")
        word = (plain_word | compound_word).set_name("word")
        unreserved = Suppress(token(rf"(?!(?:{_KEYWORDS}){_END})", name="not a keyword"))
        name = token(rf"(?!(?:{_KEYWORDS}){_END}){_NAME}{_END}", None, "a name")

        # what stands between commands
        newline = token(r"(?:#[^\n]*+)?\n", name="newline")
        semicolon = token(";(?!;)", name="';'")
        newlines0 = Suppress(ZeroOrMore(newline))
        delimiters1 = Suppress((semicolon | newline) + ZeroOrMore(newline)).set_name("';' or the end of the line")

        # commands
        command = Forward()
        statements1 = (newlines0 - command + ZeroOrMore(delimiters1 + command)).set_name("commands1")
        commands1 = Group(statements1)
        opening_brace = token(r"\{", build.open_brace, "'{'")
        closing_brace = token(r"\}", build.close_brace, "'}'")
        block = (opening_brace - commands1 + Opt(delimiters1) - closing_brace).set_parse_action(build.block)
        grubcmd = (unreserved + Group(OneOrMore(word)) + Opt(block.set_name("block"))).set_parse_action(build.command)
        if_statement = commands1 - delimiters1 - keyword("then") - commands1 - delimiters1
        if_statement.set_parse_action(build.bodies).set_name("if_statement")
        ifcmd = (
            keyword("if", build.open)
            - if_statement
            + ZeroOrMore(keyword("elif") - if_statement)
            + Group(Opt(keyword("else") - statements1 - delimiters1))
            - keyword("fi", build.close)
        )
        do_done = delimiters1 - keyword("do") - commands1 - delimiters1 - keyword("done", build.close)
        do_done.set_parse_action(build.bodies).set_name("do_done")
        forcmd = keyword("for", build.open) - name - keyword("in") - Group(ZeroOrMore(word)) - do_done
        loop = token(f"(?:while|until){_END}", build.open_loop, "'while' or 'until'")
        any_command = (
            grubcmd.set_name("grubcmd")
            | ifcmd.set_parse_action(build.ifcmd).set_name("ifcmd")
            | forcmd.set_parse_action(build.forcmd).set_name("forcmd")
            | (loop - commands1 - do_done).set_parse_action(build.whilecmd).set_name("whilecmd")
        )
        command <<= any_command.set_name("a command")
        function = keyword("function") - name - newlines0 - opening_brace - commands1 - delimiters1 - closing_brace
        statement = function.set_parse_action(build.function).set_name("function") | command
        statement.set_name("a command")

        # GRUB reads up to the end of a line outside of every block, then runs it; what is wrong ends with its line.
        begin = token(r"(?=[^ \t\n])", build.begin, "")
        separator = Suppress(semicolon)
        end = separator - Suppress(newline).set_name("a command") | Suppress(newline)
        end.set_name("';' or the end of the line")
        statements = begin - statement + ZeroOrMore(separator + statement) + end
        statements.set_parse_action(build.line).set_name("line")
        wrong = Suppress(token(r"[^\n]*+\n?", name="rest of the line").leave_whitespace())
        line = Suppress(newline) | Recovering(statements, wrong, build.missing, build.problem).set_name(
            "line or problem"
        )

        # one line without variables
        loose_double = (
            quote
            + ZeroOrMore(
                piece(r'[^"\\]++', build.quoted, "text")
                | piece(r'\\[$"\\]', build.escaped, "escape")
                | piece(r"\\", build.backslash, "backslash")
            )
            + Opt(Suppress(piece('"', None, '"')))
        )
        loose_word = OneOrMore(
            piece(r"""[^ \t'"\\]++""", build.text, "text")
            | piece(r"\\(?:x[0-9A-Fa-f]{2}|[\s\S]|\Z)", build.escaped, "escape")
            | piece("'[^']*+'?", build.single_quoted, "text in single quotes")
            | loose_double.set_name("loose text in double quotes")
        ).set_parse_action(build.join)
        gap = Suppress(token(r"[ \t]*+(?=[^ \t])", name="blanks").leave_whitespace())
        return {"script": ZeroOrMore(line), "words": ZeroOrMore(gap + loose_word.set_name("loose word"))}


_PIECES = rf"""(?:{_TEXT}|\$?"(?:[^"\\]|\\[\s\S])*+"|'[^']*+'|\\[\s\S]|{_VARIABLE})"""
# What stands where something else should, for messages and to know where to go on.
_FOUND = rf"""[ \t]*+(?:(?:\#[^\n]*+)?(?P<newline>\n) | (?P<continued>\\\n\Z) | (?P<word>{_PIECES}++)
    | \$?(?P<quote>["']) | (?P<dollar>\$) | (?P<symbol>;;|\|\||&&|[\s\S]) | (?P<end>\Z))"""
_QUOTED_REST = rf'(?:[^"\\]|\\[\s\S])*+"{_PIECES}*+'


@cache
def _matcher(pattern: str) -> Callable[[str, int], re.Match[str] | None]:
    return re.compile(pattern, re.VERBOSE if pattern is _FOUND else re.NOFLAG).match


_new = tuple.__new__  # named tuples in half the time, for what most words are


def _piece(kind: PieceKind) -> Callable[[Builder, str, int, Values], list[Piece]]:
    """The action that makes a piece of this kind."""
    return lambda _build, _text, _at, values: [Piece(kind, values[0].strip("${}") if "variable" in kind else values[0])]


class Builder:
    """The actions of the grammar, and what they must remember: how deep they are, and how much was read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._words = 0
        self._depth = 0
        self._quote = 0
        self._functions: list[Statement] = []

    # -- words

    text = _piece("text")
    quoted = backslash = dollar = _piece("quoted")
    variable = _piece("variable")
    quoted_variable = _piece("quoted variable")

    def here(self, _text: str, at: int, _values: Values) -> list[int]:
        return [at]

    def escaped(self, _text: str, _at: int, values: Values) -> list[Piece]:
        text = values[0]
        if text == "\\\n":
            return []
        return [Piece("quoted", text if len(text) != 2 else text[1])]

    def single_quoted(self, _text: str, _at: int, values: Values) -> list[Piece]:
        return [Piece("quoted", values[0][1:].partition("'")[0])]

    def open_quote(self, _text: str, at: int, values: Values) -> list[Piece]:
        self._quote = at + len(values[0]) - 1
        return [Piece("quoted", "")]  # even an empty pair of quotes makes a word

    def begin_word(self, _text: str, at: int, values: Values) -> list[int]:
        return [at + len(values[0])]

    def word(self, text: str, _at: int, values: Values) -> list[Word]:
        start, *pieces, end = values
        self._words += 1
        if self._words > WORD_LIMIT:
            raise self._too_many_words(text, start)
        return [Word(tuple(pieces), start, end)]

    def plain_word(self, text: str, at: int, values: Values) -> list[Word]:
        self._words += 1
        if self._words > WORD_LIMIT:
            raise self._too_many_words(text, at)
        value = values[0]
        return [_new(Word, ((_new(Piece, ("text", value)),), at, at + len(value)))]

    def join(self, _text: str, _at: int, values: Values) -> list[str]:
        return ["".join(piece.text for piece in values)]

    def _too_many_words(self, text: str, at: int) -> Fault:
        return Fault(f"only the first {WORD_LIMIT} words are read", at, at, len(text), is_limit=True)

    # -- commands

    def open(self, _text: str, at: int, values: Values) -> list[Any]:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            end = at + len(values[0])
            raise Fault(f"nested deeper than {DEPTH_LIMIT}", at, end, end, is_limit=True)
        return []

    def close(self, _text: str, _at: int, _values: Values) -> list[Any]:
        self._depth -= 1
        return []

    def open_brace(self, text: str, at: int, values: Values) -> list[int]:
        return [*self.open(text, at, values), at + 1]

    def close_brace(self, text: str, at: int, values: Values) -> list[int]:
        return [*self.close(text, at, values), at]

    def open_loop(self, text: str, at: int, values: Values) -> list[bool]:
        return [*self.open(text, at, values), values[0] == "until"]

    def bodies(self, _text: str, _at: int, values: Values) -> list[Any]:
        return [tuple(map(tuple, values))]

    def block(self, _text: str, _at: int, values: Values) -> list[Block]:
        start, body, end = values
        return [Block(self._source, start, end, tuple(body))]

    def command(self, _text: str, _at: int, values: Values) -> list[Command]:
        return [Command(self._source, tuple(values[0]), values[1] if len(values) > 1 else None)]

    def ifcmd(self, _text: str, _at: int, values: Values) -> list[If]:
        *branches, otherwise = values
        return [If(tuple(branches), tuple(otherwise))]

    def forcmd(self, _text: str, _at: int, values: Values) -> list[For]:
        name, words, (body,) = values
        return [For(name, tuple(words), body)]

    def whilecmd(self, _text: str, _at: int, values: Values) -> list[Loop]:
        until, condition, (body,) = values
        return [Loop(tuple(condition), body, until)]

    def function(self, _text: str, _at: int, values: Values) -> list[Statement]:
        self._functions.append(Function(values[0], tuple(values[2])))
        return []

    # -- lines

    def begin(self, text: str, at: int, _values: Values) -> list[int]:
        self._depth = 0
        self._functions = []
        if self._words > WORD_LIMIT:
            raise self._too_many_words(text, at)
        return []

    def line(self, _text: str, _at: int, values: Values) -> list[Statement]:
        return [*self._functions, *values]

    def missing(self, text: str, at: int, wanted: str) -> Fault:
        """The fault that something `wanted` does not stand at text[at]."""
        if wanted == "closing quote":  # GRUB reads on to the end of the word
            closed = _matcher(_QUOTED_REST)(text, at)
            if closed is not None:
                return Fault("'$' without the name of a variable", at, at + 1, closed.end())
            return Fault('the text in " is not closed', self._quote, self._quote + 1, len(text))
        match = _matcher(_FOUND)(text, at)
        assert match is not None and match.lastgroup is not None
        kind = match.lastgroup
        start, end = match.span(kind)
        if kind == "quote":
            return Fault(f"the text in {text[start]} is not closed", start, start + 1, len(text))
        if kind == "dollar":
            return Fault("'$' without the name of a variable", start, end, end)
        if kind == "continued":
            return Fault("the file ends in a continued line", start, end, end)
        if kind == "end":
            return Fault(f"{wanted} is missing at the end of the file", start, end, end)
        found = "the end of the line" if kind == "newline" else repr(match[kind][:SHOWN_CHARACTERS])
        return Fault(f"{found} where {wanted} should be", start, end, start if kind == "newline" else end)

    def problem(self, fault: Fault) -> list[Statement]:
        """What is left of the statements up to a fault: GRUB keeps the functions that were complete."""
        self._words += 1  # so that errors count towards the limit
        message = fault.message if fault.is_limit else f"syntax error: {fault.message}"
        return [*self._functions, Problem(message, self._source.span(fault.start, fault.end), fault.is_limit)]
