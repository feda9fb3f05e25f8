"""What a project wants of the rules: their severities, the ones it does without, by source and by file.

The file is TOML, `pvboot-check.toml` beside the source or in the working directory, or named by `--rules-config`;
`docs/reference/check-config.md` describes it.  It is the operator's, never the guest's: nothing inside a source is
read for it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pvboot.check.api import RULES
from pvboot.check.model import SEVERITIES, Finding, Override
from pvboot.errors import UsageError
from pvboot.sources import is_url

FILE_NAME: Final = "pvboot-check.toml"
OFF: Final = "off"
LIMIT_BYTES = 1 << 20
_LEVELS: Final = (*SEVERITIES, OFF)


@dataclass(frozen=True, slots=True)
class Settings:
    """`rules` are (rule id, severity or "off"); a later override wins over an earlier one, and all over `rules`.

    `ignore_comments` False: what a menu says about itself is not obeyed.
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


# --- the file ---------------------------------------------------------------------------------------------


def settings_file(source: str, named: str | None = None) -> str | None:
    """Where the settings for a source stand: `named`, else beside it, else in the working directory."""
    if named is not None:
        return named
    beside = os.path.dirname(os.path.abspath(source)) if not is_url(source) else os.getcwd()
    for folder in dict.fromkeys((beside, os.getcwd())):
        path = os.path.join(folder, FILE_NAME)
        if os.path.isfile(path):
            return path
    return None


def load_settings(path: str) -> Settings:
    """Read one file.  Raises `UsageError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as err:
        raise UsageError(f"cannot be read: {err.strerror}", where=path) from err
    if len(data) > LIMIT_BYTES:
        raise UsageError("the file is too long", where=path, expected=f"at most {LIMIT_BYTES} bytes")
    return read_settings(data, path)


def read_settings(data: bytes, path: str) -> Settings:
    """Settings from TOML; `path` is named in errors.  Raises `UsageError`."""
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as err:
        raise UsageError("not UTF-8", where=f"{path}: byte {err.start}") from err
    except tomllib.TOMLDecodeError as err:
        raise UsageError(f"not TOML: {err}", where=path) from err
    except RecursionError as err:  # the parser's, for brackets inside brackets
        raise UsageError("not TOML: nested too deeply", where=path) from err
    _only_keys(table, ("rules", "override", "ignore-comments"), path, "")
    comments = table.get("ignore-comments", True)
    if not isinstance(comments, bool):
        raise UsageError(
            "wrong value", where=f"{path}: ignore-comments", expected="true or false", found=_show(comments)
        )
    overrides = table.get("override", [])
    if not isinstance(overrides, list) or not all(isinstance(item, dict) for item in overrides):
        raise UsageError(
            "wrong value", where=f"{path}: override", expected="tables, [[override]]", found=_show(overrides)
        )
    return Settings(
        _rules(table.get("rules", {}), f"{path}: rules"),
        tuple(_override(item, f"{path}: override {number}") for number, item in enumerate(overrides, 1)),
        comments,
    )


def _override(table: Mapping[str, Any], where: str) -> Override:
    _only_keys(table, ("sources", "files", "rules"), where, "")
    if "rules" not in table or not ("sources" in table or "files" in table):
        raise UsageError(
            "incomplete",
            where=where,
            expected="rules, and sources or files",
            found=", ".join(sorted(table)) or "nothing",
        )
    return Override(
        _globs(table.get("sources", []), f"{where}: sources"),
        _globs(table.get("files", []), f"{where}: files"),
        _rules(table["rules"], f"{where}: rules"),
    )


def _globs(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError("wrong value", where=where, expected="a list of patterns", found=_show(value))
    return tuple(value)


def _rules(value: object, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise UsageError("wrong value", where=where, expected="a table of rules", found=_show(value))
    _only_keys(value, tuple(known_rules()), where, "rule ")
    for rule, level in value.items():
        if level not in _LEVELS:
            raise UsageError(
                "wrong severity", where=f"{where}: {rule}", expected=", ".join(_LEVELS), found=_show(level)
            )
    return tuple(value.items())


def known_rules() -> Mapping[str, object]:
    """Every rule, registered ones first loaded."""
    from pvboot.check.rules import load_rules

    load_rules()
    return RULES


def _only_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str, kind: str) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"unknown {kind or 'key '}{_show(key)}{hint}", where=where, expected="" if kind else ", ".join(known)
            )


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
