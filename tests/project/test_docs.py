"""The documentation names the options that the program has, no more and no fewer; its links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvboot.libxl.pygrub import options
from tests import REPOSITORY

DOCS = REPOSITORY / "docs"
VERBS = ["boot", "menu", "check", "ls", "cat", "cp", "plan", "serve", "completion"]
EVERYWHERE = {"--help", "--disk", "--config", "--net", "--sums", "--verbose", "--debug"}

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]


def long_options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def help_of(run_cli: RunCli, verb: str) -> str:
    done = run_cli(verb, "--help")
    assert done.returncode == 0
    return str(done.stdout)


@pytest.mark.parametrize("verb", VERBS)
def test_the_reference_page_has_every_option_of_a_verb(run_cli: RunCli, verb: str) -> None:
    page = (DOCS / "reference" / "command-line.md").read_text()
    section = re.search(rf"^### pvboot {verb}\b.*?(?=^##)", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert long_options(section[0]) - EVERYWHERE == long_options(help_of(run_cli, verb)) - EVERYWHERE


def test_the_page_has_every_verb(run_cli: RunCli) -> None:
    listed = re.search(r"verbs:\n(.*?)\n\n", help_of(run_cli, "--help"), re.DOTALL)
    assert listed is not None
    assert {line.split()[0] for line in listed[1].splitlines()} == set(VERBS)


def test_the_man_page_has_every_option_of_the_program(run_cli: RunCli) -> None:
    page = (DOCS / "man" / "pvboot.1").read_text().replace("\\-", "-")
    program = set().union(*(long_options(help_of(run_cli, verb)) for verb in VERBS))
    assert long_options(page) == program - {"--help"} | {"--version"}


def pygrub_usage() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pvboot.libxl.pygrub", "--help", "disk.img"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    return done.stderr


def short_options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])-[a-z](?![\w-])", text))


def pygrub_pages() -> dict[str, str]:
    """The man page without its markup, and the section of the reference."""
    manual = (DOCS / "man" / "pvboot-pygrub.1").read_text()
    page = (DOCS / "reference" / "command-line.md").read_text()
    section = re.search(r"^### pvboot-pygrub\b.*?(?=^##)", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    return {"manual": manual.replace("\\-", "-"), "reference": section[0]}


@pytest.mark.parametrize("page", ["manual", "reference"])
def test_both_pages_have_every_option_of_pvboot_pygrub(page: str) -> None:
    text, usage = pygrub_pages()[page], pygrub_usage()
    assert long_options(text) == long_options(usage) | {"--help"}
    assert short_options(text) == short_options(usage) | {"-h"}


def test_the_usage_of_pvboot_pygrub_has_every_option_that_it_takes() -> None:
    taken = {f"--{name.rstrip('=')}" for name in options._LONG} | {f"-{letter}" for letter in options._SHORT}
    usage = pygrub_usage()
    assert long_options(usage) | short_options(usage) == taken - {"--help", "-h"}


def test_the_page_about_plans_names_a_test_for_each_of_the_sixteen_invariants() -> None:
    page = (DOCS / "reference" / "kexec-plan.md").read_text()
    rows = re.findall(r"^\| (\d+)(?: v)? \| .* \| (`test_.*) \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 17))
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    named = [name for _, cell in rows for name in re.findall(r"`(test_\w+)`", cell)]
    assert not [name for name in named if f"def {name}(" not in tests]


def test_the_page_about_plans_names_every_key_of_the_json(run_cli: RunCli, images: Callable[[str], Path]) -> None:
    page = (DOCS / "reference" / "kexec-plan.md").read_text()
    described = set(re.findall(r"`(\w+)`", page))
    domain = json.loads(run_cli("plan", images("ext2.img"), "--json").stdout)
    whole = json.loads(run_cli("boot", images("ext2.img"), "--handoff", "plan", "--json").stdout)
    plan = whole["plan"]
    parts = [domain, whole, whole["kexec"], plan, plan["moves"][0], plan["trampoline"], plan["cost"]]
    parts += [*plan["loader_tables"], *plan["operations"]]
    assert not set().union(*parts) - described - {"op"}
    assert {operation["op"] for operation in plan["operations"]} <= described


def test_links_between_pages_lead_to_files() -> None:
    pages = [REPOSITORY / "README.md", *DOCS.rglob("*.md")]
    broken = [
        f"{page.relative_to(REPOSITORY)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken
