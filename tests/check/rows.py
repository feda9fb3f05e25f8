"""What the tests of rules share: checking a text, and reading off what was found."""

from __future__ import annotations

from pathlib import Path

from pvboot.check.engine import check_source
from pvboot.check.model import DEFAULTS, CheckOptions, Target

BOOTS = "root (hd0,0)\nkernel /vmlinuz root=/dev/xvda1 ro\n"
HEAD = "default 0\ntimeout 5\n"
ENTRY = f"title Linux\n{BOOTS}"
LINUX = HEAD + ENTRY  # a menu with which nothing is wrong; its entry's title is line 3


def found(
    folder: Path, text: str | bytes, rule: str, name: str = "menu.lst", options: CheckOptions = DEFAULTS
) -> list[tuple[int, int, int, str]]:
    """(line, column, end column, severity) of what a rule finds in a text."""
    menu = folder / name
    menu.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = check_source(str(menu), options)
    assert result.error is None
    assert not [finding for finding in result.findings if finding.rule == "internal-error"]
    return [
        (finding.line, finding.column, finding.end_column, finding.severity)
        for finding in result.findings
        if finding.rule == rule
    ]


def target(loader: str) -> CheckOptions:
    """Options that judge for a loader."""
    return CheckOptions(target=Target(loader=loader))
