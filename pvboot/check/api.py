"""Rules and their registry.

A rule is one function in `pvboot/check/rules/`, registered by `@rule`; its page (what is wrong, why it matters, a bad
and a good example) lies beside it in `pvboot/check/pages/<id>.md` and is what `--explain` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from grammars.spans import SourceSpan
from pvboot.check.model import DEPTHS, SEVERITIES

if TYPE_CHECKING:
    from pvboot.check.subject import Subject

NEEDS: Final = (*DEPTHS, "engine")


@dataclass(frozen=True, slots=True)
class Problem:
    """One result of a rule; the engine adds rule and severity.  `span` None means the whole menu file, `file` names
    another one; `severity` None is the rule's own."""

    message: str
    span: SourceSpan | None = None
    entry: int | None = None
    file: str | None = None
    severity: str | None = None


RuleFunction = Callable[["Subject"], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`dialects` empty: every dialect.  `needs` says how far a check must go: "text" (the menu alone), "files" (the
    guest's disks), "kernel" (kernel files parsed), "plan" (entries laid out), "run" (entries started).  "engine" are
    findings that the engine makes itself."""

    id: str
    severity: str
    summary: str
    function: RuleFunction = field(repr=False, compare=False)
    dialects: frozenset[str] = frozenset()
    needs: str = "text"


RULES: dict[str, Rule] = {}


def rule(
    rule_id: str, severity: str, summary: str, *, dialects: tuple[str, ...] = (), needs: str = "text"
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule; ids are a public contract.

    A second function of the same id looks at other dialects; severity and summary are those that were first.
    """
    assert severity in SEVERITIES and needs in NEEDS

    def register(function: RuleFunction) -> RuleFunction:
        made = Rule(rule_id, severity, summary, function, frozenset(dialects), needs)
        RULES[rule_id] = _joined(RULES[rule_id], made) if rule_id in RULES else made
        return function

    return register


def _joined(known: Rule, more: Rule) -> Rule:
    """Make one rule of two for different dialects; it needs what the one that needs less does."""
    assert known.dialects and more.dialects and not known.dialects & more.dialects, known.id

    def function(subject: Subject) -> Iterator[Problem]:
        chosen = more if subject.dialect in more.dialects else known
        depth = subject.options.depth if subject.devices is not None else "text"
        return chosen.function(subject) if NEEDS.index(chosen.needs) <= NEEDS.index(depth) else iter(())

    needs = min(known.needs, more.needs, key=NEEDS.index)
    return replace(known, function=function, dialects=known.dialects | more.dialects, needs=needs)
