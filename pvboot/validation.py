"""Strict models of what people write (TOML files, JSON bodies), and every mistake in it with its place.

A pydantic model is the only description of a file or a body: values, errors and JSON Schema all come from it.  pydantic
is slow to import, so the road of a boot must not import this module.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from pvboot.errors import UsageError

T = TypeVar("T")
# Arrays of TOML and JSON come as lists, which strict tuples would refuse.
Items = Annotated[tuple[T, ...], Strict(False)]

FILE_LIMIT_BYTES = 4 << 20
MISTAKES_LIMIT = 100  # of one file or body
_SHOWN = 80  # characters of a wrong value

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}
_WANTED = {  # by pydantic's type of error
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "dataclass_type": "a table",
}
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_LAST_PART = re.compile(r"(\[\d+\]|\.[^.\[]*|^[^.\[]*|.)\Z", re.DOTALL)
_KEY = re.compile(r"""\s*([A-Za-z0-9_.-]+|"[^"]*"|'[^']*')\s*=""")


class Model(BaseModel):
    """Base of the models: exact types, no unknown keys, values that never change."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong at a key; `at` is its path, as `content[1].path`, from wherever the mistake is reported."""

    what: str
    at: str = ""
    expected: str = ""
    found: str = ""


def refusal(*mistakes: Mistake) -> PydanticCustomError:
    """The error by which a validator reports mistakes; paths count from the value that it validates."""
    return PydanticCustomError("mistakes", "{mistakes}", {"mistakes": mistakes})


def refuse(what: str, *, expected: str = "", found: str = "") -> PydanticCustomError:
    """The error of a validator for one mistake, at the value itself."""
    return refusal(Mistake(what, "", expected, found))


def text_of(value: object) -> str:
    """The value if it is text, for a validator that makes something else of it."""
    if not isinstance(value, str):
        raise refuse("wrong kind of value", expected="text", found=_kind(value))
    return value


def show(value: object) -> str:
    """A wrong value, for a message."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def meant(name: str, known: Iterable[str]) -> str:
    """The expectation for an unknown name: the known one that was probably meant, else up to 20 known ones."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"{close[0]}?" if close else ", ".join(known[:20])


# --- pydantic's errors in the house's words ---------------------------------------------------------------


def mistakes_of(err: ValidationError, adapter: TypeAdapter[Any]) -> list[Mistake]:
    """All mistakes behind a validation error of this adapter, at most `MISTAKES_LIMIT`."""
    found: list[Mistake] = []
    for detail in err.errors(include_url=False)[:MISTAKES_LIMIT]:
        if detail["type"] == "mistakes":
            own = detail["ctx"]["mistakes"]
        elif detail["type"] == "extra_forbidden":
            own = [_unknown_key(adapter.json_schema(), detail["loc"])]
        else:
            own = [_mistake(detail)]
        path = _path(detail["loc"])
        found += [replace(one, at=join(path, one.at)) for one in own]
    return found[:MISTAKES_LIMIT]


def _mistake(detail: ErrorDetails) -> Mistake:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _WANTED:
        return Mistake("wrong kind of value", "", _WANTED[kind], _kind(value))
    if kind == "missing":
        return Mistake("missing")
    if kind in ("string_too_long", "too_long"):
        unit = "characters" if kind == "string_too_long" else "items"
        return Mistake("too long", "", f"at most {context['max_length']} {unit}", str(len(value)))
    if kind in ("string_too_short", "too_short"):
        return Mistake("too short" if value else "empty", "", f"at least {context['min_length']}", str(len(value)))
    if kind in ("greater_than_equal", "less_than_equal"):
        expected = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return Mistake("out of range", "", expected, show(value))
    if kind == "literal_error":
        return Mistake("unknown value", "", context["expected"].replace("'", ""), show(value))
    return Mistake(detail["msg"], "", "", show(value))


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _unknown_key(schema: Mapping[str, Any], place: Sequence[str | int]) -> Mistake:
    """The message about a key that a table does not have, with the one that was meant."""
    table: Mapping[str, Any] = _resolve(schema, schema)
    for part in place[:-1]:
        below = table.get("properties", {}).get(part) or table.get("items") or table.get("additionalProperties") or {}
        table = _resolve(schema, below)
    return Mistake("unknown key", "", meant(str(place[-1]), table.get("properties", {})))


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object or array that a schema describes, behind references and alternatives."""
    if "$ref" in node:
        return _resolve(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    inner = [_resolve(schema, one) for one in node.get("anyOf", ())]
    return next((one for one in inner if one.get("type") in ("object", "array")), node)


def _path(place: Sequence[str | int]) -> str:
    path = ""
    for part in place:
        if part != "[key]":  # pydantic's mark: it is the key of the table that is wrong
            path = join(path, f"[{part}]" if isinstance(part, int) else part)
    return path


def join(path: str, rest: str) -> str:
    """A path and the path below it."""
    return f"{path}.{rest}" if path and rest and not rest.startswith("[") else path + rest


# --- TOML files -------------------------------------------------------------------------------------------


class ConfigError(UsageError):
    """A mistake in a configuration file; `where` is FILE:LINE and the key, `further` the other mistakes of the file."""

    code = "bad-config"
    further: Sequence[ConfigError] = ()


class TomlFile:
    """A configuration file: its values, and the lines on which they stand."""

    def __init__(self, name: str, data: bytes) -> None:
        """Raises `ConfigError` if the bytes are not TOML; `name` is for messages."""
        self.name = name
        if len(data) > FILE_LIMIT_BYTES:
            raise ConfigError("the file is too large", where=name, expected=f"at most {FILE_LIMIT_BYTES} bytes")
        try:
            self.text = data.decode("utf-8")
            self.document = tomllib.loads(self.text)
        except UnicodeDecodeError as err:
            raise ConfigError("not UTF-8", where=f"{name}: byte {err.start}") from err
        except tomllib.TOMLDecodeError as err:
            what, _, place = str(err).rpartition(" (at ")
            line = re.match(r"line (\d+)", place)
            raise ConfigError(f"not TOML: {what or err}", where=f"{name}:{line[1]}" if line else name) from err
        except RecursionError as err:
            raise ConfigError("not TOML: nested too deeply", where=name) from err

    @property
    def folder(self) -> str:
        """The directory from which relative paths in the file count."""
        return os.path.dirname(os.path.abspath(self.name))

    def read(self, kind: type[T]) -> T:
        """The file as a value of a model (or a dataclass), whose validators find this object in their context.

        Raises the `ConfigError` of the first mistake by line.
        """
        adapter = TypeAdapter(kind)
        try:
            return adapter.validate_python(self.document, context=self)
        except ValidationError as err:
            mistakes = sorted(mistakes_of(err, adapter), key=lambda one: self.line_of(one.at) or 0)
            first, *further = [self.error(one.what, one.at, one.expected, one.found) for one in mistakes]
            first.further = further
            raise first from err

    def error(self, what: str, at: str, expected: str = "", found: str = "") -> ConfigError:
        """The error for a key."""
        line = self.line_of(at)
        where = f"{self.name}:{line}" if line else self.name
        return ConfigError(what, where=f"{where}: {at}" if at else where, expected=expected, found=found)

    def line_of(self, path: str) -> int | None:
        """The line of a key such as `content[1].path`, or of the nearest thing around it."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = _LAST_PART.sub("", path)
        return None

    @cached_property
    def _lines(self) -> dict[str, int]:
        lines: dict[str, int] = {}
        for line, path in self._places():
            lines.setdefault(path, line)
        return lines

    def _places(self) -> Iterator[tuple[int, str]]:
        """Every line that begins a table or a key, and its full name."""
        counts: dict[str, int] = {}
        table = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := _HEADER.fullmatch(line):
                table = re.sub(r"""\s*\.\s*|["']""", lambda found: "." if "." in found[0] else "", header[2])
                for array, last in counts.items():  # [profiles.x] below the newest [[profiles]]
                    if table.startswith(f"{array}."):
                        table = f"{array}[{last}]{table[len(array) :]}"
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = f"{table}[{counts[table]}]"
                yield number, table
            elif key := _KEY.match(line):
                yield number, join(table, key[1].strip("\"'"))
