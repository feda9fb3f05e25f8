"""The check of a source: every menu it holds, every rule that fits, findings in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from pvboot.check.api import RULES, Problem, Rule
from pvboot.check.ignore import Comments
from pvboot.check.masking import mask_line, mask_message
from pvboot.check.model import DEFAULTS, DEPTHS, SEVERITIES, CheckOptions, Finding, SourceError, SourceResult
from pvboot.check.opened import OpenedSource
from pvboot.check.rules import engine as own_rules
from pvboot.check.rules import load_rules
from pvboot.check.settings import override
from pvboot.check.sources import open_subjects
from pvboot.check.subject import Subject
from pvboot.errors import PvbootError

PROBLEMS_PER_RULE: Final = 10_000  # that are sorted; a rule's further ones are only counted
EXCERPT_CHARACTERS: Final = 2000
TITLES_LISTED: Final = 1000  # a menu, of so many letters at most
TITLE_CHARACTERS: Final = 200


def check_source(source: str, options: CheckOptions = DEFAULTS, opened: OpenedSource | None = None) -> SourceResult:
    """Check all menus of a source.  Never raises for what the source holds: that is in the result.

    `opened` are its files if the caller may open them and the checker may not (see `opened`).
    """
    load_rules()
    try:
        with open_subjects(source, options, opened) as guest:
            findings = [_own_finding(problem_id, problem, source, options) for problem_id, problem in guest.problems]
            for subject in guest.subjects:
                findings += check_subject(subject)
            excerpts = _excerpts(findings, guest.subjects)
            menus = tuple(subject.name for subject in guest.subjects)
            titles = {subject.name: _titles(subject) for subject in guest.subjects}
    except Exception as err:
        return failed(source, err)
    shown = [finding for finding in override(findings, source, options.overrides) if finding.severity != "off"]
    return SourceResult(source, tuple(sorted(dict.fromkeys(shown), key=order)), None, menus, titles, excerpts)


def failed(source: str, err: Exception) -> SourceResult:
    """Return the result for a source that could not be checked."""
    if isinstance(err, PvbootError):
        # 1 says that something was looked at and found wrong: a menu that is not there is a source that is not.
        return SourceResult(source, error=SourceError(str(err), err.code, err.exit_code if err.exit_code != 1 else 3))
    if isinstance(err, OSError):
        return SourceResult(source, error=SourceError(f"{source}: {err.strerror or err}", "source-error", 3))
    if isinstance(err, MemoryError):
        return SourceResult(source, error=SourceError(f"{source}: more memory is asked for than there is", "memory", 3))
    # A defect of ours: the other sources go on.
    text = f"{source}: internal error, please report it: {type(err).__name__}: {err}"
    return SourceResult(source, error=SourceError(text, own_rules.INTERNAL_ERROR, 3))


def _titles(subject: Subject) -> tuple[str, ...]:
    return tuple(entry.title[:TITLE_CHARACTERS] for entry in subject.menu.entries[:TITLES_LISTED])


def order(finding: Finding) -> tuple[object, ...]:
    """Order a report by place, then by rule."""
    entry = -1 if finding.entry is None else finding.entry
    return finding.file, finding.line, finding.column, finding.rule, finding.message, finding.end_column, entry


def check_subject(subject: Subject) -> list[Finding]:
    """Return what the rules find in one menu: each rule's in order and capped, severities as the user set them."""
    given = dict(subject.options.severities)
    found: list[Finding] = []
    texts = (lambda: subject.texts) if subject.options.ignore_comments else dict[str, str]
    comments = Comments(subject.dialect, texts, RULES)
    rules = [rule for rule in applicable(subject) if given.get(rule.id) != "off"]
    for rule in rules:
        findings, left_out = _run(rule, subject, given.get(rule.id))
        findings = sorted(dict.fromkeys(item for item in findings if not comments.covers(item)), key=order)
        left_out += max(0, len(findings) - subject.options.per_rule)
        found += findings[: subject.options.per_rule]
        if left_out:
            found.append(Finding(rule.id, "note", f"{left_out} more like these are not listed", subject.name))
    unused = comments.unused({rule.id for rule in rules})
    for rule_id, problems in ((own_rules.IGNORE_UNKNOWN_RULE, comments.unknown()), (own_rules.IGNORE_UNUSED, unused)):
        if given.get(rule_id) != "off":
            found += [_finding(RULES[rule_id], problem, subject, given.get(rule_id)) for problem in problems]
    return found


def applicable(subject: Subject) -> list[Rule]:
    """Return the rules for a menu's dialect, as deep as the check goes; without disks, those that need only text."""
    depth = DEPTHS.index(subject.options.depth if subject.devices is not None else "text")
    return [
        rule
        for rule in RULES.values()
        if (not rule.dialects or subject.dialect in rule.dialects)
        and rule.needs in DEPTHS
        and DEPTHS.index(rule.needs) <= depth
    ]


def _run(rule: Rule, subject: Subject, severity: str | None) -> tuple[list[Finding], int]:
    """Return a rule's findings, and how many more there are.  A rule that fails is a finding of its own."""
    findings: list[Finding] = []
    try:
        problems = rule.function(subject)
        for problem in islice(problems, PROBLEMS_PER_RULE):
            findings.append(_finding(rule, problem, subject, severity))
        return findings, sum(1 for _ in problems)
    except PvbootError as err:
        problem = Problem(f"{rule.id} could not be looked for: {err}")
        return [*findings, _finding(RULES[own_rules.NOT_CHECKED], problem, subject, None)], 0
    except Exception as err:  # one broken rule must not hide what the others found
        problem = Problem(f"please report it: the rule {rule.id} failed: {type(err).__name__}: {err}")
        return [*findings, _finding(RULES[own_rules.INTERNAL_ERROR], problem, subject, None)], 0


def _finding(rule: Rule, problem: Problem, subject: Subject, severity: str | None) -> Finding:
    span = problem.span
    severity = severity or problem.severity or rule.severity
    assert severity in SEVERITIES, severity
    if span is None:
        return Finding(rule.id, severity, problem.message, problem.file or subject.name, entry=problem.entry)
    file = problem.file or span.file
    column, end = span.column, span.column + span.length
    text = subject.line_at(file, span.line)
    if text is not None:  # a span goes on over continuation lines, a finding ends with its line
        column = min(column, len(text) + 1)  # the end of the file is behind a newline
        end = max(column, min(end, len(text) + 1))
    message = mask_message(subject.dialect, text or "", problem.message)
    return Finding(rule.id, severity, message, file, span.line, column, end, problem.entry)


def _own_finding(rule_id: str, problem: Problem, source: str, options: CheckOptions) -> Finding:
    severity = dict(options.severities).get(rule_id) or problem.severity or RULES[rule_id].severity
    return Finding(rule_id, severity, problem.message, problem.file or source)


def _excerpts(findings: Iterable[Finding], subjects: Iterable[Subject]) -> dict[tuple[str, int], str]:
    """Return the lines that are pointed to; long ones are cut, so that a report stays small."""
    excerpts: dict[tuple[str, int], str] = {}
    for subject in subjects:
        for place in dict.fromkeys((finding.file, finding.line) for finding in findings if finding.line):
            text = subject.line_at(*place)
            if text is not None:
                excerpts.setdefault(place, mask_line(subject.dialect, text)[:EXCERPT_CHARACTERS])
    return excerpts
