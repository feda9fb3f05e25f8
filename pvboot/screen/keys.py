"""Keys of a terminal.  Nothing is read here: bytes in, keys out.

A key is the character that was typed, or a name of several letters for what has no character.  Both codings of the
arrows are understood (ECMA-48 `ESC [ A` and the VT100's application mode `ESC O A`), with xterm's modifiers.
"""

from __future__ import annotations

import codecs

from fsdrivers.light import Final

UP, DOWN, LEFT, RIGHT = "up", "down", "left", "right"
PAGE_UP, PAGE_DOWN, HOME, END = "page up", "page down", "home", "end"
ENTER, ESCAPE, BACKSPACE, DELETE = "enter", "escape", "backspace", "delete"
UNKNOWN = "unknown"  # a sequence without meaning here; still a key that somebody pressed

LONE_ESCAPE_SECONDS: Final = 0.25  # a 1200 baud line sends a sequence's next byte within 10 ms, a slow network later
SEQUENCE_SECONDS: Final = 1.0  # `ESC [` is nearly always the start of a sequence, so patience costs nobody
SEQUENCE_LIMIT: Final = 16  # characters; what is longer is noise

_ESC = "\x1b"
_FINALS = {"A": UP, "B": DOWN, "C": RIGHT, "D": LEFT, "H": HOME, "F": END, "M": ENTER}
_NUMBERED = {"1": HOME, "7": HOME, "4": END, "8": END, "3": DELETE, "5": PAGE_UP, "6": PAGE_DOWN}


def ctrl(letter: str) -> str:
    """The character that a terminal sends for Ctrl and this capital letter."""
    return chr(ord(letter) & 0x1F)


class KeyDecoder:
    """A decoder that keeps incomplete input: half a character, the start of a sequence."""

    def __init__(self) -> None:
        self._characters = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._sequence = ""
        self._after_return = False

    def feed(self, data: bytes) -> list[str]:
        """The keys that `data` completes.  Any bytes are fine."""
        return self._keys(self._characters.decode(data))

    def patience(self) -> float | None:
        """Seconds after which `flush` should be called if nothing more comes; None if nothing is waiting."""
        if not self._sequence:
            return SEQUENCE_SECONDS if self._characters.getstate()[0] else None
        return LONE_ESCAPE_SECONDS if self._sequence == _ESC else SEQUENCE_SECONDS

    def flush(self) -> list[str]:
        """Take what waits for what it is: a lone ESC, or a sequence that will not be completed."""
        keys = self._keys(self._characters.decode(b"", final=True))
        if self._sequence:
            keys.append(ESCAPE if self._sequence == _ESC else UNKNOWN)
            self._sequence = ""
        return keys

    def _keys(self, text: str) -> list[str]:
        return [key for character in text for key in self._step(character)]

    def _step(self, character: str) -> list[str]:
        if not self._sequence:
            if character != _ESC:
                return self._typed(character)
            self._sequence = _ESC
            return []
        if self._sequence == _ESC:
            if character in "[O":
                self._sequence += character
                return []
            # ESC and then something else are two keys, however fast a script sends them.
            self._sequence = _ESC if character == _ESC else ""
            return [ESCAPE] if character == _ESC else [ESCAPE, *self._typed(character)]
        return self._in_sequence(character)

    def _in_sequence(self, character: str) -> list[str]:
        """The next character of `ESC [` or `ESC O`: parameters, then one final character."""
        parameters = self._sequence[2:]
        linux_function_key = character == "[" and not parameters  # ESC [ [ A is F1, not Up
        if " " <= character <= "?" or linux_function_key:
            self._sequence += character
            if len(self._sequence) < SEQUENCE_LIMIT:
                return []
            self._sequence = ""
            return [UNKNOWN]
        self._sequence = ""
        if not "@" <= character <= "~":  # broken off by a control character or by text
            return [UNKNOWN, *self._step(character)]
        if parameters.startswith("["):
            return [UNKNOWN]
        if character == "~":
            return [_NUMBERED.get(parameters.partition(";")[0], UNKNOWN)]
        return [_FINALS.get(character, UNKNOWN)]

    def _typed(self, character: str) -> list[str]:
        after_return, self._after_return = self._after_return, character == "\r"
        if character == "\r":
            return [ENTER]
        if character == "\n":  # terminals send CR, scripts LF, some clients both for one key
            return [] if after_return else [ENTER]
        return [BACKSPACE] if character in "\b\x7f" else [character]
