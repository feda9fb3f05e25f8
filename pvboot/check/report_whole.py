"""Reports that are one document: written when all sources are in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TextIO

from pvboot.check.model import SourceResult
from pvboot.check.report import ReportSettings


class WholeReporter:
    """Collects the sources with the findings that are grave enough, and writes what `render` makes of them."""

    def __init__(
        self, stream: TextIO, settings: ReportSettings, render: Callable[[Sequence[SourceResult]], str]
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._render = render
        self._results: list[SourceResult] = []

    def add(self, result: SourceResult) -> None:
        """Keep one source."""
        self._results.append(replace(result, findings=tuple(self._settings.listed(result.findings))))

    def end(self) -> None:
        """Write the document."""
        self._stream.write(self._render(self._results))
