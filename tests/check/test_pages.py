"""Every rule has a page, and the examples of the pages do what they say."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import pytest

from pvboot.check.api import RULES
from pvboot.check.engine import check_source
from pvboot.check.explain import Example, examples, page
from pvboot.check.rules import load_rules
from tests import REPOSITORY

load_rules()
# What a menu of the dialect is called: the check knows dialects by names.
NAMES = {"menu.lst": "menu.lst", "grub.cfg": "grub.cfg", "extlinux": "extlinux.conf", "elilo": "elilo.conf"}
EXAMPLES = [
    pytest.param(rule_id, example, id=f"{rule_id}-{number}-{example.kind}")
    for rule_id in sorted(RULES)
    for number, example in enumerate(examples(page(rule_id)))
    if not example.flags & {"needs-files", "needs-kernel", "shown-only"}
]


@pytest.mark.parametrize("rule_id", sorted(RULES))
def test_a_rule_has_a_page_with_its_summary(rule_id: str) -> None:
    text = page(rule_id)
    assert text.startswith(f"# {rule_id}\n")
    assert RULES[rule_id].summary in text
    assert len(text.splitlines()) > 5


def test_no_page_is_left_over() -> None:
    pages = REPOSITORY / "pvboot" / "check" / "pages"
    assert {path.stem for path in pages.glob("*.md")} == set(RULES)


@pytest.mark.parametrize(("rule_id", "example"), EXAMPLES)
def test_the_bad_example_is_found_and_the_good_one_is_not(rule_id: str, example: Example, tmp_path: Path) -> None:
    menu = tmp_path / NAMES[example.dialect]
    menu.write_bytes(example.data)
    result = check_source(str(menu))
    assert result.error is None
    found = [finding for finding in result.findings if finding.rule == rule_id]
    if example.kind == "bad":
        assert found
    else:
        assert not found
        assert not [finding for finding in result.findings if finding.severity == "error"]


def test_explain_prints_the_page(run_cli) -> None:  # type: ignore[no-untyped-def]
    done = run_cli("check", "--explain", "crlf-line-ends")
    assert (done.returncode, done.stdout) == (0, page("crlf-line-ends"))


def test_explain_of_an_unknown_rule_is_wrong_usage(run_cli) -> None:  # type: ignore[no-untyped-def]
    done = run_cli("check", "--explain", "no-such-rule")
    assert done.returncode == 2
    assert "no-such-rule" in done.stderr


def test_the_list_names_every_rule(run_cli) -> None:  # type: ignore[no-untyped-def]
    lines = run_cli("check", "--list-rules").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[rule.id, rule.severity] for _, rule in sorted(RULES.items())]


def test_the_json_of_a_bad_example_names_rule_and_place(run_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    menu = tmp_path / "menu.lst"
    menu.write_text(next(e.text for e in examples(page("relative-path")) if e.kind == "bad"))
    done = run_cli("check", "--format", "json", menu)
    document = json.loads(done.stdout)
    found = document["sources"][0]["findings"][0]
    assert done.returncode == 1
    assert document["summary"] == {"error": 1, "warning": 0, "note": 0}
    assert (found["rule"], found["file"], found["line"], found["column"], found["end_column"], found["entry"]) == (
        "relative-path",
        str(menu),
        5,
        8,
        20,
        0,
    )


def test_the_reference_lists_every_rule() -> None:
    tool = run_path(str(REPOSITORY / "tools" / "write_rule_index.py"))
    assert tool["INDEX"].read_text() == tool["index"](), "run tools/write_rule_index.py"
