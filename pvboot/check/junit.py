"""JUnit XML, the form in which CI services take test results: a suite a source, a case a menu and one an entry.

No standard describes it; Jenkins, GitLab and GitHub's reporters agree on this part: one `failure` a case, whose
`message` is the first finding and whose text lists all.  Only errors are failures; the rest is the case's `system-out`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import TextIO

from pvboot.check.model import Finding, SourceResult
from pvboot.check.report import DocumentReporter, ReportSettings
from pvboot.safe_text import safe

TEXT_LIMIT = 20_000  # characters a case
TITLE_LIMIT = 200


def reporter(stream: TextIO, settings: ReportSettings) -> DocumentReporter:
    """Return a reporter that writes when all sources are in."""
    return DocumentReporter(stream, settings, junit_report)


def junit_report(results: Sequence[SourceResult]) -> str:
    """Return the whole document."""
    root = ElementTree.Element("testsuites", name="pvboot check")
    suites = [_suite(result) for result in results]
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.extend(suites)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(result: SourceResult) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=safe(result.source))
    if result.error is not None:
        case = _case(suite, result.source, "source")
        error = ElementTree.SubElement(case, "error", message=_cut(result.error.message, 500), type=result.error.code)
        error.text = _cut(result.error.message)
    cases = _cases(result)
    for (file, name), findings in cases.items():
        _add_findings(_case(suite, file, name), findings)
    for name, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
        suite.set(name, str(len(suite.findall(path))))
    suite.set("skipped", "0")
    return suite


def _cases(result: SourceResult) -> dict[tuple[str, str], list[Finding]]:
    """Return the findings by (file, name): the menus, their entries, and other files that something was found in."""
    cases: dict[tuple[str, str], list[Finding]] = {}
    names: dict[tuple[str, int], str] = {}
    for menu in result.menus:
        cases[menu, "menu"] = []
        for index, title in enumerate(result.titles.get(menu, ())):
            names[menu, index] = f"entry {index}: {_cut(title, TITLE_LIMIT)}"
            cases[menu, names[menu, index]] = []
    for finding in result.findings:
        name = "menu" if finding.entry is None else names.get((finding.file, finding.entry), f"entry {finding.entry}")
        cases.setdefault((finding.file, name), []).append(finding)
    if not cases and result.error is None:
        cases[result.source, "source"] = []
    return cases


def _case(suite: ElementTree.Element, file: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=safe(file), name=safe(name), time="0")


def _add_findings(case: ElementTree.Element, findings: Sequence[Finding]) -> None:
    errors = [finding for finding in findings if finding.severity == "error"]
    others = [finding for finding in findings if finding.severity != "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        rules = ",".join(dict.fromkeys(finding.rule for finding in errors))
        failure = ElementTree.SubElement(case, "failure", message=_cut(errors[0].message, 500) + more, type=rules)
        failure.text = _listed(errors)
    if others:
        ElementTree.SubElement(case, "system-out").text = _listed(others)


def _listed(findings: Sequence[Finding]) -> str:
    lines = (
        f"{safe(finding.file)}:{finding.line}:{finding.column}: {finding.severity}: {safe(finding.message)} "
        f"[{finding.rule}]"
        for finding in findings
    )
    text = "\n".join(lines)
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "\n..."


def _cut(text: str, limit: int = TEXT_LIMIT) -> str:
    line = safe(text)
    return line if len(line) <= limit else line[: limit - 3] + "..."
