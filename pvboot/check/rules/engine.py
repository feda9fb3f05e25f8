"""The findings that the engine makes itself, declared as rules so that they have ids, severities and pages."""

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


def _nothing(_subject: Subject) -> Iterator[Problem]:
    yield from ()


for _id, _severity, _summary in (
    (NO_MENU, "error", "the guest has no boot menu"),
    (UNREADABLE_MENU, "error", "a menu cannot be read"),
    (NOT_CHECKED, "warning", "the guest's disks stopped a rule from looking"),
    (INTERNAL_ERROR, "error", "a rule itself failed"),
    (IGNORE_UNKNOWN_RULE, "warning", "an ignore comment names a rule that does not exist"),
    (IGNORE_UNUSED, "note", "an ignore comment is not needed"),
):
    rule(_id, _severity, _summary, needs="engine")(_nothing)
