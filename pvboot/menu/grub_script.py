"""Running the scripts of `grub.cfg`: variables, words, control flow (GRUB 2.06, script/execute.c).

What single commands do is `grub_commands`' matter.  Every run is bounded by a `Budget`, so a script that loops or
grows for ever ends, and what it said so far counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from fsdrivers.light import dataclass, field
from grammars.grub_cfg import Command, For, Function, If, Loop, Problem, Script, Statement, Word
from grammars.spans import SourceSpan
from pvboot.device_names import Device
from pvboot.grub_errors import quoted
from pvboot.menu.grub_disks import Disks, RootContext
from pvboot.menu.model import BootFiles, MenuWarning

STEP_LIMIT = 100_000  # of one run: loading the menu, or one entry
TOTAL_STEP_LIMIT = 400_000  # of all runs of one menu together
CALL_LIMIT = 60  # statements inside each other, functions and files included
VALUE_LIMIT = 64 << 10  # characters of a word
WARNING_LIMIT = 1000
BYTES_A_STEP = 64

_BLANKS = "[ \t\r\n]+"
_SPECIAL = frozenset("#*@")


class Exhausted(Exception):  # noqa: N818  (control flow)
    """A script ran longer, or grew larger, than it may."""


class Stopped(Exception):  # noqa: N818  (control flow)
    """A command ended the whole script (`boot`, `exit`, `halt` ...); `command` is its name."""

    def __init__(self, command: str) -> None:
        super().__init__(command)
        self.command = command


@dataclass(slots=True)
class Budget:
    """What is left of a run's steps, and of those of the whole menu."""

    total: int = TOTAL_STEP_LIMIT
    left: int = 0

    def begin(self, limit: int = STEP_LIMIT) -> None:
        """A new run; it may use what the menu has left, `limit` at most."""
        self.left = min(limit, self.total)

    def charge(self, steps: int) -> None:
        """Raises `Exhausted`."""
        self.left -= steps
        self.total -= steps
        if self.left < 0:
            raise Exhausted("the script is stopped: it takes too long")


@dataclass(slots=True)
class Environment:
    """The variables of one context; a new context sees those that are exported.

    `loops` are the names that `loopback` has given to files.
    """

    values: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    loops: dict[str, Device] = field(default_factory=dict)

    def child(self) -> Environment:
        """A new context."""
        values = {name: value for name, value in self.values.items() if name in self.exported}
        return Environment(values, set(self.exported), dict(self.loops))

    def copy(self) -> Environment:
        """The same variables, to be changed apart."""
        return Environment(dict(self.values), set(self.exported), dict(self.loops))

    @property
    def place(self) -> RootContext:
        """Where names of files count from."""
        return RootContext(self.get("root"), self.loops)

    def get(self, name: str) -> str:
        """The value, "" if there is none."""
        return self.values.get(name, "")

    def set(self, name: str, value: str) -> None:
        """GRUB takes the parentheses off a device that becomes the root."""
        if name == "root" and value.startswith("(") and value.endswith(")"):
            value = value[1:-1]
        self.values[name] = value


@dataclass(slots=True)
class Loaded:
    """What the commands of an entry have loaded so far; names are those of `BootFiles`."""

    kernel: str | None = None
    args: str = ""
    initrds: tuple[str, ...] = ()
    typed_args: str | None = None
    hypervisor: str | None = None
    modules: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Node:
    """An entry or a submenu, as `default` counts them; `children` is set when a submenu was opened."""

    title: str
    id: str
    span: SourceSpan
    args: tuple[str, ...] = ()
    body: tuple[Statement, ...] = ()
    restricted: bool = True
    is_submenu: bool = False
    children: Level | None = None
    files: Callable[[], BootFiles] | None = None  # of an entry that is not a script
    index: int = 0  # of the entry in the flat list


@dataclass(slots=True)
class Level:
    """One menu: its nodes, and the variables at its end, with which its entries run."""

    environment: Environment
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Shared:
    """What all runs of one menu have in common."""

    disks: Disks
    budget: Budget
    on_warning: Callable[[MenuWarning], object] = lambda _warning: None
    warnings: list[MenuWarning] = field(default_factory=list)
    functions: dict[str, tuple[Statement, ...]] = field(default_factory=dict)
    passwords: dict[str, tuple[str, str]] = field(default_factory=dict)

    def warn(self, message: str, span: SourceSpan | None = None, code: str = "", *, subject: str = "") -> None:
        """Remember that something is wrong."""
        self.hear(MenuWarning(message, span, code, subject))

    def hear(self, warning: MenuWarning) -> None:
        """Remember a warning; the same one at the same place only once."""
        self.on_warning(warning)
        if len(self.warnings) < WARNING_LIMIT and warning not in self.warnings[-20:]:
            self.warnings.append(warning)


@dataclass(slots=True)
class Call:
    """A command that is called: by which name, and its words as they were expanded."""

    run: Interpreter
    name: str
    args: list[str]
    command: Command
    options: Mapping[str, str | None] = field(default_factory=dict)

    def fail(self, message: str, code: str = "") -> int:
        """Warn at the command's place; return the status of a command that failed."""
        self.run.shared.warn(message, self.command.span, code)
        return 1


Handler = Callable[[Call], int]


class Interpreter:
    """One run in one context.

    `level` takes the entries that the script defines, None while an entry runs.  A status is 0 for success.
    """

    def __init__(
        self, shared: Shared, commands: dict[str, Handler], environment: Environment, level: Level | None
    ) -> None:
        self.shared = shared
        self.commands = commands
        self.environment = environment
        self.level = level
        self.loaded = Loaded()
        self.parameters: list[str] | None = None
        self.file_depth = 0
        self.depth = 0  # statements inside each other at this moment
        self._loops = 0
        self._breaks = 0
        self._continuing = False
        self._returning = False

    # -- statements

    def run_script(self, script: Script) -> int:
        """All of a file; what is wrong in it is passed over with a warning."""
        return self.run_all(script.statements)

    def run_with_parameters(self, body: tuple[Statement, ...], parameters: Sequence[str]) -> int:
        """Run a body that sees `parameters` as $1, $2 ..."""
        saved = self.parameters, self._loops
        self.parameters, self._loops = list(parameters), 0
        try:
            return self.run_all(body)
        finally:
            self.parameters, self._loops = saved

    def run_all(self, statements: tuple[Statement, ...]) -> int:
        """One statement after the other; the status is the last one's."""
        status = 0
        if self.depth >= CALL_LIMIT:  # as GRUB, which fails the call and goes on
            self.shared.warn(f"statements nested deeper than {CALL_LIMIT} fail")
            return 1
        self.depth += 1
        for statement in statements:
            if self._breaks:
                break
            status = self._run(statement)
            self.environment.values["?"] = str(status)
            if self._returning:
                break
        self.depth -= 1
        return status

    def _run(self, statement: Statement) -> int:
        self.shared.budget.charge(1)
        if isinstance(statement, Command):
            return self._run_command(statement)
        if isinstance(statement, If):
            return self._run_if(statement)
        if isinstance(statement, For):
            return self._run_for(statement)
        if isinstance(statement, Loop):
            return self._run_loop(statement)
        if isinstance(statement, Function):
            self.shared.functions[statement.name] = statement.body
        elif isinstance(statement, Problem):
            self.shared.warn(statement.message, statement.span, "syntax-error")
        return 0

    def _run_if(self, statement: If) -> int:
        for condition, body in statement.branches:
            status = self.run_all(condition)
            if self._returning:
                return status
            if self.environment.get("?") == "0":
                return self.run_all(body)
        return self.run_all(statement.otherwise)

    def _run_for(self, statement: For) -> int:
        status = 0
        words = self.expand(statement.words)
        self._loops += 1
        for word in words:
            self.shared.budget.charge(1)
            if self._continuing and self._breaks == 1:
                self._breaks = 0
            if self._breaks:
                break
            self.environment.set(statement.name, word)
            status = self.run_all(statement.body)
            if self._returning:
                break
        self._end_loop()
        return status

    def _run_loop(self, statement: Loop) -> int:
        self._loops += 1
        while True:
            self.shared.budget.charge(1)
            status = self.run_all(statement.condition)
            if self._returning or (status == 0) is statement.until:
                break
            status = self.run_all(statement.body)
            if self._returning:
                break
            if self._continuing and self._breaks == 1:
                self._breaks = 0
            if self._breaks:
                break
        self._end_loop()
        return status

    def _end_loop(self) -> None:
        if self._breaks:
            self._breaks -= 1
        self._loops -= 1

    def leave_loops(self, count: int, *, again: bool) -> None:
        """`break`, or `continue` if `again` is set."""
        self._continuing = again
        self._breaks = min(count, self._loops)

    def leave_function(self) -> None:
        """`return`."""
        self._returning = True

    # -- simple commands

    def _run_command(self, command: Command) -> int:
        words = self.expand(command.words)
        inverted = bool(words) and words[0] == "!"
        if inverted:
            words = words[1:]
            if not words:
                return Call(self, "!", [], command).fail("'!' without a command")
        if not words:
            return 0
        name = words[0]
        handler = self.commands.get(name)
        if handler is not None:
            status = handler(Call(self, name, words[1:], command))
        elif name in self.shared.functions:
            status = self.run_with_parameters(self.shared.functions[name], words[1:])
            self._returning = False
        else:
            # GRUB complains of an unknown command, and goes on as if it had succeeded; `!` does not count then.
            variable, equals, value = name.partition("=")
            if not equals:
                self.shared.warn(
                    f"unknown command {quoted(name)} is skipped", command.span, "unknown-command", subject=name
                )
            elif _is_special(variable):
                self.shared.warn(f"{quoted(variable)} cannot be set", command.span)
            else:
                self.environment.set(variable, value)
            return 0
        return int(status == 0) if inverted else status

    # -- words

    def expand(self, words: Sequence[Word]) -> list[str]:
        """Variables, splitting, wildcards: what the words of a command become."""
        result: list[str] = []
        for word in words:
            kind, text = word.pieces[0] if len(word.pieces) == 1 else ("", "")
            if kind == "text" and "*" not in text and "?" not in text:
                result.append(text)
            else:
                self._expand_word(word, result)
        return result

    def _expand_word(self, word: Word, result: list[str]) -> None:
        """`field` collects one word in pieces, each with whether wildcards in it count; None: nothing yet."""
        parts: list[tuple[str, bool]] = []
        size = 0
        for kind, text in word.pieces:
            values = [text] if kind in ("text", "quoted") else self._values(text, quoted=kind == "quoted variable")
            active = kind in ("text", "variable")
            for number, value in enumerate(values):
                self.shared.budget.charge(kind in ("variable", "quoted variable"))  # "$@" may double with every call
                if number:
                    self._finish(parts, result)
                    parts, size = [], 0
                if value or kind == "quoted" or (kind == "quoted variable" and len(values) > 1):
                    parts.append((value, active))
                    size += len(value)
                    self.shared.budget.charge(len(value) // BYTES_A_STEP)
                    if size > VALUE_LIMIT:
                        raise Exhausted(f"the script is stopped: a word of more than {VALUE_LIMIT} characters")
        self._finish(parts, result)

    def _finish(self, parts: list[tuple[str, bool]], result: list[str]) -> None:
        if not parts:
            return
        text = "".join(part for part, _active in parts)
        if any(active and ("*" in part or "?" in part) for part, active in parts):
            pattern = [(letter, active) for part, active in parts for letter in part]
            self.shared.budget.charge(len(text))
            found = self.shared.disks.expand(pattern, self.environment.place)
            if found:
                result += found
                return
        result.append(text)

    def _values(self, name: str, *, quoted: bool) -> list[str]:
        """What a variable puts into a word: the first goes on the word before it, each other begins a new one."""
        if name == "@" or (name == "*" and not quoted):
            values = list(self.parameters or ())
        elif name == "*":
            values = [" ".join(self.parameters or ())]
        else:
            values = [self.value(name)]
        if quoted:
            return values
        split: list[str] = []
        for value in values:
            if value:
                split += [word for word in re.split(_BLANKS, value) if word]
        return split

    def value(self, name: str) -> str:
        """A variable's value, positional ones included."""
        if name == "#":
            return str(len(self.parameters)) if self.parameters is not None else ""
        if name.isdigit():
            number = int(name) if len(name) < 6 else 0
            return self.parameters[number - 1] if self.parameters and 0 < number <= len(self.parameters) else ""
        return self.environment.get(name)


def _is_special(name: str) -> bool:
    return name[:1].isdigit() or name in _SPECIAL
