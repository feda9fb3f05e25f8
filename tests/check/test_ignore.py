"""Ignore comments, and the settings of a project."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.check.engine import check_source
from pvboot.check.ignore import Comments, read_ignores
from pvboot.check.model import CheckOptions, Finding, SourceResult
from pvboot.check.settings import FILE_NAME, Settings, override, settings_file
from pvboot.check.settings_toml import read_settings
from pvboot.errors import UsageError

RULES = ("crlf-line-ends", "default-out-of-range", "duplicate-title", "empty-entry", "ignore-unused")


def targets(text: str, dialect: str = "menu.lst") -> list[tuple[str, int | None]]:
    return [(ignore.rule, ignore.target) for ignore in read_ignores(text, "f", dialect, RULES)[0]]


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("# pvboot: ignore empty-entry\ntitle A\n", "menu.lst", [("empty-entry", 2)]),
        ("#pvboot:ignore empty-entry\n\n# other\n  title A\n", "menu.lst", [("empty-entry", 4)]),
        ("# pvboot: ignore empty-entry, crlf-line-ends\nx\n", "menu.lst", [("empty-entry", 2), ("crlf-line-ends", 2)]),
        (
            "# pvboot: ignore empty-entry\n# pvboot: ignore duplicate-title\nx\n",
            "menu.lst",
            [("empty-entry", 3), ("duplicate-title", 3)],
        ),
        ("a\n# pvboot: ignore-file empty-entry\n", "menu.lst", [("empty-entry", None)]),
        ("# pvboot: ignore empty-entry -- the old tools, crlf-line-ends\nx\n", "menu.lst", [("empty-entry", 2)]),
        ("# pvboot: ignore empty-entry\r\ntitle A\r\n", "menu.lst", [("empty-entry", 2)]),
        ("# pvboot: ignore empty-entry\rtitle A\r", "menu.lst", [("empty-entry", 2)]),
        # behind a command: where the dialect has such comments, and only there
        ("set default=9 # pvboot: ignore empty-entry\n", "grub.cfg", [("empty-entry", 1)]),
        ("default 9 # pvboot: ignore empty-entry\n", "menu.lst", []),
        ("echo '# pvboot: ignore empty-entry'\n", "grub.cfg", []),
        ("echo x# pvboot: ignore empty-entry\n", "grub.cfg", []),
        ("# pvboot is a loader\nx\n", "menu.lst", []),
    ],
)
def test_what_a_comment_is_about(text: str, dialect: str, expected: list[tuple[str, int | None]]) -> None:
    assert targets(text, dialect) == expected


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("ignore empty-entri", "'empty-entri' is not a rule; did you mean 'empty-entry'?"),
        ("ignore", "ignore names no rule"),
        ("ignore-file -- because", "ignore-file names no rule"),
        ("disable empty-entry", "'disable' is not an instruction"),
        ("ignore ignore-unused", "'ignore-unused' cannot be ignored"),
    ],
)
def test_a_comment_that_ignores_nothing_says_why(comment: str, message: str) -> None:
    ignores, (problem,) = read_ignores(f"x\n# pvboot: {comment}\nx\n", "f", "menu.lst", RULES)
    assert problem.message.startswith(message)
    assert problem.span is not None and problem.span.line == 2
    assert not ignores


def test_only_the_line_that_was_named_is_ignored() -> None:
    text = "# pvboot: ignore empty-entry\ntitle A\ntitle B\n"
    ignores = Comments("menu.lst", lambda: {"f": text}, RULES)
    assert ignores.covers(Finding("empty-entry", "error", "", "f", 2))
    assert not ignores.covers(Finding("empty-entry", "error", "", "f", 3))
    assert not ignores.covers(Finding("empty-entry", "error", "", "other", 2))
    assert not ignores.covers(Finding("duplicate-title", "error", "", "f", 2))


@given(st.text(alphabet="# pvboot:ignore-file,empty-entry\n\r\"' x\udcff"))
def test_any_text_has_comments(text: str) -> None:
    for dialect in ("menu.lst", "grub.cfg"):
        ignores, _faults = read_ignores(text, "f", dialect, RULES)
        lines = text.count("\n") + text.count("\r") + 1
        assert all(ignore.target is None or 1 <= ignore.target <= lines for ignore in ignores)


# --- in the engine ----------------------------------------------------------------------------------------

MENU = "default 7\ntimeout 5\ntitle Debian\nroot (hd0,0)\nkernel /vmlinuz root=/dev/xvda1\n"


def check(folder: Path, text: str, **options: object) -> SourceResult:
    path = folder / "menu.lst"
    path.write_text(text)
    return check_source(str(path), CheckOptions(**options))  # type: ignore[arg-type]


def rules_of(result: SourceResult) -> list[str]:
    return [finding.rule for finding in result.findings]


def test_an_ignored_finding_is_not_there(tmp_path: Path) -> None:
    assert rules_of(check(tmp_path, MENU)) == ["default-out-of-range"]
    assert rules_of(check(tmp_path, "# pvboot: ignore default-out-of-range\n" + MENU)) == []
    assert rules_of(check(tmp_path, MENU + "# pvboot: ignore-file default-out-of-range\n")) == []


def test_a_comment_that_is_not_needed_is_a_note(tmp_path: Path) -> None:
    result = check(tmp_path, MENU.replace("default 7", "# pvboot: ignore default-out-of-range\ndefault 0"))
    (finding,) = result.findings
    assert (finding.rule, finding.severity, finding.line, finding.column) == ("ignore-unused", "note", 1, 18)


def test_a_comment_about_files_is_needed_when_only_the_text_is_looked_at(tmp_path: Path) -> None:
    text = "# pvboot: ignore default-saved-no-file\n" + MENU.replace("default 7", "default saved")
    assert rules_of(check(tmp_path, text)) == []


def test_comments_are_not_obeyed_if_the_operator_says_so(tmp_path: Path) -> None:
    text = "# pvboot: ignore default-out-of-range\n" + MENU
    assert rules_of(check(tmp_path, text, ignore_comments=False)) == ["default-out-of-range"]


# --- settings ---------------------------------------------------------------------------------------------


def test_settings_give_severities() -> None:
    settings = read_settings(b'ignore-comments = false\n[rules]\ncrlf-line-ends = "error"\nempty-entry = "off"\n', "f")
    assert settings == Settings((("crlf-line-ends", "error"), ("empty-entry", "off")), (), False)


def test_overrides_apply_by_source_and_file_and_the_last_one_wins() -> None:
    text = b"""
[[override]]
sources = ["old/*", "*.iso"]
rules = { crlf-line-ends = "off" }
[[override]]
files = ["*/grub.conf"]
rules = { crlf-line-ends = "note" }
"""
    overrides = read_settings(text, "f").overrides

    def severity(source: str, file: str) -> str:
        return override([Finding("crlf-line-ends", "warning", "", file)], source, overrides)[0].severity

    assert severity("new/a.img", "(hd0)/boot/menu.lst") == "warning"
    assert severity("./old/a.img", "(hd0)/boot/menu.lst") == "off"
    assert severity("old/a.img", "(hd0)/boot/grub.conf") == "note"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rules]\ncrlf-line-end = 'off'", "f:2: rules.crlf-line-end: unknown rule (expected crlf-line-ends?)"),
        ("[rules]\ncrlf-line-ends = 'fatal'", "f:2: rules.crlf-line-ends: wrong severity (expected error, warning"),
        ("[rule]\nx = 1", "f:1: rule: unknown key (expected rules?)"),
        ("rules = 3", "f:1: rules: wrong kind of value (expected a table, found a whole number)"),
        ("ignore-comments = 'no'", "f:1: ignore-comments: wrong kind of value (expected true or false, found text)"),
        ("[[override]]\nrules = {}", "f:1: override[0]: incomplete (expected sources or files)"),
        ("[[override]]\nsources = []", "f:1: override[0].rules: missing"),
        ("[[override]]\nsources = 'x'\nrules = {}", "f:2: override[0].sources: wrong kind of value (expected a list"),
        ("override = 1", "f:1: override: wrong kind of value"),
        ("x = = 1", "f:1: not TOML: Invalid value"),
        ("x = " + "[" * 100_000, "f: not TOML: "),
        ("\xff", "f: byte 0: not UTF-8"),
    ],
)
def test_wrong_settings_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(text.encode("latin-1"), "f")
    assert str(caught.value).startswith(message)


def test_settings_are_looked_for_beside_the_source_then_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    source = str(there / "a.img")
    assert settings_file(source) is None
    (here / FILE_NAME).touch()
    assert settings_file(source) == str(here / FILE_NAME)
    (there / FILE_NAME).touch()
    assert settings_file(source) == str(there / FILE_NAME)
    assert settings_file(source, "named.toml") == "named.toml"


def test_a_rule_that_is_off_finds_nothing(tmp_path: Path, run_cli) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "menu.lst").write_text(MENU)
    (tmp_path / FILE_NAME).write_text('[rules]\ndefault-out-of-range = "off"\n')
    assert run_cli("check", tmp_path / "menu.lst").returncode == 0
    (tmp_path / "other.toml").write_text("")
    assert run_cli("check", "--rules-config", tmp_path / "other.toml", tmp_path / "menu.lst").returncode == 1
    (tmp_path / FILE_NAME).write_text("nonsense")
    done = run_cli("check", tmp_path / "menu.lst")
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_a_comment_in_a_file_of_a_directory_of_entries_is_obeyed(tmp_path: Path) -> None:
    entries = tmp_path / "loader" / "entries"
    entries.mkdir(parents=True)
    text = "title A\nversion 1\nlinux /vmlinuz\nbogus x\noptions root=/dev/xvda1 console=hvc0\n"
    (tmp_path / "vmlinuz").write_bytes(b"no kernel")
    (entries / "a.conf").write_text(text)
    found = {finding.rule for finding in check_source(str(tmp_path)).findings}
    assert "unknown-command" in found
    (entries / "a.conf").write_text(text.replace("bogus", "# pvboot: ignore unknown-command\nbogus"))
    ignored = {finding.rule for finding in check_source(str(tmp_path)).findings}
    assert ignored == found - {"unknown-command"}
