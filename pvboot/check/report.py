"""The forms of report, and what is common to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Final, Protocol, TextIO, cast

from pvboot.check.model import SEVERITIES, Finding, SourceResult

# Form -> the module whose `reporter(stream, settings)` makes its `Reporter`.
FORMATS: Final = {
    "text": "pvboot.check.report_text",
    "json": "pvboot.check.report_json",
    "sarif": "pvboot.check.sarif",
    "junit": "pvboot.check.junit",
}


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """`severity` is the mildest one that is listed; `colour` asks for terminal colours."""

    severity: str = "note"
    colour: bool = False

    def listed(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return the findings that are grave enough."""
        kept = SEVERITIES[: SEVERITIES.index(self.severity) + 1]
        return [finding for finding in findings if finding.severity in kept]


class Reporter(Protocol):
    """Takes results as they come, in the order of the sources."""

    def add(self, result: SourceResult) -> None:
        """Report one source."""

    def end(self) -> None:
        """Finish: all sources were reported."""


def reporter(form: str, stream: TextIO, settings: ReportSettings) -> Reporter:
    """Return the reporter of a form out of `FORMATS`."""
    make = cast(Callable[[TextIO, ReportSettings], Reporter], import_module(FORMATS[form]).reporter)
    return make(stream, settings)


class DocumentReporter:
    """Reporter of a form that is one document: `render` is called when all sources are in."""

    def __init__(
        self, stream: TextIO, settings: ReportSettings, render: Callable[[Sequence[SourceResult]], str]
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._render = render
        self._results: list[SourceResult] = []

    def add(self, result: SourceResult) -> None:
        """Keep one source with the findings that are grave enough."""
        self._results.append(replace(result, findings=tuple(self._settings.listed(result.findings))))

    def end(self) -> None:
        """Write the document."""
        self._stream.write(self._render(self._results))
