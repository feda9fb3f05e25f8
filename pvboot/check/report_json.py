"""Findings as one JSON document; the fields are a contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from pvboot.check.model import SourceResult, count
from pvboot.check.report import DocumentReporter, ReportSettings


def reporter(stream: TextIO, settings: ReportSettings) -> DocumentReporter:
    """Return a reporter that writes when all sources are in."""
    return DocumentReporter(stream, settings, json_report)


def json_report(results: Sequence[SourceResult]) -> str:
    """Return the document.  What is not ASCII is escaped, so that bytes that are not UTF-8 survive any terminal."""
    findings = [finding for result in results for finding in result.findings]
    document = {"sources": [_source(result) for result in results], "summary": count(findings)}
    return json.dumps(document, indent=1) + "\n"


def _source(result: SourceResult) -> dict[str, Any]:
    source: dict[str, Any] = {"source": result.source, "menus": list(result.menus)}
    source["findings"] = [asdict(finding) for finding in result.findings]
    if result.error is not None:
        source["error"] = asdict(result.error)
    return source
