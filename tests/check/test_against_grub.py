"""What the rules call an error in a command, the real GRUB Legacy shell refuses, and the other way round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grammars.menu_lst import parse_line
from pvboot.check.engine import check_source
from pvboot.check.model import CheckOptions
from pvboot.menu.words import WORDS
from tests.check.rows import HEAD
from tests.grub_oracle.shell import GrubShell, make_disk
from tests.shell.test_against_grub import ALIKE

# GRUB's errors about the text of a command; the others depend on disks and on what was loaded before.
TEXTUAL = {1, 11, 12, 23, 30, 35}
RULES = {"bad-argument", "bad-color", "bad-device-syntax", "relative-path"}
# Without `initrd` and `module`: the shell takes them only behind a real kernel.
JUDGED = ("root", "rootnoverify", "kernel", "configfile", "chainloader", "cat", "color", "pager", "terminal")
MORE = [
    "color white/blue yellow/black",
    "color blue",
    "color 0x1f 7",
    "color blink-yellow/light-gray",
    "color 1/2",
    "kernel --type=linux-2.4 /f",
    "kernel --type=lin /f",
    "kernel --no-mem-option --type=multiboot /f",
    "kernel --foo /f",
    "kernel (hd0,0)f",
    "kernel f",
    "kernel (hd0",
    "kernel (hd0,0,q)/f",
    "kernel (hd99)/f",
    "kernel +1",
    "cat 0+1,2+1",
    "cat (hd0,msdos1)/f",
    "root (hd0,msdos1)",
    "root (hd0,gpt1)",
    'root "(hd0,0)"',
    "cat '/f'",
    "terminal console",
    "terminal --dumb console",
    "terminal --foo console",
    "terminal --timeout=3 --lines=9 --silent console",
    "terminal console --dumb",
    "color red/black junk",
    "pager  on",
    "pager ON",
    "cat x+1",
    "cat (hd0,0)",
    "cat 1+",
    "configfile f",
    "chainloader --force f",
    "chainloader 0+1",
]
APART = {"root": "shows the device: Debian's dividers are made so", "rootnoverify": "the same"}


@pytest.fixture(scope="module")
def grub(tmp_path_factory: pytest.TempPathFactory, parts: Callable[[str], Path]) -> GrubShell:
    tree = {"f": b"x" * 2000, "d/inner": b"x"}
    return GrubShell(parts("grub-legacy") / "root", make_disk(tmp_path_factory.mktemp("check") / "disk.img", tree, 4))


@pytest.mark.parametrize(("entries", "works"), [(9_300, True), (9_700, False)])
def test_a_menu_with_too_many_entries_crashes_grub(
    tmp_path: Path, parts: Callable[[str], Path], entries: int, works: bool
) -> None:
    text = "timeout 9\n" + "".join(f"title T{number:05}{'x' * 22}\nhalt\n" for number in range(entries))
    (tmp_path / "menu.lst").write_text(text)
    (problem,) = [
        finding for finding in check_source(str(tmp_path / "menu.lst")).findings if finding.rule == "too-many-entries"
    ]
    shell = GrubShell(parts("grub-legacy") / "root", make_disk(tmp_path / "disk.img", {"m": text.encode()}, 8))
    assert (f"T{entries - 1:05}" in shell.type("configfile (hd0,0)/m\nx\x1b")) == works
    assert ("crash" in problem.message) != works


def _lines() -> list[str]:
    found = []
    for line in (*ALIKE, *MORE):
        parsed = parse_line(line)
        if parsed is not None and parsed.name in JUDGED and parsed.name in WORDS and line not in APART:
            found.append(line)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("line", _lines())
def test_a_command_is_an_error_as_in_grub(grub: GrubShell, tmp_path: Path, line: str) -> None:
    number = grub.run("root (hd0,0)", line).number
    menu = tmp_path / "menu.lst"
    menu.write_text(f"{HEAD}title A\nroot (hd0,0)\n{line}\n")
    found = check_source(str(menu), CheckOptions(depth="text")).findings
    ours = [finding for finding in found if finding.rule in RULES | {"quoted-file-name"} and finding.line == 5]
    assert any(finding.severity == "error" for finding in ours) == (number in TEXTUAL), (number, ours)
