"""Results and options as JSON and back: between processes, between machines, and in the journal of a fleet.

What comes back may be from a reader that a guest has taken over, or from a file that was cut: every field is checked.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from pvboot.check.model import SEVERITIES, CheckOptions, Finding, Override, SourceError, SourceResult, Target

FINDINGS_LIMIT: Final = 100_000
TEXT_LIMIT: Final = 20_000  # characters of one text
EXIT_CODES: Final = range(5)


def encode_options(options: CheckOptions) -> str:
    """Options as JSON."""
    return json.dumps(asdict(options))


def decode_options(text: str) -> CheckOptions:
    """The options that `encode_options` wrote, by our own program."""
    data: dict[str, Any] = {name: _tuples(value) for name, value in json.loads(text).items()}
    target, overrides = data.pop("target"), data.pop("overrides")
    return CheckOptions(**data, target=Target(**target), overrides=tuple(Override(**item) for item in overrides))


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def encode(result: SourceResult) -> str:
    """One line of JSON, ASCII only; bytes that are not UTF-8 survive as surrogates."""
    error = result.error
    return json.dumps(
        {
            "source": result.source,
            "findings": [
                [f.rule, f.severity, f.message, f.file, f.line, f.column, f.end_column, f.entry]
                for f in result.findings
            ],
            "error": None if error is None else [error.message, error.code, error.exit_code],
            "menus": list(result.menus),
            "titles": {menu: list(titles) for menu, titles in result.titles.items()},
            "excerpts": [[file, line, text] for (file, line), text in result.excerpts.items()],
        },
        separators=(",", ":"),
    )


def decode(line: str | bytes) -> SourceResult:
    """The result in a line that `encode` made.  Raises `ValueError` for any other."""
    try:
        return _result(json.loads(line))
    except (KeyError, TypeError, AttributeError, RecursionError) as err:
        raise ValueError(f"not a result of a check: {type(err).__name__}") from err


def _result(data: dict[str, Any]) -> SourceResult:
    findings = data["findings"]
    _demand(isinstance(findings, list) and len(findings) <= FINDINGS_LIMIT, "findings")
    error = data["error"]
    return SourceResult(
        _text(data["source"]),
        tuple(_finding(*fields) for fields in findings),
        None if error is None else _error(*error),
        tuple(map(_text, data["menus"])),
        {_text(menu): tuple(map(_text, titles)) for menu, titles in data["titles"].items()},
        {(_text(file), _number(line)): _text(text) for file, line, text in data["excerpts"]},
    )


def _finding(
    rule: Any, severity: Any, message: Any, file: Any, line: Any, column: Any, end: Any, entry: Any
) -> Finding:
    _demand(severity in SEVERITIES, "severity")
    return Finding(
        _text(rule),
        severity,
        _text(message),
        _text(file),
        _number(line),
        _number(column),
        _number(end),
        None if entry is None else _number(entry),
    )


def _error(message: Any, code: Any, exit_code: Any) -> SourceError:
    _demand(_number(exit_code) in EXIT_CODES, "exit code")
    return SourceError(_text(message), _text(code), exit_code)


def _text(value: Any) -> str:
    _demand(isinstance(value, str), "text")
    text: str = value
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 3] + "..."


def _number(value: Any) -> int:
    _demand(type(value) is int and 0 <= value < 1 << 40, "number")
    number: int = value
    return number


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"not a result of a check: bad {what}")
