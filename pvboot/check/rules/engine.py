"""The findings that the engine tells by itself, declared like rules so that they have ids, severities and pages."""

from __future__ import annotations

from collections.abc import Iterator

from pvboot.check.api import Problem, rule
from pvboot.check.subject import Subject

NO_MENU = "no-menu"
UNREADABLE_MENU = "unreadable-menu"
NOT_CHECKED = "not-checked"
INTERNAL_ERROR = "internal-error"
IGNORE_UNKNOWN_RULE = "ignore-unknown-rule"
IGNORE_UNUSED = "ignore-unused"


def _told_by_the_engine(subject: Subject) -> Iterator[Problem]:
    yield from ()


rule(NO_MENU, "error", "the guest has no boot menu", needs="engine")(_told_by_the_engine)
rule(UNREADABLE_MENU, "error", "a menu cannot be read", needs="engine")(_told_by_the_engine)
rule(NOT_CHECKED, "warning", "the guest's disks stopped a rule from looking", needs="engine")(_told_by_the_engine)
rule(INTERNAL_ERROR, "error", "a rule itself failed", needs="engine")(_told_by_the_engine)
rule(IGNORE_UNKNOWN_RULE, "warning", "an ignore comment names no rule that exists", needs="engine")(_told_by_the_engine)
rule(IGNORE_UNUSED, "note", "an ignore comment is not needed", needs="engine")(_told_by_the_engine)
