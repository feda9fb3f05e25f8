"""The warnings of a menu: those of its builder, and of its entries as each is run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from grammars.grub_cfg import commands
from pvboot.check.api import Problem, rule
from pvboot.menu.model import MenuWarning

if TYPE_CHECKING:
    from pvboot.check.subject import Owned, Subject


def warnings_of(subject: Subject, *codes: str) -> Iterator[Owned]:
    """Yield warnings with one of the codes, and the index of the entry whose script gave it (None: the menu)."""
    for warning, entry in subject.once("warnings", lambda: _all(subject)):
        if warning.code in codes:
            yield warning, entry


def pass_on(
    dialects: tuple[str, ...],
    rule_id: str,
    severity: str,
    summary: str,
    code: str,
    as_severity: str | None = None,
    needs: str = "text",
) -> None:
    """Register a rule that passes on the warnings of one code, with a severity of their own if it is given."""

    def passed_on(subject: Subject) -> Iterator[Problem]:
        for warning, entry in warnings_of(subject, code):
            yield Problem(warning.message, warning.span, entry, severity=as_severity)

    rule(rule_id, severity, summary, dialects=dialects, needs=needs)(passed_on)


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
