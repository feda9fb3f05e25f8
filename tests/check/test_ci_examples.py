"""What the documentation gives to be copied: it is read by the programs that it is meant for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvboot.check.settings import Settings
from pvboot.check.settings_toml import read_settings
from pvboot.cli.main import verb_parser
from pvboot.menu.dialects import search_order
from tests import REPOSITORY

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]
DOCS = REPOSITORY / "docs"
MANIFEST = REPOSITORY / ".pre-commit-hooks.yaml"
HOOKS = {hook["id"]: hook for hook in yaml.safe_load(MANIFEST.read_text())}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_hooks_are_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-manifest", str(MANIFEST)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("hook", HOOKS)
def test_the_hooks_take_every_menu_that_has_a_name(hook: str) -> None:
    names = {path for _dialect, path in search_order() if not path.endswith("/")}
    assert not [name for name in names if re.search(HOOKS[hook]["files"], name) is None]
    assert re.search(HOOKS[hook]["files"], "docs/menu.lst.md") is None


def run_hook(run_cli: RunCli, hook: str, *files: Path) -> subprocess.CompletedProcess[Any]:
    program, *arguments = HOOKS[hook]["entry"].split()
    assert program == "pvboot"
    return run_cli(*arguments, *files)


def test_the_hooks_do_what_they_say(run_cli: RunCli, tmp_path: Path) -> None:
    good, bad = tmp_path / "menu.lst", tmp_path / "grub.conf"
    text = "default {}\ntimeout 5\ntitle A\nroot (hd0,0)\nkernel /a root=/dev/xvda1 console=hvc0\n"
    good.write_text(text.format(0))
    bad.write_text(text.format(7))
    assert run_hook(run_cli, "pvboot-check", good).returncode == 0
    assert run_hook(run_cli, "pvboot-check", good, bad).returncode == 1
    assert run_hook(run_cli, "pvboot-fix", good, bad).returncode == 0
    assert bad.read_text() == good.read_text() == text.format(0)


def test_the_examples_for_ci_are_yaml_and_call_the_program_rightly() -> None:
    examples = blocks("how-to/check-in-ci.md", "yaml")
    github, gitlab, pre_commit = (yaml.safe_load(text) for text in examples)
    steps = [step["run"] for step in github["jobs"]["check"]["steps"] if "run" in step]
    commands = [line for line in (*steps, *gitlab["boot-menus"]["script"]) if line.startswith("pvboot check")]
    assert len(commands) == 2
    parser, _module = verb_parser("check")
    for command in commands:
        words = command.split(">")[0].split()[2:]
        assert parser.parse_args(words).recurse
    assert {hook["id"] for hook in pre_commit["repos"][0]["hooks"]} == set(HOOKS)


def test_the_example_of_settings_is_read() -> None:
    (text,) = blocks("reference/check-config.md", "toml")
    settings = read_settings(text.encode(), "example")
    assert isinstance(settings, Settings) and settings.rules and settings.overrides
