"""Rules about configurations of syslinux, extlinux and isolinux, some also about elilo.conf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pvboot.check.api import Problem, rule
from pvboot.check.hints import Hints
from pvboot.check.scripted import pass_on, warnings_of
from pvboot.grub_errors import quoted, shorten
from pvboot.menu.extlinux import KEYWORDS

if TYPE_CHECKING:
    from pvboot.check.subject import Subject

DIALECT = ("extlinux",)
WITH_ELILO = ("extlinux", "elilo")
SHORTEST_TENTHS = 10


pass_on(WITH_ELILO, "bad-argument", "error", "an argument that is missing or cannot be read", "number")
pass_on(WITH_ELILO, "default-out-of-range", "warning", "the default is not an entry", "default", "warning")
pass_on(DIALECT, "configfile-loop", "error", "menus that read each other without end", "loop")
pass_on(
    DIALECT, "missing-config-file", "error", "a menu that another one names is not there", "unread-file", needs="files"
)
pass_on(("elilo",), "unknown-command", "warning", "a word that is not a command", "unknown-command")


@rule("unknown-command", "warning", "a word that is not a command", dialects=DIALECT)
def unknown_command(subject: Subject) -> Iterator[Problem]:
    """syslinux passes it over without a word."""
    hints = Hints(KEYWORDS)
    for warning, _entry in warnings_of(subject, "unknown-command"):
        question = hints.question(warning.subject)
        yield Problem(f"{quoted(warning.subject)} is not a keyword of syslinux{question}", warning.span)


@rule("timeout-in-tenths", "warning", "a timeout that is much shorter than it looks", dialects=WITH_ELILO)
def timeout_in_tenths(subject: Subject) -> Iterator[Problem]:
    """Tenths of a second; pygrub takes the same number for seconds."""
    for field in subject.fields:
        if field.key not in ("timeout", "totaltimeout") or not re.fullmatch(r"[0-9]{1,9}", field.value):
            continue
        tenths = int(field.value)
        if 0 < tenths < SHORTEST_TENTHS:
            yield Problem(f"{tenths} tenths of a second: for {tenths} seconds write {tenths * 10}", field.span)
        elif tenths and subject.options.target.loader == "pygrub":
            yield Problem(f"pygrub waits {tenths} seconds here, not {tenths / 10:g}", field.span)


@rule("menu-default-twice", "warning", "MENU DEFAULT stands in more than one entry", dialects=DIALECT)
def menu_default_twice(subject: Subject) -> Iterator[Problem]:
    """The last one counts."""
    depth = 0
    first = None
    for field in subject.fields:
        if field.key == "menu begin":
            depth += 1
        elif field.key == "menu end":
            depth -= 1
        elif field.key == "menu default" and depth == 0:
            if first is not None:
                yield Problem(f"MENU DEFAULT stands in line {first} too; this one counts", field.span)
            first = field.span.line


@rule("append-twice", "warning", "an entry has two APPEND lines, of which only the last counts", dialects=DIALECT)
def append_twice(subject: Subject) -> Iterator[Problem]:
    """Unlike GRUB's kernel lines they do not add up."""
    before = None
    label = False
    for field in subject.fields:
        if field.key == "label":
            before, label = None, True
        elif field.key == "append" and label:
            if before is not None:
                yield Problem(f"replaces the APPEND of line {before}: {shorten(field.value)}", field.span)
            before = field.span.line
