"""JUnit XML as another program reads it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import junitparser
import pytest

from pvboot.check.junit import junit_report
from tests.check.fleets import MENU, RESULTS


@pytest.fixture(scope="module")
def suites() -> list[junitparser.TestSuite]:
    return list(junitparser.JUnitXml.fromstring(junit_report(RESULTS).encode()))


def names(suite: junitparser.TestSuite) -> list[str]:
    return [case.name for case in suite]


def test_a_suite_a_source_and_a_case_a_menu_and_an_entry(suites: list[junitparser.TestSuite]) -> None:
    assert len(suites) == 4
    assert names(suites[0]) == ["menu", "entry 0: Debian", 'entry 1: <b>"Ubuntu"</b> & \\x1b[31m co\\xff']
    assert {case.classname for case in suites[0]} == {MENU}
    assert names(suites[2]) == ["menu", "entry 0: Debian"]


def test_errors_are_failures_and_the_rest_is_output(suites: list[junitparser.TestSuite]) -> None:
    menu, first, second = suites[0]
    (failure,) = menu.result
    assert isinstance(failure, junitparser.Failure)
    assert failure.type == "default-out-of-range"
    assert failure.text == f"{MENU}:1:9: error: default is 7, entries are 0 to 1 [default-out-of-range]"
    assert "crlf-line-ends" in menu.system_out
    assert first.is_passed and second.is_passed
    assert "</script>" in second.system_out


def test_a_source_that_cannot_be_read_is_an_error(suites: list[junitparser.TestSuite]) -> None:
    (case,) = suites[3]
    assert isinstance(case.result[0], junitparser.Error)
    assert case.result[0].type == "source-error"


def test_the_counts_are_those_of_the_cases(suites: list[junitparser.TestSuite]) -> None:
    counted = [(suite.tests, suite.failures, suite.errors) for suite in suites]
    assert counted == [(3, 1, 0), (2, 1, 0), (2, 0, 0), (1, 0, 1)]
    root = ElementTree.fromstring(junit_report(RESULTS))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("8", "2", "1")


def test_several_errors_of_one_entry_are_one_failure() -> None:
    findings = tuple(replace(RESULTS[1].findings[0], rule=rule) for rule in ("empty-entry", "relative-path"))
    (suite,) = junitparser.JUnitXml.fromstring(junit_report([replace(RESULTS[1], findings=findings)]).encode())
    (failure,) = list(suite)[1].result
    assert failure.type == "empty-entry,relative-path"
    assert failure.message == "the entry has no command (and 1 more)"
    assert len(failure.text.splitlines()) == 2


def test_a_source_without_menus_and_findings_is_a_case() -> None:
    (suite,) = junitparser.JUnitXml.fromstring(junit_report([replace(RESULTS[2], menus=(), titles={})]).encode())
    assert names(suite) == ["source"]
