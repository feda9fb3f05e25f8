"""Strict reading of descriptions (TOML tables, JSON bodies): every key known, every value of its type, all bounded."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pvboot.serve.state.errors import DescriptionError

T = TypeVar("T")

TEXT_LIMIT = 4096  # characters
LIST_LIMIT = 64


def table(value: Any, where: str, keys: Sequence[str]) -> Mapping[str, Any]:
    """A table with no other keys than `keys`."""
    if not isinstance(value, Mapping):
        raise DescriptionError("is no table", where=where, found=type(value).__name__)
    unknown = sorted(str(key) for key in value if key not in keys)
    if unknown:
        raise DescriptionError("unknown key", where=where, expected=", ".join(keys), found=ascii(unknown[0][:80]))
    return value


def text(value: Any, where: str, *, limit: int = TEXT_LIMIT, empty: bool = False) -> str:
    """One line of text without control characters (they end lines in menus and move cursors on terminals)."""
    if not isinstance(value, str):
        raise DescriptionError("is no text", where=where, found=type(value).__name__)
    if len(value) > limit:
        raise DescriptionError("is too long", where=where, expected=f"{limit} characters", found=str(len(value)))
    bad = next((char for char in value if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        raise DescriptionError("holds a control character", where=where, found=f"U+{ord(bad):04X}")
    if not value.strip() and not empty:
        raise DescriptionError("is empty", where=where)
    if value != value.strip():
        raise DescriptionError("begins or ends with a blank", where=where, found=ascii(value[:80]))
    return value


def name(value: Any, where: str, *, limit: int = 64) -> str:
    """A name that can be one component of a path."""
    checked = text(value, where, limit=limit)
    if "/" in checked or checked in (".", ".."):
        raise DescriptionError("is no name", where=where, expected="no slash", found=ascii(checked))
    return checked


def whole(value: Any, where: str, low: int, high: int) -> int:
    """A whole number in a range; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise DescriptionError("is no whole number", where=where, found=ascii(value)[:80])
    if not low <= value <= high:
        raise DescriptionError("is out of range", where=where, expected=f"{low} to {high}", found=str(value)[:80])
    return value


def yes_or_no(value: Any, where: str) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise DescriptionError("is neither true nor false", where=where, found=ascii(value)[:80])
    return value


def several(value: Any, where: str, item: Callable[[Any, str], T], *, limit: int = LIST_LIMIT) -> tuple[T, ...]:
    """A list of at most `limit` items, each read by `item`."""
    if not isinstance(value, list | tuple):
        raise DescriptionError("is no list", where=where, found=type(value).__name__)
    if len(value) > limit:
        raise DescriptionError("has too many items", where=where, expected=f"at most {limit}", found=str(len(value)))
    return tuple(item(one, f"{where}[{index}]") for index, one in enumerate(value))
