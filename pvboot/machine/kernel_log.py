"""Finding a Linux kernel's log in the memory of a guest that died before it could print it.

Two layouts are known.  Since 5.10 (printk_ringbuffer.c) a text block is its descriptor's number in a word, then the
text; numbers of successive messages differ by one, so the log is a chain of words n, n+1 ... with text between.
Before (printk.c, struct printk_log) a record has a header with its length in front of the text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

BANNER = b"Linux version "
BLOCK_BYTES_MAX = 2048
MESSAGES_MAX = 20_000
CHUNK_FRAMES = 16384
OVERLAP_FRAMES = 512  # 2 MiB: a log goes on behind the end of a chunk
SECONDS_MAX = 5.0
NUMBER_BITS = (62, 32, 30)  # width of the message counter in kernels met so far
FIRST_NUMBER_BITS = 20
PRINTABLE = re.compile(rb"[\x20-\x7e\t\x80-\xff]*")


def kernel_log(frames: npt.NDArray[np.uint64], mfns: npt.NDArray[np.int64], keep: int = 60) -> tuple[str, ...]:
    """The last lines of the log found in these frames (in the guest's own order); empty if there is none."""
    best: list[str] = []
    for data in _chunks(frames, mfns):
        for match in re.finditer(re.escape(BANNER), data):
            lines = list(_ring_messages(data, match.start())) or list(_record_messages(data, match.start()))
            if len(lines) > len(best):
                best = lines
    return tuple(best[-keep:])


def _chunks(frames: npt.NDArray[np.uint64], mfns: npt.NDArray[np.int64]) -> Iterator[bytes]:
    """The frames' contents piecewise, each piece overlapping the next; stops when too much time has gone."""
    started = time.thread_time()
    for start in range(0, len(mfns), CHUNK_FRAMES):
        if time.thread_time() - started > SECONDS_MAX:
            return
        yield frames[mfns[start : start + CHUNK_FRAMES + OVERLAP_FRAMES]].tobytes()


def _text(block: bytes) -> str:
    """The message in a block: up to the first control character, less what editing in place has left behind.

    The kernel cuts the two-byte level prefix off by moving the text, so the last two characters stand there twice.
    """
    match = PRINTABLE.match(block)
    assert match is not None
    text = match.group()
    if block[len(text) : len(text) + 1] == b"\n" and len(text) > 3 and text[-2:] == text[-4:-2]:
        text = text[:-2]
    return text.decode("utf-8", "replace")


def _ring_messages(data: bytes, banner: int) -> Iterator[str]:
    """The chain of text blocks that starts with the banner's block."""
    for word in (8, 4):
        if banner < word or banner % word:
            continue
        number = int.from_bytes(data[banner - word : banner], "little")
        for bits in NUMBER_BITS:
            # The first message has the number -(descriptors + 1), or so, in the counter's width.
            if 0 < (1 << bits) - number < 1 << FIRST_NUMBER_BITS:
                yield from _chain(data, banner - word, word, (1 << bits) - 1)
                return


def _chain(data: bytes, at: int, word: int, mask: int) -> Iterator[str]:
    for _ in range(MESSAGES_MAX):
        number = int.from_bytes(data[at : at + word], "little")
        needle = ((number + 1) & mask).to_bytes(word, "little")
        limit = at + BLOCK_BYTES_MAX
        end = data.find(needle, at + word, limit)
        while end >= 0 and end % word:
            end = data.find(needle, end + 1, limit)
        yield _text(data[at + word : end if end >= 0 else limit])
        if end < 0:
            return
        at = end


def _record_messages(data: bytes, banner: int) -> Iterator[str]:
    """The records that start with the banner's: u64 time, u16 length, u16 text length, ... header of 16 or 24."""
    for header in (16, 24):
        at = banner - header
        if at < 0:
            continue
        lines = list(_records(data, at, header))
        if len(lines) > 1:
            yield from lines
            return


def _records(data: bytes, at: int, header: int) -> Iterator[str]:
    for _ in range(MESSAGES_MAX):
        length = int.from_bytes(data[at + 8 : at + 10], "little")
        text_length = int.from_bytes(data[at + 10 : at + 12], "little")
        if length < header or length % 4 or header + text_length > length or length > BLOCK_BYTES_MAX:
            return
        yield data[at + header : at + header + text_length].decode("utf-8", "replace")
        at += length
