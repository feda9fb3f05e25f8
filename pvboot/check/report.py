"""What every form of report offers, and which forms there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, TextIO, cast

from pvboot.check.model import SEVERITIES, Finding, SourceResult

# Form -> the module whose `reporter(stream, settings)` makes its `Reporter`; one row a form.
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
        """The findings that are grave enough."""
        kept = SEVERITIES[: SEVERITIES.index(self.severity) + 1]
        return [finding for finding in findings if finding.severity in kept]


class Reporter(Protocol):
    """Takes results as they come, in the order of the sources."""

    def add(self, result: SourceResult) -> None:
        """Report one source."""

    def end(self) -> None:
        """All sources were reported."""


def reporter(form: str, stream: TextIO, settings: ReportSettings) -> Reporter:
    """The reporter of a form out of `FORMATS`."""
    make = cast(Callable[[TextIO, ReportSettings], Reporter], import_module(FORMATS[form]).reporter)
    return make(stream, settings)
