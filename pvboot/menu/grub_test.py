"""`test` and `[` of GRUB 2: an expression over words, read once from left to right.

There is no precedence but that of `-o` and parentheses, and nothing is ever an error (commands/test.c).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fsdrivers.light import Protocol
from pvboot.menu.grub2_rules import read_unsigned

PARENTHESES_LIMIT = 50

_DIGITS = "0123456789"


class Files(Protocol):
    """What file tests ask about a `[(DEVICE)]/path`."""

    def kind(self, name: str) -> str | None:
        """ "file", "dir" ..., None if there is no such thing."""

    def size(self, name: str) -> int:
        """Size in bytes of a file that can be opened, else 0."""

    def mtime(self, name: str) -> int | None:
        """Time of the last change, None if there is no such thing."""


_STRINGS: dict[str, Callable[[bytes, bytes], bool]] = {
    "=": lambda left, right: left == right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda left, right: left == right,
    "-ne": lambda left, right: left != right,
    "-lt": lambda left, right: left < right,
    "-le": lambda left, right: left <= right,
    "-gt": lambda left, right: left > right,
    "-ge": lambda left, right: left >= right,
}
_TIMES = re.compile(r"-(nt|ot)(.*)", re.DOTALL)


def evaluate(words: Sequence[str], files: Files) -> bool:
    """Whether the expression holds; a last word `]` does not count, an empty expression holds."""
    if words and words[-1] == "]":
        words = words[:-1]
    return _Reader(words, files).read(0)


class _Reader:
    def __init__(self, words: Sequence[str], files: Files) -> None:
        self._words = words
        self._files = files
        self._at = 0

    def read(self, depth: int) -> bool:
        """Up to the closing parenthesis or the end."""
        either = False
        all_so_far = True
        inverted = False
        while self._at < len(self._words):
            word = self._words[self._at]
            value = self._comparison() if self._at + 2 < len(self._words) else None
            if value is None and self._at + 1 < len(self._words):
                value = self._unary()
            if value is None:
                self._at += 1
                if word == ")":
                    break
                if word == "(":
                    value = self.read(depth + 1) if depth < PARENTHESES_LIMIT else False
                elif word == "!":
                    inverted = not inverted
                    continue
                elif word == "-a":
                    continue
                elif word == "-o":
                    either, all_so_far = either or all_so_far, True
                    continue
                else:
                    value = word != ""
            all_so_far = all_so_far and value is not inverted
            inverted = False
        return either or all_so_far

    def _comparison(self) -> bool | None:
        """A test of three words, None if this is none."""
        left, operator, right = self._words[self._at : self._at + 3]
        value: bool
        if operator in _STRINGS:
            value = _STRINGS[operator](_encode(left), _encode(right))
        elif operator in _NUMBERS:
            value = _NUMBERS[operator](_signed(left), _signed(right))
        elif operator in ("-pgt", "-plt"):
            skip = _common_prefix(left, right)
            first, second = read_unsigned(left[skip:])[0], read_unsigned(right[skip:])[0]
            value = first > second if operator == "-pgt" else first < second
        elif match := _TIMES.fullmatch(operator):
            value = self._compare_times(left, right, match[1] == "nt", _signed(match[2]))
        else:
            return None
        self._at += 3
        return value

    def _compare_times(self, left: str, right: str, newer: bool, bias: int) -> bool:
        first, second = self._files.mtime(left), self._files.mtime(right)
        if first is None or second is None:
            return first is not second and (first is None) is not newer
        return first + bias > second if newer else first + bias < second

    def _unary(self) -> bool | None:
        """A test of two words, None if this is none."""
        operator, operand = self._words[self._at : self._at + 2]
        value: bool
        if operator == "-d":
            value = self._files.kind(operand) == "dir"
        elif operator == "-e":
            value = self._files.kind(operand) is not None
        elif operator == "-f":
            value = self._files.kind(operand) not in (None, "dir")
        elif operator == "-s":
            value = self._files.size(operand) > 0
        elif operator == "-n":
            value = operand != ""
        elif operator == "-z":
            value = operand == ""
        else:
            return None
        self._at += 2
        return value


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _signed(text: str) -> int:
    return -read_unsigned(text[1:])[0] if text.startswith("-") else read_unsigned(text)[0]


def _common_prefix(left: str, right: str) -> int:
    """Length of the common beginning, less the digits it ends in (the first character is never given back)."""
    at = 0
    while at < min(len(left), len(right)) and left[at] == right[at]:
        at += 1
    at -= 1
    while at > 0 and left[at] in _DIGITS:
        at -= 1
    return at + 1
