"""`menu.lst` / `grub.conf` of GRUB Legacy 0.97: bytes -> command lines.

Physical lines are joined as GRUB's reader does it before the grammar sees them.  Any bytes are a menu: nothing here
fails, and which words are commands is not known here (their arguments are the matter of `commands`).
"""

from __future__ import annotations

import re

from fsdrivers.light import TYPE_CHECKING, NamedTuple, dataclass
from grammars import _menu_lst
from grammars.commands import Arguments, read_arguments
from grammars.source import Source, Values
from grammars.spans import SourceSpan

if TYPE_CHECKING:
    from pyparsing import ParserElement

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


@dataclass(frozen=True, slots=True)
class MenuFile:
    """The syntax tree: every logical line that is not empty and not a comment, in order.

    `complete` is False if the file has more lines than the limit.
    """

    file: str
    lines: tuple[CommandLine, ...]
    complete: bool = True


class Builder:
    """The grammar's action."""

    def __init__(self, source: Source, cut: set[int]) -> None:
        self._source = source
        self._cut = cut

    def line(self, text: str, at: int, values: Values) -> list[CommandLine]:
        """NAME SEPARATOR ARGUMENT."""
        name, separator, argument = values
        whole = f"{name}{separator}{argument}"
        return [CommandLine(name, argument, whole, at in self._cut, self._source, at)]


def grammar(build: Builder) -> dict[str, ParserElement]:
    """The grammar's starts: a `menu`, and one `line` of it.  To GRUB a NUL ends the text of a line, not the line."""
    from pyparsing import Suppress, ZeroOrMore

    from grammars.elements import blanks, token

    with blanks(""):
        name = token(r"[^ =\0\n]*", name="command")
        separator = token(r"[ =]*", name="blanks and =")
        argument = token(r"[^\0\n]*", name="arguments")
        end = Suppress(token(r"(?:\0[^\n]*)?\n", name="newline"))
        line = (name + separator + argument + end).set_parse_action(build.line)
        return {"menu": ZeroOrMore(line.set_name("line"))}


def parse(data: bytes, file: str, *, line_limit: int = LINE_LIMIT) -> MenuFile:
    """The command lines of a menu; `file` is the name that spans carry.  Never fails, linear in `len(data)`."""
    return _parse(data.decode("utf-8", "surrogateescape"), file, _LOGICAL_LINE, line_limit)


def parse_line(text: str, file: str = "") -> CommandLine | None:
    """One line as typed at a prompt or in an editor, where nothing is a comment; None if there are only blanks."""
    lines = _parse(text.replace("\n", " "), file, _TYPED_LINE, 1).lines
    return lines[0] if lines else None


# GRUB's reader drops carriage returns before it looks at a backslash, so "\", CR, LF continues a line, too.
_LOGICAL_LINE = r"[^\\\n]*+(?:\\(?:\r*+\n)?+[^\\\n]*+)*+\n?"
_TYPED_LINE = "(?s:.+)"
_STRETCH = r"(?P<joint>\\\r*+\n)|(?:[^\\\r\n]|\\(?!\r*+\n))++"


def _parse(text: str, file: str, line: str, line_limit: int) -> MenuFile:
    """Join physical lines as GRUB does, then parse them."""
    kept: list[str] = []
    starts: list[int] = []
    places: list[tuple[int, int, int]] = []
    cut: set[int] = set()
    size, number, lines_left, complete = 0, 1, line_limit, True
    for match in re.finditer(line, text.replace("\t", " ")):
        raw = match[0]
        if "\\" in raw or "\r" in raw or len(raw) > LINE_LIMIT_BYTES // 4:
            stretches, is_cut = _stretches(raw)
        else:
            body = raw.lstrip(" ")
            stretches, is_cut = [(len(raw) - len(body), body.rstrip("\n"))], False
        if stretches and stretches[0][1] and (line == _TYPED_LINE or stretches[0][1][0] != "#"):
            complete = lines_left > 0
            if not complete:
                break
            lines_left -= 1
            if is_cut:
                cut.add(size)
            row, begin, seen = number, 0, 0  # the physical line of a stretch, and its index in `raw`
            for start, stretch in stretches:
                if start > seen and (rows := raw.count("\n", seen, start)):
                    row, begin = row + rows, raw.rindex("\n", seen, start) + 1
                starts.append(size)
                places.append((row, start - begin + 1, match.start() + start))
                kept.append(stretch)
                size += len(stretch)
                seen = start
            kept.append("\n")
            size += 1
        number += raw.count("\n")
    source = Source(file, "".join(kept), starts, places)
    lines: list[CommandLine] = []
    _menu_lst.RULES["menu"](source.text, 0, lines, Builder(source, cut))
    return MenuFile(file, tuple(lines), complete)


def _stretches(raw: str) -> tuple[list[tuple[int, str]], bool]:
    """What GRUB keeps of a line: the parts that stand together in the file, with their indices; whether some is lost.

    A backslash before a newline becomes a blank, but blanks do not begin a line.  Where a full line goes on, the blank
    overwrites its last byte.
    """
    found: list[tuple[int, str]] = []
    room = LINE_LIMIT_BYTES
    is_cut = False
    for match in re.finditer(_STRETCH, raw):
        text = " " if match["joint"] else match[0]
        text = text if found else text.lstrip(" ")
        data = text.encode("utf-8", "surrogateescape")
        is_cut = is_cut or len(data) > room
        if room and text:
            start = match.start() if found or match["joint"] else match.end() - len(text)
            found.append((start, text if len(data) <= room else data[:room].decode("utf-8", "surrogateescape")))
            room -= min(room, len(data))
        elif match["joint"] and found:
            start, text = found[-1]
            kept = text.encode("utf-8", "surrogateescape")[:-1]
            found[-1] = start, kept.decode("utf-8", "surrogateescape") + " "
            break
    return found, is_cut
