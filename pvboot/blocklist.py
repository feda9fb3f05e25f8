"""GRUB's block lists: `0x10+3,20+1` names 512-byte sectors of a device as if they were a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from fsdrivers.light import TYPE_CHECKING
from pvboot import grub_errors
from pvboot.grub_errors import GrubError, read_number, shorten

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource, Extent

SECTOR_BYTES = 512


class BlockListFile:
    """Runs of sectors of `source` as one `File`; `size` may end inside the last sector."""

    def __init__(self, path: str, source: BlockSource, runs: list[tuple[int, int]], size: int) -> None:
        """`runs` are (first byte on the source, length in bytes), all inside it."""
        self.path = path
        self.size = size
        self._source = source
        self._runs = runs
        self._starts = [0]
        for _offset, length in runs:
            self._starts.append(self._starts[-1] + length)

    def _ranges(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        """The (offset, length) pairs on the source behind a range of the file."""
        end = min(offset + size, self.size)
        index = bisect_right(self._starts, offset) - 1
        while offset < end:
            run_offset, run_length = self._runs[index]
            skipped = offset - self._starts[index]
            length = min(run_length - skipped, end - offset)
            yield run_offset + skipped, length
            offset += length
            index += 1

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end."""
        return b"".join(self._source.read_at(start, length) for start, length in self._ranges(offset, size))

    def extents(self) -> Iterator[Extent]:
        """The extents behind the runs, in order."""
        for start, length in self._ranges(0, self.size):
            yield from self._source.extents(start, length)


def open_block_list(text: str, source: BlockSource) -> BlockListFile:
    """`text` is `[START]+LEN{,[START]+LEN}[,BYTES]`; the last number alone cuts the size in bytes.

    Raises `GrubError` 1 for bad syntax, 24 for sectors outside of the device (grub_open of GRUB 0.97).
    """
    runs: list[tuple[int, int]] = []
    size = at = 0
    while True:
        first, at = _number_or_zero(text, at)
        if text[at : at + 1] != "+":
            if at < len(text) or not 0 < first <= size:
                raise _bad(text)
            size = first
            break
        length, at = _number_or_zero(text, at + 1)
        if not length or text[at : at + 1] not in ("", ","):
            raise _bad(text)
        end = (first + length) * SECTOR_BYTES
        if end > source.size:
            found = f"sectors {first}+{length}, {source.name} has {source.size // SECTOR_BYTES}"
            raise GrubError(grub_errors.OUTSIDE_PARTITION, found)
        runs.append((first * SECTOR_BYTES, length * SECTOR_BYTES))
        size += length * SECTOR_BYTES
        if at == len(text):
            break
        at += 1
    return BlockListFile(text, source, runs, size)


def _number_or_zero(text: str, at: int) -> tuple[int, int]:
    """A missing start means 0, as in `+1`."""
    try:
        return read_number(text, at)
    except GrubError as err:
        if err.number == grub_errors.NUMBER_OVERFLOW:
            raise _bad(text) from err
        return 0, at


def _bad(text: str) -> GrubError:
    return GrubError(grub_errors.BAD_FILENAME, f"{shorten(text)!r} is neither a path from '/' nor a block list")
