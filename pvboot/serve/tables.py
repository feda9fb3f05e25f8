"""Strict reading of TOML tables: every key known, every value of its type, every mistake with its line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

from pvboot.errors import UsageError

_T = TypeVar("_T")
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*([A-Za-z0-9_.-]+|"[^"]*"|'[^']*')\s*=""")
_CONFIG_LIMIT_BYTES = 4 << 20


class ConfigError(UsageError):
    """A mistake in the configuration; `where` is FILE:LINE and the key."""

    code = "bad-config"


class Source:
    """The text of a configuration file, to say where a mistake stands."""

    def __init__(self, name: str, data: bytes) -> None:
        """Raises `ConfigError` for what is no TOML."""
        self.name = name
        if len(data) > _CONFIG_LIMIT_BYTES:
            raise ConfigError("the configuration is too large", where=name, expected=f"{_CONFIG_LIMIT_BYTES} bytes")
        try:
            self.text = data.decode("utf-8")
            self.document = tomllib.loads(self.text)
        except UnicodeDecodeError as err:
            raise ConfigError("not UTF-8", where=f"{name}: byte {err.start}") from err
        except tomllib.TOMLDecodeError as err:
            what, _, place = str(err).rpartition(" (at ")
            line = re.match(r"line (\d+)", place)
            where = f"{name}:{line[1]}" if line else name
            raise ConfigError(f"not TOML: {what or err}", where=where) from err
        except RecursionError as err:
            raise ConfigError("nested too deeply", where=name) from err

    def line_of(self, path: str) -> int | None:
        """The line of a key such as `content[1].path`, or of the nearest thing around it."""
        while path:
            for line, known in self._places():
                if known == path:
                    return line
            path = re.sub(r"(\[\d+\]|\.[^.\[]*|^[^.\[]*)$", "", path)
        return None

    def _places(self) -> Iterable[tuple[int, str]]:
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
                name = key[1].strip("\"'")
                yield number, f"{table}.{name}" if table else name

    def fail(self, what: str, path: str, *, expected: str = "", found: str = "") -> NoReturn:
        """Raise the `ConfigError` for a key."""
        line = self.line_of(path)
        where = f"{self.name}:{line}" if line else self.name
        raise ConfigError(what, where=f"{where}: {path}" if path else where, expected=expected, found=found)


class Table:
    """One table: each key is taken once, `done` refuses those that nobody knew."""

    def __init__(self, source: Source, path: str, values: object) -> None:
        self.source = source
        self.path = path
        if not isinstance(values, Mapping):
            source.fail("not a table", path, found=_kind(values))
        self._values = dict(values)
        self._known: list[str] = []

    def key(self, name: str) -> str:
        """The full name of a key."""
        return f"{self.path}.{name}" if self.path else name

    def fail(self, what: str, name: str, *, expected: str = "", found: str = "") -> NoReturn:
        """Raise the `ConfigError` for a key of this table."""
        self.source.fail(what, self.key(name), expected=expected, found=found)

    def take(self, name: str, kind: type[_T], default: _T) -> _T:
        """The value of a key, `default` without one."""
        self._known.append(name)
        if name not in self._values:
            return default
        value = self._values.pop(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail("wrong kind of value", name, expected=_NAMES.get(kind, ""), found=_kind(value))
        return value

    def take_list(self, name: str, kind: type[_T], default: Sequence[_T] = ()) -> list[_T]:
        """A list of values of one kind; `default` without one."""
        values = self.take(name, list, list(default))
        for index, value in enumerate(values):
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                self.fail("wrong kind of value", f"{name}[{index}]", expected=_NAMES.get(kind, ""), found=_kind(value))
        return values

    def table(self, name: str) -> Table:
        """A table below this one, empty without one."""
        return Table(self.source, self.key(name), self.take(name, dict, {}))

    def tables(self, name: str) -> list[Table]:
        """`[[name]]`."""
        values = self.take_list(name, dict)
        return [Table(self.source, f"{self.key(name)}[{index}]", value) for index, value in enumerate(values)]

    def numbers(self, name: str, kind: type[_T]) -> _T:
        """A table that sets fields of a dataclass of positive numbers with defaults."""
        below = self.table(name)
        values: dict[str, Any] = {}
        for field in fields(kind):  # type: ignore[arg-type]
            if "tuple" in str(field.type):
                pair = below.take_list(field.name, int)
                values[field.name] = tuple(pair) if pair else field.default
                if pair and len(pair) != 2:
                    below.fail("not two numbers", field.name, found=str(len(pair)))
                continue
            plain = float if field.default is None else type(field.default)
            value: Any = below.take(field.name, plain, field.default)
            if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value < 1 << 53:
                below.fail("out of range", field.name, expected="0 or more", found=str(value))
            values[field.name] = value
        below.done()
        try:
            return kind(**values)
        except UsageError as err:
            self.source.fail(str(err), below.path)

    def done(self) -> None:
        """Raises `ConfigError` for a key that was not taken, with the one that was meant."""
        for name in self._values:
            close = difflib.get_close_matches(name, self._known, n=1)
            expected = close[0] if close else ", ".join(sorted(self._known))
            self.fail("unknown key", name, expected=f"{expected}?" if close else expected)


def _kind(value: object) -> str:
    names = [name for kind, name in _NAMES.items() if type(value) is kind]
    return names[0] if names else type(value).__name__
