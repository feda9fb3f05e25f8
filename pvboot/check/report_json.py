"""Findings as one JSON document; the fields are a contract."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TextIO

from pvboot.check.model import Finding, SourceResult, count
from pvboot.check.report import ReportSettings


def reporter(stream: TextIO, settings: ReportSettings) -> JsonReporter:
    """A reporter that writes when all sources are in."""
    return JsonReporter(stream, settings)


class JsonReporter:
    """Collects the sources and prints the document at the end."""

    def __init__(self, stream: TextIO, settings: ReportSettings) -> None:
        self._stream = stream
        self._settings = settings
        self._sources: list[dict[str, Any]] = []
        self._findings: list[Finding] = []

    def add(self, result: SourceResult) -> None:
        """One element of `sources`."""
        findings = self._settings.listed(result.findings)
        self._findings += findings
        source: dict[str, Any] = {"source": result.source, "menus": list(result.menus)}
        source["findings"] = [asdict(finding) for finding in findings]
        if result.error is not None:
            source["error"] = asdict(result.error)
        self._sources.append(source)

    def end(self) -> None:
        """Print.  What is not ASCII is escaped, so that bytes that are no UTF-8 survive any terminal."""
        json.dump({"sources": self._sources, "summary": count(self._findings)}, self._stream, indent=1)
        self._stream.write("\n")
