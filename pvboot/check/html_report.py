"""The summary page of a fleet: one file for a browser, without anything from elsewhere.

What guests wrote stands in it as text and nothing else: the template escapes every piece, and the page's own policy
forbids every script and style but the two that are written into it.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final

from markupsafe import Markup

from pvboot import __version__
from pvboot.check.api import RULES
from pvboot.check.model import SEVERITIES, Finding, SourceResult, count
from pvboot.check.report_text import excerpt
from pvboot.check.rules import load_rules
from pvboot.safe_text import safe
from pvboot.templates import environment

LISTED: Final = 200  # findings of one source; the numbers count all
NOT_CHECKED: Final = "failed"
CLEAN: Final = "good"
# Outcomes from bad to good, and their names.
OUTCOMES: Final = {
    NOT_CHECKED: "not checked",
    "error": "errors",
    "warning": "warnings",
    "note": "notes",
    CLEAN: "nothing found",
}


def html_report(results: Sequence[SourceResult]) -> str:
    """The page."""
    load_rules()  # for their summaries
    style, script = (Markup(_asset(name)) for name in ("fleet.css", "fleet.js"))
    totals = Counter(map(_outcome_of, results))
    template = environment("pvboot.check", finalize=_printable).get_template("fleet.html.j2")
    return template.render(
        version=__version__,
        hashes=(_hash(style), _hash(script)),
        style=style,
        script=script,
        results=results,
        counted=count(finding for result in results for finding in result.findings),
        outcomes=OUTCOMES,
        rank_of=list(OUTCOMES).index,
        totals=totals,
        bar=list(_bar(totals)),
        rules=_rules(results),
        listed=LISTED,
        outcome_of=_outcome_of,
        count=count,
        excerpt=_excerpt,
    )


def _asset(name: str) -> str:
    return (files("pvboot.check") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _printable(value: object) -> object:
    """Show control characters of a guest's text as escapes; jinja2 then escapes the markup."""
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _outcome_of(result: SourceResult) -> str:
    """The key of `OUTCOMES` for a source: that of its worst finding."""
    if result.error is not None:
        return NOT_CHECKED
    found = {finding.severity for finding in result.findings}
    return next((severity for severity in SEVERITIES if severity in found), CLEAN)


def _bar(totals: Counter[str]) -> Iterator[tuple[str, float, float]]:
    """Outcome, start and width of each part of a bar that is 1000 wide."""
    at = 0.0
    for outcome in OUTCOMES:
        width = 1000 * totals[outcome] / max(1, totals.total())
        if width:
            yield outcome, at, width
        at += width


def _rules(results: Sequence[SourceResult]) -> list[dict[str, Any]]:
    """The rules with findings, the worst and most frequent first."""
    findings: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    ranks: dict[str, int] = {}
    for result in results:
        findings.update(finding.rule for finding in result.findings)
        sources.update({finding.rule for finding in result.findings})
        for finding in result.findings:
            rank = SEVERITIES.index(finding.severity)
            ranks[finding.rule] = min(rank, ranks.get(finding.rule, rank))
    return [
        {
            "name": rule,
            "severity": SEVERITIES[ranks[rule]],
            "rank": ranks[rule],
            "sources": sources[rule],
            "findings": findings[rule],
            "summary": RULES[rule].summary if rule in RULES else "",
        }
        for rule in sorted(findings, key=lambda rule: (ranks[rule], -sources[rule], rule))
    ]


def _excerpt(result: SourceResult, finding: Finding) -> tuple[str, str] | None:
    """The line that a finding is about and the marks below it, None if there is nothing to show."""
    text = result.excerpts.get((finding.file, finding.line)) if finding.line else None
    shown = None if text is None else excerpt(text, finding.column, finding.end_column)
    return shown if shown is not None and shown[0].strip() else None
