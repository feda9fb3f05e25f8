"""What a menu says while it is understood: the warnings of its builder, and of its entries as each is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from grammars.grub_cfg import Command, For, Function, If, Loop, Statement
from pvboot.errors import PvbootError
from pvboot.menu.model import MenuWarning

if TYPE_CHECKING:
    from pvboot.check.subject import Subject

WARNINGS_HEARD: Final = 10_000

Told = tuple[MenuWarning, "int | None"]


def told(subject: Subject, *codes: str) -> Iterator[Told]:
    """Warnings with one of the codes, and the index of the entry whose script said it (None: the menu itself)."""
    for warning, entry in subject.once("warnings", lambda: _all(subject)):
        if warning.code in codes:
            yield warning, entry


def _all(subject: Subject) -> tuple[Told, ...]:
    if subject.dialect != "grub.cfg":
        return tuple((warning, None) for warning in subject.menu.warnings)
    return tuple(_run(subject))


def _run(subject: Subject) -> Iterator[Told]:
    """Understand the menu once more, listening: entries of a `grub.cfg` are scripts that speak when they run."""
    from pvboot.devices import Devices
    from pvboot.menu import grub_cfg
    from pvboot.menu.dialects import MenuContext

    heard: list[MenuWarning] = []

    def hear(warning: MenuWarning) -> None:
        if len(heard) < WARNINGS_HEARD:
            heard.append(warning)

    devices = subject.devices or Devices([])
    context = MenuContext(subject.source, subject.volume, subject.path, devices, on_warning=hear)
    menu = grub_cfg.build(subject.data, context)
    # To choose the default its entry is run already, and never again: whose a warning is, its place tells.
    owners = _owners(subject)
    seen = set(heard)
    yield from ((warning, _owner(owners, warning)) for warning in dict.fromkeys(heard))
    for entry in menu.entries[: len(subject.opened_entries)]:
        heard.clear()
        try:
            assert entry.files is not None
            entry.files()
        except PvbootError:
            pass  # told by the rules about what entries load
        yield from ((warning, entry.index) for warning in dict.fromkeys(heard) if warning not in seen)


def _owners(subject: Subject) -> list[tuple[int, int, int]]:
    """First and last line of each entry of the file itself, and its index."""
    indices = {entry.span: entry.index for entry in subject.menu.entries}
    owners = []
    for command in commands(subject.script.statements):
        if command.block is not None and command.span in indices:
            last = command.source.span(command.block.end, command.block.end).line
            owners.append((command.span.line, last, indices[command.span]))
    return owners


def _owner(owners: list[tuple[int, int, int]], warning: MenuWarning) -> int | None:
    span = warning.span
    if span is None:
        return None
    at = bisect_right(owners, span.line, key=lambda owner: owner[0]) - 1
    return owners[at][2] if at >= 0 and span.line <= owners[at][1] else None


def commands(statements: Iterable[Statement]) -> Iterator[Command]:
    """Every simple command of a script in order, blocks, branches and functions included."""
    waiting = [iter(statements)]
    while waiting:
        statement = next(waiting[-1], None)
        if statement is None:
            waiting.pop()
        elif isinstance(statement, Command):
            yield statement
            if statement.block is not None:
                waiting.append(iter(statement.block.body))
        elif isinstance(statement, If):
            parts = [part for branch in statement.branches for part in branch]
            waiting += [iter(part) for part in reversed([*parts, statement.otherwise])]
        elif isinstance(statement, For | Loop | Function):
            waiting.append(iter(statement.body))
