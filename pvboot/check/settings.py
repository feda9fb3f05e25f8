"""A project's settings of the rules: their severities, by source and by file, and where the settings stand.

They come from a TOML file (`settings_toml.py`), which is the operator's, never the guest's: nothing inside a source is
read for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pvboot.check.model import Finding, Override
from pvboot.sources import is_url

FILE_NAME: Final = "pvboot-check.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """`rules` are (rule id, severity or "off"); a later override wins over an earlier one, and all over `rules`.

    With `ignore_comments` False the comments in menus are not obeyed.
    """

    rules: tuple[tuple[str, str], ...] = ()
    overrides: tuple[Override, ...] = ()
    ignore_comments: bool = True


def override(findings: Iterable[Finding], source: str, overrides: Sequence[Override]) -> list[Finding]:
    """The findings with the severities that the overrides give them ("off" among them), in the same order."""
    if not overrides:
        return list(findings)
    plain = source if is_url(source) else os.path.normpath(source)
    judged = []
    for finding in findings:
        level = finding.severity
        for item in overrides:
            wanted = dict(item.rules).get(finding.rule)
            if wanted is not None and item.applies(plain, finding.file):
                level = wanted
        judged.append(replace(finding, severity=level))
    return judged


def settings_file(source: str, named: str | None = None) -> str | None:
    """The file of settings for a source: `named`, else one beside it, else one in the working directory, else None."""
    if named is not None:
        return named
    beside = os.path.dirname(os.path.abspath(source)) if not is_url(source) else os.getcwd()
    for folder in dict.fromkeys((beside, os.getcwd())):
        path = os.path.join(folder, FILE_NAME)
        if os.path.isfile(path):
            return path
    return None
