"""The text report and the command line around it."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.check.model import Finding, SourceError, SourceResult
from pvboot.check.report import ReportSettings, reporter
from pvboot.check.report_text import cells, excerpt
from pvboot.safe_text import safe
from tests import REPOSITORY
from tests.check.rows import ENTRY, HEAD, LINUX

BAD = HEAD + "title Linux\nroot (hd0,0)\nkernel vmlinuz root=/dev/xvda1\n"


@pytest.mark.parametrize(
    ("text", "column", "end", "line", "marks"),
    [
        ("kernel /x", 8, 10, "kernel /x", "       ^~"),
        ("\tkernel\t/x", 9, 11, "        kernel  /x", "                ^~"),
        ("a\tb", 3, 4, "a       b", "        ^"),
        ("title 日本 x", 10, 11, "title 日本 x", "           ^"),
        ("title 日本", 7, 9, "title 日本", "      ^~~~"),
        ("e\u0301x y", 3, 4, "e\u0301x y", " ^"),
        ("\x1b[1mx", 5, 6, "\\x1b[1mx", "       ^"),
        ("caf\udce9 y", 6, 7, "caf\\xe9 y", "        ^"),
        ("x", 2, 2, "x", " ^"),
        ("x", 7, 9, "x", " ^"),
        ("", 1, 1, "", "^"),
    ],
)
def test_a_caret_stands_below_what_is_meant(text: str, column: int, end: int, line: str, marks: str) -> None:
    assert excerpt(text, column, end) == (line, marks)


@pytest.mark.parametrize("column", [1, 50, 400, 700])
def test_of_a_long_line_the_part_around_the_place_is_shown(column: int) -> None:
    text = "".join(f"{n:03} " for n in range(200))
    line, marks = excerpt(text, column, column + 3)
    assert cells(line) <= 126
    start = marks.index("^")
    assert marks[start:] == "^~~" and line[start : start + 3] == text[column - 1 : column + 2]


def test_marks_end_with_the_part_that_is_shown() -> None:
    line, marks = excerpt("x" * 1000, 1, 1001)
    assert line == "x" * 120 + "..." and marks == "^" + "~" * 119


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=300), st.integers(1, 320), st.integers(0, 40))
def test_the_caret_stands_at_the_cell_of_its_letter(text: str, column: int, length: int) -> None:
    line, marks = excerpt(text, column, column + length)
    assert line.isprintable()
    assert marks.strip() in ("", "^" + "~" * (len(marks.strip()) - 1))
    assert cells(line) <= 126 and len(marks) <= 130
    if cells(safe(text.expandtabs(8))) <= 120 and column <= len(text) and "\t" not in text:
        assert marks.index("^") == cells(safe(text[: column - 1]))


def render(result: SourceResult, settings: ReportSettings | None = None) -> str:
    stream = io.StringIO()
    writer = reporter("text", stream, settings or ReportSettings())
    writer.add(result)
    writer.end()
    return stream.getvalue()


RESULT = SourceResult(
    "d/menu.lst",
    (
        Finding("a-rule", "error", "bad \x1b[31m thing", "d/menu.lst", 2, 8, 10, 0),
        Finding("b-rule", "note", "of the whole", "d/menu.lst"),
    ),
    menus=("d/menu.lst",),
    excerpts={("d/menu.lst", 2): "kernel /x"},
)


def test_a_report_is_like_a_compilers() -> None:
    assert render(RESULT) == (
        "d/menu.lst:2:8: error: bad \\x1b[31m thing [a-rule]\n"
        "    kernel /x\n"
        "           ^~\n"
        "d/menu.lst: note: of the whole [b-rule]\n"
        "1 source: 1 error, 0 warnings, 1 note\n"
    )


def test_milder_findings_are_left_out() -> None:
    text = render(RESULT, ReportSettings("warning"))
    assert "b-rule" not in text and text.endswith("1 error, 0 warnings, 0 notes\n")


def test_colours_are_put_around_what_they_colour() -> None:
    text = render(RESULT, ReportSettings(colour=True))
    assert "\x1b[1md/menu.lst:2:8:\x1b[0m \x1b[1;31merror:\x1b[0m bad" in text
    assert "\x1b[31m" not in text  # the guest's own


def test_a_menu_inside_of_an_image_is_named_with_the_image() -> None:
    finding = Finding("a-rule", "error", "bad", "(hd0,0)/boot/grub/menu.lst", 1, 1, 2)
    assert render(SourceResult("x.img", (finding,))).startswith("x.img: (hd0,0)/boot/grub/menu.lst:1:1: error: bad")


def test_a_source_that_cannot_be_checked_is_shown_and_counted() -> None:
    text = render(SourceResult("x.img", error=SourceError("x.img: broken", "corrupt", 3)))
    assert text == "not checked: x.img: broken\n1 source, 1 not checked: 0 errors, 0 warnings, 0 notes\n"


# --- command line -----------------------------------------------------------------------------------------


@pytest.fixture
def menus(tmp_path: Path) -> Callable[..., list[str]]:
    """Write the menus and name their files."""

    def write(*texts: str) -> list[str]:
        paths = []
        for number, text in enumerate(texts):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "menu.lst").write_text(text)
            paths.append(str(folder / "menu.lst"))
        return paths

    return write


@pytest.mark.parametrize(  # a warning is no error
    ("texts", "missing", "code"),
    [
        ([LINUX], False, 0),
        ([LINUX + "zzyzx\n"], False, 0),
        ([LINUX, BAD, LINUX], False, 1),
        ([LINUX], True, 3),
        ([BAD], True, 3),
    ],
)
def test_the_exit_code_is_the_worst_of_all_sources(run_cli, menus, tmp_path, texts, missing, code) -> None:  # type: ignore[no-untyped-def]
    done = run_cli("check", *([tmp_path / "nothing"] if missing else []), *menus(*texts))
    assert done.returncode == code
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [[], ["--format", "yaml", "x"], ["--severity", "fatal", "x"], ["--explain", "x"], ["--disk", "d", "x", "y"]],
)
def test_wrong_usage_is_exit_code_2(run_cli, arguments: list[str]) -> None:  # type: ignore[no-untyped-def]
    done = run_cli("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_the_report_names_every_source_in_order(run_cli, menus) -> None:  # type: ignore[no-untyped-def]
    names = menus(BAD, LINUX, BAD)
    lines = run_cli("check", *names).stdout.splitlines()
    assert lines[0] == f"{names[0]}:5:8: error: 'vmlinuz' does not begin with /: error 1 [relative-path]"
    assert lines[1:3] == ["    kernel vmlinuz root=/dev/xvda1", "           ^~~~~~~"]
    assert lines[3].startswith(f"{names[2]}:5:8: error:")
    assert lines[-1] == "3 sources: 2 errors, 0 warnings, 0 notes"


def test_severity_leaves_out_and_does_not_forgive(run_cli, menus) -> None:  # type: ignore[no-untyped-def]
    name = menus(BAD + "zzyzx\n")[0]
    done = run_cli("check", "--severity", "error", "--format", "json", name)
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document["summary"] == {"error": 1, "warning": 0, "note": 0}
    assert [finding["rule"] for finding in document["sources"][0]["findings"]] == ["relative-path"]


def test_json_has_the_sources_that_cannot_be_checked(run_cli, menus, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = run_cli("check", "--format", "json", tmp_path / "nothing", *menus(LINUX))
    first, second = json.loads(done.stdout)["sources"]
    assert done.returncode == 3
    assert first["error"]["exit_code"] == 3 and "nothing" in first["error"]["message"] and first["findings"] == []
    assert "error" not in second and second["menus"] == [second["source"]]


def test_a_disk_beside_a_menu_lets_files_be_looked_at(run_cli, menus, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "guest").mkdir()
    text = HEAD + ENTRY + "title More\nconfigfile (hd0,0)/nowhere.lst\n"
    done = run_cli("check", *menus(text), "--disk", tmp_path / "guest")
    assert "[missing-config-file]" in done.stdout
    assert "[missing-config-file]" not in run_cli("check", tmp_path / "0" / "menu.lst").stdout
    assert (
        "[missing-config-file]"
        not in run_cli("check", tmp_path / "0" / "menu.lst", "--disk", tmp_path / "guest", "--text-only").stdout
    )


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_on_a_terminal_only(menus, environment: dict[str, str], coloured: bool) -> None:  # type: ignore[no-untyped-def]
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.run(
        [sys.executable, "-m", "pvboot", "check", *menus(BAD)],
        stdout=theirs,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env={**kept, **environment},
        check=False,
        cwd=REPOSITORY,
    )
    os.close(theirs)
    printed = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        printed += piece
    os.close(ours)
    assert process.returncode == 1
    assert (b"\x1b[" in printed) == coloured


def test_the_output_of_a_pipe_has_no_colours(run_cli, menus) -> None:  # type: ignore[no-untyped-def]
    assert "\x1b" not in run_cli("check", *menus(BAD), env={"NO_COLOR": ""}).stdout


def test_every_process_prints_the_same(run_cli, menus) -> None:  # type: ignore[no-untyped-def]
    text = "fallback 1 1 9\n" + BAD + "initrd /a /b\nzzyzx\nKernel /x\ntitle Linux\nchainloader (fd0)+1\ntitle ----\n"
    name = menus(text)[0]
    reports = [run_cli("check", name, env={"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2", "3")]
    assert len(set(reports)) == 1 and len(reports[0].splitlines()) > 20
