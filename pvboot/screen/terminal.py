"""A terminal in raw mode: keys in with a time limit, pictures and text out without ever hanging on a slow reader."""

from __future__ import annotations

import os
import select
import termios
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from fsdrivers.light import Any, Final, TextIO
from pvboot.safe_text import safe_lines
from pvboot.screen.keys import KeyDecoder, ctrl
from pvboot.screen.picture import Picture
from pvboot.screen.vt100 import CLEAR, render

DEFAULT_SIZE: Final = (24, 80)
LARGEST_SIZE: Final = (50, 160)
READ_BYTES: Final = 256
# Linux takes this much from a writer whenever it calls a pseudo-terminal writable (a flip buffer's smallest size).
WRITE_BYTES: Final = 256
FAREWELL_SECONDS: Final = 2.0

_INTERRUPT = ctrl("C")


class EndOfInputError(Exception):
    """Nobody is there any more: end of input, or the line was hung up."""


def window_size(fd: int) -> tuple[int, int]:
    """Rows and columns; what the terminal does not know (a serial line, libxl's console) is 24x80."""
    try:
        rows, columns = termios.tcgetwinsize(fd)
    except termios.error:
        rows, columns = 0, 0
    return (min(rows or DEFAULT_SIZE[0], LARGEST_SIZE[0]), min(columns or DEFAULT_SIZE[1], LARGEST_SIZE[1]))


class Terminal:
    """Use as a context manager; the terminal's mode is restored in every case.

    Pictures are sent while keys are waited for, as fast as the reader takes them, and only the newest one counts:
    a countdown goes on when nobody reads.  Ctrl-C raises `KeyboardInterrupt`.
    """

    def __init__(self, stdin: TextIO, stdout: TextIO) -> None:
        stdout.flush()
        self._in, self._out = stdin.fileno(), stdout.fileno()
        self._encoding = stdout.encoding or "ascii"
        self._decoder = KeyDecoder()
        self._keys: deque[str] = deque()
        self._sending = b""
        self._shown: Picture | None = None  # as soon as `_sending` is out
        self._wanted: Picture | None = None

    def __enter__(self) -> Terminal:
        try:
            self._before = termios.tcgetattr(self._in)
            self._set_mode(_raw(self._before, signals=False))
        except termios.error as err:
            raise EndOfInputError from err
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wanted = None
        try:
            self._send_all(CLEAR.encode(), time.monotonic() + FAREWELL_SECONDS)
        except EndOfInputError:
            pass  # nobody is left to see it
        finally:
            with suppress(termios.error):  # as above
                self._set_mode(self._before)

    def _set_mode(self, mode: list[Any]) -> None:
        # Never TCSADRAIN: it waits for a reader.
        termios.tcsetattr(self._in, termios.TCSANOW, mode)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While it lasts, Ctrl-C interrupts the program, not only the wait for a key."""
        with suppress(termios.error):  # what comes next will find the line hung up
            self._set_mode(_raw(self._before, signals=True))
        try:
            yield
        finally:
            with suppress(termios.error):
                self._set_mode(_raw(self._before, signals=False))

    def size(self) -> tuple[int, int]:
        """Rows and columns, as they are now."""
        return window_size(self._out)

    def show(self, picture: Picture) -> None:
        """Replace what the terminal shows."""
        self._wanted = picture

    def forget(self) -> None:
        """The next picture is to be sent whole: something else wrote to the terminal."""
        self._shown = None

    def write(self, text: str) -> None:
        """Scrolling text, line ends translated.  Waits for the reader, as every program does that a person asked."""
        self._wanted = None
        self.forget()
        self._send_all(text.replace("\n", "\r\n").encode(self._encoding, "replace"), None)

    def write_safely(self, text: str) -> None:
        """As `write`, for text that may come from the guest."""
        self.write(safe_lines(text))

    def key(self, deadline: float | None = None) -> str | None:
        """The next key; None if none comes before `deadline` (of `time.monotonic`).

        Raises `EndOfInputError`, `KeyboardInterrupt`.
        """
        last_byte = time.monotonic()
        while not self._keys:
            self._compose()
            patience = self._decoder.patience()
            limit = deadline if patience is None else last_byte + patience
            left = None if limit is None else max(0.0, limit - time.monotonic())
            readable, writable, _ = select.select([self._in], [self._out] if self._sending else [], [], left)
            if readable:
                self._keys.extend(self._decoder.feed(self._read()))
                last_byte = time.monotonic()
            elif writable:
                self._send_some()
            elif patience is not None:
                self._keys.extend(self._decoder.flush())
            else:
                return None
        key = self._keys.popleft()
        if key == _INTERRUPT:
            raise KeyboardInterrupt
        return key

    def _compose(self) -> None:
        """Begin to send the wanted picture when the one before is out."""
        if not self._sending and self._wanted is not None and self._wanted != self._shown:
            self._sending = render(self._shown, self._wanted).encode(self._encoding, "replace")
            self._shown = self._wanted

    def _read(self) -> bytes:
        try:
            data = os.read(self._in, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            raise EndOfInputError
        return data

    def _send_some(self) -> None:
        try:
            sent = os.write(self._out, self._sending[:WRITE_BYTES])
        except OSError as err:
            raise EndOfInputError from err
        self._sending = self._sending[sent:]

    def _send_all(self, data: bytes, deadline: float | None) -> None:
        """Send what is under way and `data`, up to the deadline."""
        self._sending += data
        while self._sending:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([], [self._out], [], left)[1]:
                self._sending = b""
                return
            self._send_some()


def _raw(mode: list[Any], *, signals: bool) -> list[Any]:
    """The mode in which every byte arrives as it was sent; with `signals`, Ctrl-C is one."""
    raw = [*mode[:6], list(mode[6])]
    raw[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.ISTRIP | termios.PARMRK)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    if signals:
        raw[3] |= termios.ISIG
        raw[6][termios.VQUIT] = raw[6][termios.VSUSP] = b"\0"  # disabled: a boot loader cannot be suspended
    return raw
