"""The engine: all menus, a fixed order, caps, and rules that fail."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdrivers.errors import Corrupt
from pvboot.check.api import RULES, Problem, Rule
from pvboot.check.engine import check_source
from pvboot.check.model import CheckOptions, Finding
from pvboot.check.rules import load_rules
from pvboot.check.subject import Subject
from pvboot.sources import MENU_LIMIT_BYTES
from tests.check.rows import ENTRY, HEAD, LINUX
from tests.menu import corpus
from tests.menu.trees import plant

TEXT = CheckOptions(depth="text")
load_rules()


@pytest.fixture
def extra_rule(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Subject], Iterator[Problem]]], None]:
    """Register a rule "extra" for one test."""

    def register(function: Callable[[Subject], Iterator[Problem]]) -> None:
        monkeypatch.setitem(RULES, "extra", Rule("extra", "warning", "of a test", function))

    return register


def of_rule(findings: tuple[Finding, ...], *rules: str) -> list[Finding]:
    return [finding for finding in findings if finding.rule in rules]


def test_a_rule_that_fails_is_a_finding_and_stops_no_other(tmp_path: Path, extra_rule) -> None:  # type: ignore[no-untyped-def]
    def broken(subject: Subject) -> Iterator[Problem]:
        yield Problem("before")
        raise RecursionError("oh")

    extra_rule(broken)
    (tmp_path / "menu.lst").write_text("title A\n")
    found = check_source(str(tmp_path / "menu.lst")).findings
    (failure,) = of_rule(found, "internal-error")
    assert "extra" in failure.message and "RecursionError: oh" in failure.message
    assert [finding.message for finding in of_rule(found, "extra")] == ["before"]
    assert of_rule(found, "empty-entry", "no-entries")


def test_a_disk_that_stops_a_rule_is_not_a_defect_of_the_rule(tmp_path: Path, extra_rule) -> None:  # type: ignore[no-untyped-def]
    def reading(subject: Subject) -> Iterator[Problem]:
        raise Corrupt("bad block", where="(hd0,0)")
        yield

    extra_rule(reading)
    (tmp_path / "menu.lst").write_text(LINUX)
    (finding,) = check_source(str(tmp_path / "menu.lst")).findings
    assert (finding.rule, finding.severity) == ("not-checked", "warning")
    assert "bad block" in finding.message


def test_findings_are_listed_once_and_by_place(tmp_path: Path, extra_rule) -> None:  # type: ignore[no-untyped-def]
    def anyhow(subject: Subject) -> Iterator[Problem]:
        for offset in (40, 3, 3, 12):
            yield Problem("here", subject.span(offset, 1))

    extra_rule(anyhow)
    (tmp_path / "menu.lst").write_text(LINUX)
    found = of_rule(check_source(str(tmp_path / "menu.lst")).findings, "extra")
    assert [(finding.line, finding.column) for finding in found] == [(1, 4), (2, 3), (4, 9)]


@pytest.mark.parametrize(("count", "listed", "more"), [(50, 50, None), (53, 50, "3 more"), (20_000, 50, "19950 more")])
def test_a_rule_lists_so_many_findings_and_counts_the_rest(
    tmp_path: Path, count: int, listed: int, more: str | None
) -> None:
    (tmp_path / "menu.lst").write_text(LINUX + "".join(f"zzyzx{n}\n" for n in range(count)))
    found = of_rule(check_source(str(tmp_path / "menu.lst")).findings, "unknown-command")
    rest = [finding for finding in found if finding.line == 0]
    assert len(found) - len(rest) == listed
    assert [finding.severity for finding in rest] == (["note"] if more else [])
    assert not more or rest[0].message.startswith(more)


def test_a_severity_can_be_changed_and_a_rule_turned_off(tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_text("default 0\n" + ENTRY + "zzyzx\n")
    options = CheckOptions(severities=(("unknown-command", "error"), ("surprising-timeout", "off")))
    (finding,) = check_source(str(tmp_path / "menu.lst"), options).findings
    assert (finding.rule, finding.severity) == ("unknown-command", "error")


def test_a_result_can_go_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_text(HEAD + "title A\nkernel x\n")
    result = check_source(str(tmp_path / "menu.lst"))
    assert result.findings and result.excerpts
    assert pickle.loads(pickle.dumps(result)) == result


def test_the_same_source_gives_the_same_findings(tmp_path: Path) -> None:
    for name, data in corpus.written().items():
        menu = tmp_path / name.replace(" ", "-") / "menu.lst"
        menu.parent.mkdir()
        menu.write_bytes(data)
        assert check_source(str(menu)) == check_source(str(menu))


# --- sources ----------------------------------------------------------------------------------------------


def test_all_menus_of_a_guest_are_checked(tmp_path: Path) -> None:
    plant(tmp_path, {"boot/grub/menu.lst": "zzyzx\n" + LINUX, "boot/grub/grub.cfg": "zzyzx\n", "extlinux.conf": "x"})
    result = check_source(str(tmp_path), TEXT)
    assert [name.rpartition("/")[2] for name in result.menus] == ["grub.cfg", "extlinux.conf", "menu.lst"]
    assert any(finding.file.endswith("menu.lst") for finding in of_rule(result.findings, "unknown-command"))


def test_a_link_to_a_menu_is_not_another_menu(tmp_path: Path) -> None:
    plant(tmp_path, {"boot/grub/menu.lst": LINUX})
    (tmp_path / "boot/grub/grub.conf").symlink_to("menu.lst")
    (tmp_path / "boot/boot").symlink_to(".")
    assert len(check_source(str(tmp_path), TEXT).menus) == 1


def test_config_names_the_only_menu(tmp_path: Path) -> None:
    plant(tmp_path, {"boot/grub/menu.lst": LINUX, "other.lst": "title A\n", "boot/grub/grub.cfg": "zzyzx\n"})
    result = check_source(str(tmp_path), CheckOptions(config="/other.lst", depth="text"))
    assert [name.rpartition("/")[2] for name in result.menus] == ["other.lst"]
    assert result.exit_code == 1


def test_the_menus_of_an_image_are_named_by_their_volume(images: Callable[[str], Path]) -> None:
    result = check_source(str(images("mbr.img")), TEXT)
    assert result.error is None
    assert result.menus and all(name.startswith("(hd0,") for name in result.menus)


@pytest.mark.parametrize(
    ("files", "rule"),
    [({"etc/motd": "x"}, "no-menu"), ({"boot/grub/menu.lst": gzip.compress(LINUX.encode())[:40]}, "unreadable-menu")],
)
def test_a_guest_without_a_menu_that_can_be_read(tmp_path: Path, files: dict[str, str | bytes], rule: str) -> None:
    plant(tmp_path, files)
    result = check_source(str(tmp_path))
    assert [finding.rule for finding in result.findings] == [rule]
    assert result.exit_code == 1


def test_a_compressed_menu_is_read_as_grub_does(tmp_path: Path) -> None:
    plant(tmp_path, {"boot/grub/menu.lst": gzip.compress((LINUX + "zzyzx\n").encode())})
    assert [finding.line for finding in check_source(str(tmp_path), TEXT).findings] == [6]


@pytest.mark.parametrize("content", [b"\0" * 4096, b"\x7fELF" + bytes(range(256)) * 64, bytes(range(256)) * 300])
def test_what_is_neither_text_nor_a_disk_cannot_be_checked(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.img").write_bytes(content)
    result = check_source(str(tmp_path / "x.img"))
    assert result.exit_code == 3 and result.error is not None
    assert str(tmp_path / "x.img") in result.error.message


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    result = check_source(str(tmp_path / "nothing"))
    assert result.exit_code == 3 and result.error is not None
    assert "No such file" in result.error.message


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("saved.txt", "default 0\ntimeout 5\ntitle A\nkernel x root=y\n", "relative-path"),
        ("40_custom", "menuentry A --id x {\n true\n}\nmenuentry B --id x {\n true\n}\n", "duplicate-id"),
        ("pxe", "PROMPT 1\nTIMEOUT 50\nLABEL a\n KERNEL \u201c/a\n", "smart-quotes"),
        ("boot.conf", 'timeout=50\nimage=/a\n label=a\n append="root=x\u00a0y" \u201c\n', "smart-quotes"),
    ],
)
def test_a_file_of_another_name_is_known_by_its_words(tmp_path: Path, name: str, text: str, rule: str) -> None:
    (tmp_path / name).write_text(text)
    assert of_rule(check_source(str(tmp_path / name), TEXT).findings, rule)


def test_a_menu_with_more_lines_than_are_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_text(HEAD + ENTRY * 40_000)
    found = check_source(str(tmp_path / "menu.lst")).findings
    assert "only the first 100000 lines are read" in [f.message for f in of_rule(found, "menu-too-large")]


def test_a_text_beyond_the_limit_is_not_a_menu(tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_bytes(b"# remark\n" * (MENU_LIMIT_BYTES // 9 + 1))
    assert check_source(str(tmp_path / "menu.lst")).exit_code == 3


# --- hostile menus ----------------------------------------------------------------------------------------

_PLAIN_WORDS = (
    "title root kernel initrd module boot default fallback timeout color password lock savedefault configfile "
    "chainloader uuid terminal (hd0,0) (hd9 /x --type= --md5 saved = # ' \" 0 1 -1 { } menuentry set if fi label "
    "append image= \0 \ufeff \u201c \udcff"
)
WORDS = st.sampled_from([*_PLAIN_WORDS.split(" "), "\\\n", "\n", "\n", "\n", "\r", "\t", " "])


@settings(max_examples=150)
@given(st.lists(WORDS, max_size=60), st.sampled_from(["menu.lst", "grub.cfg", "extlinux.conf", "elilo.conf"]))
def test_no_menu_makes_a_rule_fail(tmp_path_factory: pytest.TempPathFactory, words: list[str], name: str) -> None:
    menu = tmp_path_factory.mktemp("hostile") / name
    text = "".join(f"{word} " if word.isalnum() else word for word in words)
    menu.write_bytes(text.encode("utf-8", "surrogateescape"))
    result = check_source(str(menu), CheckOptions(depth="text"))
    assert not of_rule(result.findings, "internal-error")
    lines = menu.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    for finding in result.findings:
        if finding.line and finding.file == str(menu):
            assert 1 <= finding.column <= finding.end_column <= len(lines[finding.line - 1]) + 1


_LINES = (
    "module /m{}|fallback 1 2 1 {}|kernal{} x|title A{}|root hd{}|savedefault|kernel /x \\|\u201c{}|password --md5 {}|"
    "color a{}/b|default {}x|timeout 5|initrd /i {}|configfile /c{}|lock"
)


@pytest.mark.parametrize("line", _LINES.split("|"))
def test_work_grows_with_the_lines_and_not_faster(tmp_path: Path, line: str) -> None:
    """Counted in lines of Python that run, so that a busy machine changes nothing."""
    small, large = (_lines_run(tmp_path, line, count) for count in (300, 1200))
    assert large < 4.6 * small + 20_000


def _lines_run(folder: Path, line: str, count: int) -> int:
    import sys

    menu = folder / "menu.lst"
    menu.write_text(LINUX + "".join(line.format(n) + "\n" for n in range(count)))
    counted = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal counted
        counted += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        check_source(str(menu), CheckOptions(depth="text"))
    finally:
        sys.settrace(before)
    return counted


def test_the_registry_is_loaded_from_a_table_once() -> None:
    before = dict(RULES)
    load_rules()
    assert before == RULES
