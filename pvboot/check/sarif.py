"""SARIF 2.1.0, the form in which code scanning services take findings.

Source of the rules: OASIS SARIF 2.1.0 with errata 01, and what GitHub's code scanning reads of it.  A file inside an
image is an artifact nested in the image; services that show only files of a repository show the finding at the image,
which is why that is its first location and the menu's own line stands beside it.  Nothing in it depends on the time or
on the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TextIO
from urllib.parse import quote

from pvboot import __version__
from pvboot.check.api import RULES
from pvboot.check.explain import page
from pvboot.check.model import Finding, SourceResult
from pvboot.check.report import DocumentReporter, ReportSettings
from pvboot.check.rules import load_rules
from pvboot.safe_text import safe
from pvboot.sources import is_url

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
BASE: Final = "SRCROOT"
MESSAGE_LIMIT: Final = 4000  # characters


def reporter(stream: TextIO, settings: ReportSettings) -> DocumentReporter:
    """Return a reporter that writes when all sources are in."""
    return DocumentReporter(stream, settings, sarif_report)


def sarif_report(results: Sequence[SourceResult], root: str | None = None) -> str:
    """Return one log with one run.  Files below `root` (default: the working directory) are named relative to it."""
    return json.dumps(sarif_document(results, root), indent=1) + "\n"


def sarif_document(results: Sequence[SourceResult], root: str | None = None) -> dict[str, Any]:
    """Return the log as plain data."""
    load_rules()
    artifacts = _Artifacts(os.path.abspath(root or os.getcwd()))
    rules = sorted({finding.rule for result in results for finding in result.findings})
    found = [item for result in results for item in _results(result, artifacts, rules)]
    failed = [result for result in results if result.error is not None]
    versions = {"version": __version__, "semanticVersion": __version__}
    notifications = [_notification(result, artifacts) for result in failed]
    run = {
        "tool": {"driver": {"name": "pvboot", **versions, "rules": [_rule(rule) for rule in rules]}},
        "automationDetails": {"id": "pvboot-check/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {BASE: {"description": {"text": "The folder that the check was run in."}}},
        "invocations": [{"executionSuccessful": not failed, "toolExecutionNotifications": notifications}],
        "artifacts": artifacts.listed,
        "results": found,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule_id: str) -> dict[str, Any]:
    rule = RULES.get(rule_id)
    if rule is None:  # of a result that another release stored
        return {"id": rule_id}
    text = page(rule_id)
    return {
        "id": rule_id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "help": {"text": plain_text(text), "markdown": text},
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": ["boot", *sorted(rule.dialects)]},
    }


def plain_text(markdown: str) -> str:
    """Return a page of a rule without its marks: headings, code fences and code quotes are all there are."""
    lines = []
    for number, block in enumerate(markdown.split("\n```")):
        if number % 2:  # inside of a fence, whose first line says what it holds
            lines.append(block.partition("\n")[2])
        else:
            lines.append("\n".join(line.lstrip("#") if line.startswith("#") else line for line in block.split("\n")))
    return "\n".join(lines).replace("`", "").strip()


def _results(result: SourceResult, artifacts: _Artifacts, rules: Sequence[str]) -> Iterable[dict[str, Any]]:
    seen: Counter[str] = Counter()
    for finding in result.findings:
        digest = _digest(result, finding)
        seen[digest] += 1
        inside = finding.file != result.source
        text = _text(f"{_place(finding)}: {finding.message}" if inside else finding.message)
        item: dict[str, Any] = {
            "ruleId": finding.rule,
            "ruleIndex": rules.index(finding.rule),
            "level": finding.severity,
            "message": {"text": text},
            "locations": [_location(result, finding, artifacts)],
            # Of the line's text, not of its number: lines that are added above leave it as it is.
            "partialFingerprints": {"primaryLocationLineHash": f"{digest}:{seen[digest]}"},
        }
        if inside:
            place = {"artifactLocation": artifacts.inner(result.source, finding.file), **_region(finding)}
            item["relatedLocations"] = [{"id": 0, "physicalLocation": place, "message": {"text": _place(finding)}}]
        if finding.entry is not None:
            item["properties"] = {"entry": finding.entry}
        yield item


def _location(result: SourceResult, finding: Finding, artifacts: _Artifacts) -> dict[str, Any]:
    place = {"artifactLocation": artifacts.outer(result.source)}
    if finding.file == result.source:
        return {"physicalLocation": {**place, **_region(finding)}}
    # An image has no lines, but code scanning shows no result without one.
    name = _text(finding.file.rpartition("/")[2])
    logical = {"name": name, "fullyQualifiedName": _place(finding), "kind": "resource"}
    return {"physicalLocation": {**place, "region": {"startLine": 1}}, "logicalLocations": [logical]}


def _region(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.line or 1}
    if finding.line and finding.column:
        region["startColumn"] = finding.column
        if finding.end_column >= finding.column:
            region["endColumn"] = finding.end_column
    return {"region": region}


def _place(finding: Finding) -> str:
    place = f":{finding.line}:{finding.column}" if finding.line and finding.column else f":{finding.line or ''}"
    return _text(finding.file + place.rstrip(":"))


def _text(text: str) -> str:
    """Make a text harmless and short; it may quote what a guest wrote."""
    line = safe(text)
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 3] + "..."


def _digest(result: SourceResult, finding: Finding) -> str:
    """Identify a finding in every run: what was found where, less the number of its line."""
    line = result.excerpts.get((finding.file, finding.line), "").strip() or finding.message
    file = "" if finding.file == result.source else finding.file
    parts = "\0".join((finding.rule, file, line)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(parts).hexdigest()[:16]


def _notification(result: SourceResult, artifacts: _Artifacts) -> dict[str, Any]:
    assert result.error is not None
    return {
        "level": "error",
        "descriptor": {"id": result.error.code},
        "message": {"text": _text(result.error.message)},
        "locations": [{"physicalLocation": {"artifactLocation": artifacts.outer(result.source)}}],
    }


class _Artifacts:
    """The files that results name, each listed once, in the order in which they are first named."""

    def __init__(self, root: str) -> None:
        self.listed: list[dict[str, Any]] = []
        self._root = root
        self._known: dict[tuple[str, str], int] = {}

    def outer(self, source: str) -> dict[str, Any]:
        """Return the location of a source."""
        return self._at(source, "", lambda: {"location": self._locate(source)})

    def inner(self, source: str, file: str) -> dict[str, Any]:
        """Return the location of a file inside a source."""
        parent = self.outer(source)["index"]
        location = {"uri": _uri(file.removeprefix("/"))}
        return self._at(source, file, lambda: {"location": location, "parentIndex": parent})

    def _at(self, source: str, file: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if (source, file) not in self._known:
            self._known[source, file] = len(self.listed)
            self.listed.append(make())
        index = self._known[source, file]
        return {**self.listed[index]["location"], "index": index}

    def _locate(self, source: str) -> dict[str, Any]:
        if is_url(source):
            return {"uri": quote(source.encode("utf-8", "surrogateescape"), safe="/:@?&=#%+,;~!$'()*[]")}
        path = os.path.abspath(source)
        if path.startswith(self._root.rstrip("/") + "/"):
            return {"uri": _uri(os.path.relpath(path, self._root)), "uriBaseId": BASE}
        return {"uri": "file://" + _uri(path)}


def _uri(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), safe="/(),")
