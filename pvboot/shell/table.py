"""The table of commands: what each does, where it may stand, and its help."""

from __future__ import annotations

from collections.abc import Callable

from fsdrivers.light import TypeAlias, dataclass
from grammars.commands import Arguments, usage
from pvboot.menu.words import WORDS
from pvboot.shell.request import Outcome
from pvboot.shell.state import Shell

Function: TypeAlias = Callable[[Shell, Arguments], Outcome | None]


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """One row.  `head`: acts before the first title; `entry`: runs in entries and at the prompt;
    `echo`: the line is printed before it runs."""

    name: str
    function: Function
    help: str
    head: bool
    entry: bool
    echo: bool

    @property
    def usage(self) -> str:
        """The command and its arguments."""
        return usage(self.name)


COMMANDS: dict[str, CommandInfo] = {}


def command(*names: str, text: str, echo: bool = True) -> Callable[[Function], Function]:
    """Enter a function under the names of commands with its help text; the vocabulary says where they may stand."""

    def enter(function: Function) -> Function:
        for name in names:
            COMMANDS[name] = CommandInfo(name, function, text, WORDS[name].head, WORDS[name].entry, echo)
        return function

    return enter
