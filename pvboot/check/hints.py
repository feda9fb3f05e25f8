"""Hints for wrong words: the nearest of the words that there are.

Comparing costs much more than reading, so that only the first unknown words of a menu get a hint.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

WORDS_HINTED: Final = 50
WORD_CHARACTERS: Final = 40
LIKENESS: Final = 0.75


def nearest(word: str, known: Collection[str], likeness: float = 0.6) -> str:
    """Return the known word that is most like `word`, "" if none is."""
    return next(iter(get_close_matches(word, tuple(known), 1, likeness)), "")


class Hints:
    """Hints for the unknown words of one menu; `known` are the words that there are."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._found: dict[str, str] = {}

    def question(self, word: str) -> str:
        """Return `, did you mean ...?`, or "" if no word is alike or too many were asked for."""
        if word not in self._found:
            if len(self._found) >= WORDS_HINTED or len(word) > WORD_CHARACTERS:
                return ""
            self._found[word] = nearest(word, self._known, LIKENESS)
        near = self._found[word]
        return f", did you mean {near!r}?" if near else ""
