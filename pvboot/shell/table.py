"""The table of commands: what each does, where it may stand, and its help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pvboot.menu.words import WORDS
from pvboot.shell.request import Outcome
from pvboot.shell.state import Shell

Function: TypeAlias = Callable[[Shell, str], Outcome | None]


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """One row.  `head`: acts before the first title; `entry`: runs in entries and at the prompt;
    `echo`: the line is printed before it runs."""

    name: str
    function: Function
    usage: str
    help: str
    head: bool
    entry: bool
    echo: bool


COMMANDS: dict[str, CommandInfo] = {}


def command(usage: str, help_text: str, *, echo: bool = True) -> Callable[[Function], Function]:
    """Enter a function under the first word of `usage`; the vocabulary says where it may stand."""

    def enter(function: Function) -> Function:
        name = usage.partition(" ")[0]
        word = WORDS[name]
        COMMANDS[name] = CommandInfo(name, function, usage, help_text, word.head, word.entry, echo)
        return function

    return enter
