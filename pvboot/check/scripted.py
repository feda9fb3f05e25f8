"""The warnings of a menu: those of its builder, and of its entries as each is run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from grammars.grub_cfg import Command, For, Function, If, Loop, Statement
from pvboot.menu.model import MenuWarning

if TYPE_CHECKING:
    from pvboot.check.subject import Owned, Subject


def warnings_of(subject: Subject, *codes: str) -> Iterator[Owned]:
    """Yield warnings with one of the codes, and the index of the entry whose script gave it (None: the menu)."""
    for warning, entry in subject.once("warnings", lambda: _all(subject)):
        if warning.code in codes:
            yield warning, entry


def _all(subject: Subject) -> list[Owned]:
    if subject.dialect != "grub.cfg":
        return [(warning, None) for warning in subject.menu.warnings]
    for entry in subject.opened_entries:  # entries are scripts that warn when they are run
        subject.loads(entry)
    # The entries that are run while the menu is built, to choose the default, are not run again.
    owners = _owners(subject)
    heard = dict.fromkeys(subject.listener.heard)
    built = {warning for warning, entry in heard if entry is None}
    return [
        (warning, _owner(owners, warning) if entry is None else entry)
        for warning, entry in heard
        if entry is None or warning not in built
    ]


def _owners(subject: Subject) -> list[tuple[int, int, int]]:
    """Return first and last line of each entry of the file itself, and its index."""
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
    """Yield every simple command of a script in order, blocks, branches and functions included."""
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
