"""`menu.lst` / `grub.conf` of GRUB Legacy 0.97: bytes -> command lines.

Physical lines are joined as GRUB's reader does it before the grammar sees them.  Any bytes are a menu: nothing here
fails, and which words are commands is not known here (their arguments are the matter of `commands`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from grammars import _menu_lst
from grammars.commands import Arguments, read_arguments
from grammars.source import Source, Values
from grammars.spans import SourceSpan

if TYPE_CHECKING:
    from grammars.elements import ParserElement

LINE_LIMIT_BYTES = 1500  # NEW_HEAPSIZE of GRUB: the rest of a longer line is lost
LINE_LIMIT = 100_000  # of ours, lines a file: bounds time and memory; GRUB's menus end far below


class CommandLine(NamedTuple):
    """One logical line: `name` up to the first blank or `=`, `argument` all that follows the separator.

    `text` is the whole line as GRUB stores and echoes it; `cut` says that the line was longer than GRUB's limit, so
    that its end is lost.  `source` and `start` tell where it stands; spans are worked out when they are asked for.
    """

    name: str
    argument: str
    text: str
    cut: bool
    source: Source
    start: int

    @property
    def span(self) -> SourceSpan:
        """The whole line, from the name to the end of the argument."""
        return self.part(0, len(self.text))

    @property
    def name_span(self) -> SourceSpan:
        """The command's name."""
        return self.part(0, len(self.name))

    @property
    def argument_span(self) -> SourceSpan:
        """All that follows the separator; empty at the end of the line if nothing does."""
        return self.argument_part(0, len(self.argument))

    @property
    def arguments(self) -> Arguments:
        """The argument taken apart by the syntax of its command."""
        return read_arguments(self.name, self.argument)

    def argument_part(self, start: int, end: int) -> SourceSpan:
        """Where argument[start:end] stands in the file."""
        before = len(self.text) - len(self.argument)
        return self.part(before + start, before + end)

    def part(self, start: int, end: int) -> SourceSpan:
        """Where text[start:end] stands in the file."""
        return self.source.span(self.start + start, self.start + end)


class MenuFile(NamedTuple):
    """The syntax tree: every logical line that is not empty and not a comment, in order.

    `complete` is False if the file has more lines than the limit.
    """

    file: str
    lines: tuple[CommandLine, ...]
    complete: bool = True


class Builder:
    """The grammar's action."""

    def __init__(self, source: Source, cut: frozenset[int]) -> None:
        self._source = source
        self._cut = cut

    def line(self, text: str, at: int, values: Values) -> list[CommandLine]:
        """NAME SEPARATOR ARGUMENT."""
        name, separator, argument = values
        whole = f"{name}{separator}{argument}"
        return [CommandLine(name, argument, whole, at in self._cut, self._source, at)]


def grammar(build: Builder) -> dict[str, ParserElement]:
    """The grammar's starts: a `menu`, and one `line` of it.  To GRUB a NUL ends the text of a line, not the line."""
    from grammars.elements import Suppress, ZeroOrMore, blanks, token

    with blanks(""):
        name = token(r"[^ =\0\n]*", name="command")
        separator = token(r"[ =]*", name="blanks and =")
        argument = token(r"[^\0\n]*", name="arguments")
        end = Suppress(token(r"(?:\0[^\n]*)?\n", name="newline"))
        line = (name + separator + argument + end).set_parse_action(build.line)
        return {"menu": ZeroOrMore(line.set_name("line"))}


def parse(data: bytes, file: str, *, line_limit: int = LINE_LIMIT) -> MenuFile:
    """The command lines of a menu; `file` is the name that spans carry.  Never fails, linear in `len(data)`."""
    reader = _Reader(line_limit)
    reader.read(data.decode("utf-8", "surrogateescape"))
    return reader.parse(file)


def parse_line(text: str, file: str = "") -> CommandLine | None:
    """One line as typed at a prompt or in an editor; None if nothing but blanks stands there."""
    text = text.replace("\t", " ").replace("\n", " ")
    body = text.lstrip(" ")
    reader = _Reader(1)
    reader.add(body, 1, len(text) - len(body), 0)
    reader.end_line()
    return next(iter(reader.parse(file).lines), None)


class _Reader:
    """Joins physical lines as GRUB does: continuations, comments, carriage returns, indentation, the limit in bytes.

    `_pieces` are the stretches of the logical line that is being read: text, line, column and index in the file.
    """

    def __init__(self, line_limit: int) -> None:
        self._room = line_limit
        self._complete = True
        self._pieces: list[tuple[str, int, int, int]] = []
        self._bytes = 0
        self._is_cut = False
        self._cut: set[int] = set()
        self._kept: list[str] = []
        self._starts: list[int] = []
        self._places: list[tuple[int, int, int]] = []
        self._size = 0

    def parse(self, file: str) -> MenuFile:
        """The lines read so far."""
        source = Source(file, "".join(self._kept), self._starts, self._places)
        lines: list[CommandLine] = []
        _menu_lst.RULES["menu"](source.text, 0, lines, Builder(source, frozenset(self._cut)))
        return MenuFile(file, tuple(lines), self._complete)

    def read(self, text: str) -> None:
        """All physical lines of a file."""
        comment = False
        offset = 0
        last = text.count("\n") + 1
        for number, raw in enumerate(text.split("\n"), 1):
            # GRUB drops carriage returns before it looks at a backslash, so "\", CR, LF continues a line too.
            continues = "\\" in raw and number < last and raw.rstrip("\r").endswith("\\")
            if not comment:
                column = 0
                for stretch in raw.replace("\t", " ").split("\r"):
                    body = stretch if self._pieces else stretch.lstrip(" ")
                    if not self._pieces and body.startswith("#"):
                        comment = True
                        break
                    self.add(body, number, column + len(stretch) - len(body), offset)
                    column += len(stretch) + 1
                if continues and not comment:
                    self.continue_line()
            offset += len(raw) + 1
            if not continues:  # a comment that ends in a backslash takes the next line with it
                comment = False
                if self._pieces and not self.end_line():
                    return
        self.end_line()

    def add(self, text: str, line: int, column: int, offset: int) -> None:
        """Characters of a physical line that begins at `offset`."""
        room = LINE_LIMIT_BYTES - self._bytes
        size = len(text) if text.isascii() else len(_encode(text))
        if size > room:
            self._is_cut = True
            text, size = _decode(_encode(text)[:room]), room
        if text:
            self._pieces.append((text, line, column + 1, offset + column))
            self._bytes += size

    def continue_line(self) -> None:
        """A blank overwrites the last stored byte: the backslash, or what the limit left in its place."""
        text, line, column, offset = self._pieces.pop()
        kept = _decode(_encode(text)[:-1])
        self._bytes -= len(_encode(text))
        if self._pieces or kept:  # a backslash alone leaves nothing, and blanks do not begin a line
            self.add(kept + " ", line, column - 1, offset - column + 1)

    def end_line(self) -> bool:
        """Hand the logical line on; False if there are more of them than the limit."""
        if not self._pieces:
            return True
        if not self._room:
            self._complete = False
            return False
        self._room -= 1
        if self._is_cut:
            self._cut.add(self._size)
        for text, *place in self._pieces:
            self._starts.append(self._size)
            self._places.append((place[0], place[1], place[2]))
            self._kept.append(text)
            self._size += len(text)
        self._kept.append("\n")
        self._size += 1
        self._pieces, self._bytes, self._is_cut = [], 0, False
        return True


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
