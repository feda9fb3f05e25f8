"""The file of a project's settings, `pvboot-check.toml`: `docs/reference/check-config.md` describes it."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from pvboot.check.api import RULES
from pvboot.check.model import SEVERITIES, Override
from pvboot.check.rules import load_rules
from pvboot.check.settings import Settings
from pvboot.errors import UsageError
from pvboot.validation import FILE_LIMIT_BYTES, Items, Mistake, Model, TomlFile, meant, refusal, refuse

OFF: Final = "off"
_LEVELS: Final = (*SEVERITIES, OFF)


def _level(level: str) -> str:
    if level not in _LEVELS:
        raise refuse("wrong severity", expected=", ".join(_LEVELS), found=repr(level))
    return level


def _known(rules: dict[str, str]) -> dict[str, str]:
    load_rules()
    unknown = [Mistake("unknown rule", rule, meant(rule, RULES)) for rule in rules if rule not in RULES]
    if unknown:
        raise refusal(*unknown)
    return rules


Rules = Annotated[dict[str, Annotated[str, AfterValidator(_level)]], AfterValidator(_known)]


class OverrideTable(Model):
    """`[[override]]`"""

    sources: Items[str] = ()
    files: Items[str] = ()
    rules: Rules

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model_fields_set.isdisjoint(("sources", "files")):
            raise refuse("incomplete", expected="sources or files")
        return self


class SettingsFile(Model):
    """The whole file."""

    rules: Rules = Field(default_factory=dict)
    override: Items[OverrideTable] = ()
    ignore_comments: bool = Field(alias="ignore-comments", default=True)


def load_settings(path: str) -> Settings:
    """Read one file.  Raises `UsageError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as err:
        raise UsageError(f"cannot be read: {err.strerror}", where=path) from err
    return read_settings(data, path)


def read_settings(data: bytes, path: str) -> Settings:
    """Settings from TOML; `path` is named in errors.  Raises `ConfigError`."""
    read = TomlFile(path, data).read(SettingsFile)
    overrides = (Override(item.sources, item.files, tuple(item.rules.items())) for item in read.override)
    return Settings(tuple(read.rules.items()), tuple(overrides), read.ignore_comments)
