"""A person's terminal as the guest's console: keys to the guest, unchanged, and a way out."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final

LEAVE_KEY: Final = b"\x1d"  # Ctrl-], as in xl console
READ_BYTES: Final = 1024


@contextlib.contextmanager
def guest_keyboard(feed: Callable[[bytes], object], leave: Callable[[], object]) -> Iterator[bool]:
    """While it lasts, standard input goes to `feed`; on a terminal in raw mode, where Ctrl-] calls `leave`.

    Gives True if standard input is a terminal.  Its mode is restored in every case.
    """
    try:
        fd = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # no standard input at all
        yield False
        return
    is_terminal = os.isatty(fd)
    done_read, done_write = os.pipe()
    reader = threading.Thread(target=_copy_keys, args=(fd, done_read, feed, leave, is_terminal), daemon=True)
    restore = _raw_mode(fd) if is_terminal else None
    reader.start()
    try:
        yield is_terminal
    finally:
        os.close(done_write)
        reader.join()
        os.close(done_read)
        if restore is not None:
            restore()


def _copy_keys(
    fd: int, done: int, feed: Callable[[bytes], object], leave: Callable[[], object], is_terminal: bool
) -> None:
    while True:
        ready, _, _ = select.select([fd, done], [], [])
        if done in ready:
            return
        try:
            keys = os.read(fd, READ_BYTES)
        except OSError:
            return
        if not keys:
            return
        before, escape, _ = keys.partition(LEAVE_KEY) if is_terminal else (keys, b"", b"")
        if before:
            feed(before)
        if escape:
            leave()
            return


def _raw_mode(fd: int) -> Callable[[], None]:
    """Keys one by one and unechoed; output processing stays on.  Returns how to undo it."""
    import termios

    before = termios.tcgetattr(fd)
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(termios.ICRNL | termios.IXON | termios.ISTRIP | termios.INLCR)
    mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)
    return lambda: termios.tcsetattr(fd, termios.TCSADRAIN, before)
