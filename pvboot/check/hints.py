"""What somebody probably meant: the nearest of the words that there are.

Comparing costs much more than reading, so that only the first unknown words of a menu get a hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

WORDS_HINTED: Final = 50
WORD_CHARACTERS: Final = 40
LIKENESS: Final = 0.75


class Hints:
    """Hints for the unknown words of one menu; `known` are the words that there are."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known
        self._found: dict[str, str] = {}

    def near(self, word: str) -> str:
        """The known word that is most alike, "" if none is or too many were asked for."""
        if word not in self._found:
            if len(self._found) >= WORDS_HINTED or len(word) > WORD_CHARACTERS:
                return ""
            self._found[word] = next(iter(get_close_matches(word, self._known, 1, LIKENESS)), "")
        return self._found[word]
