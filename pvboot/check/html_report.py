"""The summary page of a fleet: one file for a browser, without anything from elsewhere.

What guests wrote stands in it as text and nothing else: every piece is escaped, and the page's own policy forbids every
script and style but the two that are written into it.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from pvboot import __version__
from pvboot.check.api import RULES
from pvboot.check.model import SEVERITIES, Finding, SourceResult, count
from pvboot.check.report_text import excerpt
from pvboot.check.rules import load_rules
from pvboot.screen.safe_text import safe

LISTED: Final = 200  # findings of one source; the numbers count all
NOT_CHECKED: Final = "failed"
CLEAN: Final = "good"
# Outcomes from bad to good, and how they are called.
OUTCOMES: Final = {
    NOT_CHECKED: "not checked",
    "error": "errors",
    "warning": "warnings",
    "note": "notes",
    CLEAN: "nothing found",
}


def html_report(results: Sequence[SourceResult]) -> str:
    """The page."""
    load_rules()  # for what they say of themselves
    return "".join(_page(results))


def _page(results: Sequence[SourceResult]) -> Iterator[str]:
    style, script = _asset("fleet.css"), _asset("fleet.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_text(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>pvboot check</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<h1>What the guests would stumble over</h1>\n<p class="by">pvboot check {_text(__version__)}</p>\n'
    )
    yield from _overview(results)
    yield from _rules(results)
    yield from _sources(results)
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _asset(name: str) -> str:
    return (files("pvboot.check") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    return escape(safe(text))


def outcome_of(result: SourceResult) -> str:
    """The word of `OUTCOMES` for a source: the worst that is to be said."""
    if result.error is not None:
        return NOT_CHECKED
    found = {finding.severity for finding in result.findings}
    return next((severity for severity in SEVERITIES if severity in found), CLEAN)


# --- the top ----------------------------------------------------------------------------------------------


def _overview(results: Sequence[SourceResult]) -> Iterator[str]:
    found = count(finding for result in results for finding in result.findings)
    cards = [("", len(results), "source" if len(results) == 1 else "sources")]
    cards += [(severity, number, severity if number == 1 else f"{severity}s") for severity, number in found.items()]
    yield '<ul class="cards">\n'
    for css, number, name in cards:
        yield f'<li><b class="{css}">{number}</b><span>{name}</span></li>\n'
    yield "</ul>\n"
    outcomes = Counter(map(outcome_of, results))
    yield '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="outcomes">'
    at = 0.0
    for outcome in OUTCOMES:
        width = 1000 * outcomes[outcome] / max(1, len(results))
        if width:
            yield f'<rect class="{outcome}" x="{at:.2f}" y="0" width="{width:.2f}" height="10"></rect>'
        at += width
    yield '</svg>\n<ul class="legend">\n'
    for outcome, name in OUTCOMES.items():
        mark = f'<svg viewBox="0 0 1 1" aria-hidden="true"><rect class="{outcome}" width="1" height="1"></rect></svg>'
        yield f"<li>{mark}{name}: {outcomes[outcome]}</li>\n"
    yield "</ul>\n"


# --- what is wrong ----------------------------------------------------------------------------------------


def _rules(results: Sequence[SourceResult]) -> Iterator[str]:
    findings: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    worst: dict[str, str] = {}
    for result in results:
        findings.update(finding.rule for finding in result.findings)
        sources.update({finding.rule for finding in result.findings})
        for finding in result.findings:
            known = worst.setdefault(finding.rule, finding.severity)
            worst[finding.rule] = min(known, finding.severity, key=SEVERITIES.index)
    if not findings:
        return
    yield '<h2>By rule</h2>\n<div class="frame"><table id="rules">\n'
    yield _head(("Rule", ""), ("Severity", ""), ("Sources", "n"), ("Findings", "n"), ("What is wrong", ""))
    for rule in sorted(findings, key=lambda rule: (SEVERITIES.index(worst[rule]), -sources[rule], rule)):
        summary = RULES[rule].summary if rule in RULES else ""
        severity = worst[rule]
        button = f'<button class="rule" type="button" data-rule="{_text(rule)}">{_text(rule)}</button>'
        word = f'<td class="word {severity}" data-key="{SEVERITIES.index(severity)}">{severity}</td>'
        numbers = _number(sources[rule]) + _number(findings[rule])
        yield f"<tbody><tr>{_cell(button, rule)}{word}{numbers}{_cell(_text(summary), summary)}</tr></tbody>\n"
    yield "</table></div>\n"


def _head(*columns: tuple[str, str]) -> str:
    cells = "".join(
        f'<th scope="col"{_NUMBER_HEAD if kind else ""}><button type="button">{name}</button></th>'
        for name, kind in columns
    )
    return f"<thead><tr>{cells}</tr></thead>\n"


_NUMBER_HEAD: Final = ' class="number" data-first="descending"'


def _cell(markup: str, key: str) -> str:
    return f'<td class="name" data-key="{_text(key)}">{markup}</td>'


def _number(value: int) -> str:
    return f'<td class="number{"" if value else " zero"}" data-key="{value}">{value}</td>'


# --- the sources ------------------------------------------------------------------------------------------


def _sources(results: Sequence[SourceResult]) -> Iterator[str]:
    rules = sorted({finding.rule for result in results for finding in result.findings})
    choices = "".join(f'<option value="{_text(rule)}">{_text(rule)}</option>' for rule in rules)
    outcomes = "".join(f'<option value="{name}">{text}</option>' for name, text in OUTCOMES.items())
    yield (
        '<h2 id="sources-title">Sources</h2>\n<div class="filters">\n'
        '<input id="search" type="search" placeholder="Name, message, line ..." aria-label="Search">\n'
        f'<select id="outcome" aria-label="Outcome"><option value="">any outcome</option>{outcomes}</select>\n'
        f'<select id="rule" aria-label="Rule"><option value="">any rule</option>{choices}</select>\n'
        f'<output id="shown">{len(results)} sources</output>\n</div>\n<div class="frame"><table id="sources">\n'
    )
    yield _head(("Source", ""), ("Outcome", ""), ("Errors", "n"), ("Warnings", "n"), ("Notes", "n"), ("Menus", "n"))
    for result in results:
        yield _source(result)
    yield "</table></div>\n"


def _source(result: SourceResult) -> str:
    outcome = outcome_of(result)
    counted = count(result.findings)
    rules = " ".join(sorted({finding.rule for finding in result.findings}))
    name, more = _text(result.source), ""
    if result.findings or result.error is not None:
        name = f'<button class="open" type="button">{name}</button>'
        more = f'<tr class="more"><td colspan="6">{"".join(_details(result))}</td></tr>'
    numbers = "".join(_number(counted[severity]) for severity in SEVERITIES)
    place = list(OUTCOMES).index(outcome)
    return (
        f'<tbody data-outcome="{outcome}" data-rules="{_text(rules)}"><tr>{_cell(name, result.source)}'
        f'<td class="word {outcome}" data-key="{place}">{OUTCOMES[outcome]}</td>{numbers}{_number(len(result.menus))}'
        f"</tr>{more}</tbody>\n"
    )


def _details(result: SourceResult) -> Iterable[str]:
    yield '<ul class="findings">'
    if result.error is not None:
        message = f'<p><span class="word">not checked</span> {_text(result.error.message)}</p>'
        yield f'<li class="failed" data-rule="">{message}</li>'
    for finding in result.findings[:LISTED]:
        yield _finding(result, finding)
    if len(result.findings) > LISTED:
        yield f'<li data-rule=""><p>and {len(result.findings) - LISTED} more</p></li>'
    yield "</ul>"


def _finding(result: SourceResult, finding: Finding) -> str:
    place = finding.file + (f":{finding.line}:{finding.column}" if finding.line else "")
    text = result.excerpts.get((finding.file, finding.line)) if finding.line else None
    code = ""
    if text is not None:
        line, marks = excerpt(text, finding.column, finding.end_column)
        if line.strip():
            code = f"<pre>{_text(line)}\n{_text(marks)}</pre>"
    rule = _text(finding.rule)
    return (
        f'<li class="{finding.severity}" data-rule="{rule}"><p class="place">{_text(place)}</p>'
        f'<p><span class="word">{finding.severity}</span> {_text(finding.message)} <code>[{rule}]</code></p>{code}</li>'
    )
