"""`test` and `[` of GRUB 2: an expression over words, read once from left to right.

There is no precedence but that of `-o` and parentheses, and nothing is ever an error (commands/test.c).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence

from fsdrivers.light import TYPE_CHECKING
from pvboot.menu.grub2_rules import read_unsigned

if TYPE_CHECKING:
    from fsdrivers.api import Stat

PARENTHESES_LIMIT = 50

_DIGITS = "0123456789"


_STRINGS: dict[str, Callable[[bytes, bytes], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-lt": operator.lt,
    "-le": operator.le,
    "-gt": operator.gt,
    "-ge": operator.ge,
}
_TIMES = r"(?s:-(nt|ot)(.*))"


def evaluate(words: Sequence[str], stat: Callable[[str], Stat | None]) -> bool:
    """Whether the expression holds; a last word `]` does not count, an empty expression holds.

    `stat` tells what stands under a name.
    """
    if words and words[-1] == "]":
        words = words[:-1]
    return _Reader(words, stat).read(0)


class _Reader:
    def __init__(self, words: Sequence[str], stat: Callable[[str], Stat | None]) -> None:
        self._words = words
        self._stat = stat
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
        """A test of three words, None if these are not one."""
        left, test, right = self._words[self._at : self._at + 3]
        value: bool
        if test in _STRINGS:
            value = _STRINGS[test](_encode(left), _encode(right))
        elif test in _NUMBERS:
            value = _NUMBERS[test](_signed(left), _signed(right))
        elif test in ("-pgt", "-plt"):
            skip = _common_prefix(left, right)
            first, second = read_unsigned(left[skip:])[0], read_unsigned(right[skip:])[0]
            value = first > second if test == "-pgt" else first < second
        elif match := re.fullmatch(_TIMES, test):
            value = self._compare_times(left, right, match[1] == "nt", _signed(match[2]))
        else:
            return None
        self._at += 3
        return value

    def _compare_times(self, left: str, right: str, newer: bool, bias: int) -> bool:
        first, second = ((stat.mtime if stat else None) for stat in (self._stat(left), self._stat(right)))
        if first is None or second is None:
            return first is not second and (first is None) is not newer
        return first + bias > second if newer else first + bias < second

    def _unary(self) -> bool | None:
        """A test of two words, None if these are not one."""
        test, operand = self._words[self._at : self._at + 2]
        if test in ("-n", "-z"):
            value = (operand == "") is (test == "-z")
        elif test in ("-d", "-e", "-f", "-s"):
            stat = self._stat(operand)
            kind = stat.kind if stat else None
            size = stat.size if stat and kind == "file" else 0
            value = {"-d": kind == "dir", "-e": stat is not None, "-f": kind not in (None, "dir"), "-s": size > 0}[test]
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
