"""Finding a Linux kernel's log in the memory of a guest that died before it could print it.

Two layouts are known.  Since 5.10 (printk_ringbuffer.c) a text block is its descriptor's number in a word, then the
text; numbers of successive messages differ by one, so the log is a chain of words id, id+1 ... with text between.
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


def _text(block: bytes) -> str | None:
    match = PRINTABLE.match(block)
    assert match is not None
    text = match.group()
    rest = block[len(text) :]
    if rest[:1] not in (b"", b"\0", b"\n"):
        return None
    return text.decode("utf-8", "replace")


def _ring_messages(data: bytes, banner: int) -> Iterator[str]:
    """The chain of text blocks that starts with the banner's block."""
    at = banner - 8
    # Old kernels would put something else there; numbers start 4097 (or so) below 2**62, or 2**30 on 32 bits.
    number = int.from_bytes(data[at:banner], "little")
    if at < 0 or banner % 8 or not 0 < (1 << 62) - number < 1 << 24:
        return
    for _ in range(MESSAGES_MAX):
        number = (number + 1) & ((1 << 62) - 1)
        end = at + 8
        needle = number.to_bytes(8, "little")
        while True:
            end = data.find(needle, end, at + BLOCK_BYTES_MAX)
            if end < 0 or end % 8 == 0:
                break
            end += 1
        block = data[at + 8 : end if end >= 0 else at + BLOCK_BYTES_MAX]
        text = _text(block)
        if text is None:
            return
        yield text
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
        text = _text(data[at + header : at + header + text_length])
        if text is None:
            return
        yield text
        at += length
