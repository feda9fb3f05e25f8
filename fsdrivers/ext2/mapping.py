"""Which disk blocks hold a file: indirect blocks and extent trees -> runs.

Only pointers to initialised blocks become runs; everything between runs (holes, uninitialised extents) reads
as zeros.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from sys import byteorder

from fsdrivers.errors import Corrupt, Unsupported
from fsdrivers.ext2._formats import EXTENT_HEADER, EXTENT_INDEX, EXTENT_LEAF
from fsdrivers.ext2.constants import EXTENT_MAGIC
from fsdrivers.runfile import Run

MAX_EXTENT_DEPTH = 5
UNINITIALISED = 0x8000
DIRECT_POINTERS = 12


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file's map may cost.

    The defaults let a 4 GiB file be scattered into single 4 KiB blocks; a tree of its own blocks that lists
    itself ends at the first repetition or here.
    """

    runs: int = 1 << 20
    map_blocks: int = 1 << 15


class MapReader:
    """Reads the map blocks of one inode once each, within the limits."""

    __slots__ = ("_limits", "_read_block", "_seen", "block_size", "blocks_count", "verify", "where")

    def __init__(
        self,
        read_block: Callable[[int], bytes],
        block_size: int,
        blocks_count: int,
        where: str,
        limits: Limits,
        verify: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self._read_block = read_block
        self.block_size = block_size
        self.blocks_count = blocks_count
        self.where = where
        self.verify = verify
        self._limits = limits
        self._seen: set[int] = set()

    def read(self, block: int) -> bytes:
        """A map block; `Corrupt` if it was read before (no good map shares one) or there are too many."""
        if block in self._seen:
            raise Corrupt("block map leads into itself", where=f"{self.where}: block {block}")
        if len(self._seen) >= self._limits.map_blocks:
            raise Unsupported(
                "block map is too large", where=self.where, expected=f"at most {self._limits.map_blocks} map blocks"
            )
        self._seen.add(block)
        return self._read_block(block)

    def check_runs(self, runs: list[Run]) -> None:
        """Bound the memory that a map takes."""
        if len(runs) > self._limits.runs:
            raise Unsupported("file is too fragmented", where=self.where, expected=f"at most {self._limits.runs} runs")

    def check_disk(self, block: int, count: int = 1) -> None:
        """`Corrupt` unless the blocks lie inside the file system (block 0 never holds a file's data)."""
        if block <= 0 or block + count > self.blocks_count:
            raise Corrupt(
                "block number outside the file system",
                where=self.where,
                expected=f"1..{self.blocks_count - 1}",
                found=f"{block}, {count} blocks",
            )


def extent_runs(root: bytes, reader: MapReader, file_blocks: int) -> list[Run]:
    """Runs of the extent tree whose root node is `root` (the 60 bytes of i_block), cut at `file_blocks`."""
    runs: list[Run] = []
    _extent_node(root, reader, runs, None, (0, 1 << 32), "extent root")
    return _cut(runs, file_blocks)


def _extent_node(
    node: bytes, reader: MapReader, runs: list[Run], depth: int | None, span: tuple[int, int], name: str
) -> None:
    """Collect the runs below a node; keys must ascend inside `span` [first, end) given by the parent."""
    where = f"{reader.where}: {name}"
    magic, entries, limit, node_depth = EXTENT_HEADER.unpack_from(node)
    if magic != EXTENT_MAGIC:
        raise Corrupt("bad extent header", where=where, expected=f"{EXTENT_MAGIC:#x}", found=f"{magic:#x}")
    entry_bytes = EXTENT_LEAF.size
    capacity = (len(node) - EXTENT_HEADER.size) // entry_bytes
    if entries > limit or limit > capacity:
        raise Corrupt(
            "too many extents for a node", where=where, expected=f"at most {capacity}", found=f"{entries} of {limit}"
        )
    # The kernel's trees are uniform: a child is exactly one level lower, so that depth bounds the recursion.
    if node_depth > MAX_EXTENT_DEPTH or (depth is not None and node_depth != depth):
        raise Corrupt(
            "bad extent depth",
            where=where,
            found=str(node_depth),
            expected=f"0..{MAX_EXTENT_DEPTH}" if depth is None else str(depth),
        )
    # A copy: a memoryview that an unfinished iteration holds in a traceback's cycle crashes CPython's collector.
    body = node[EXTENT_HEADER.size : EXTENT_HEADER.size + entries * entry_bytes]
    if node_depth == 0:
        _leaf(EXTENT_LEAF.iter_unpack(body), reader, runs, span, where)
        return
    if not entries:
        raise Corrupt("extent index node without entries", where=where)
    children = list(EXTENT_INDEX.iter_unpack(body))
    first, end = span
    for i, (key, low, high) in enumerate(children):
        stop = children[i + 1][0] if i + 1 < len(children) else end
        if not first <= key < stop <= end:
            raise Corrupt("extent index is not in order", where=where, found=f"entry {i} at file block {key}")
        first = stop
        block = high << 32 | low
        reader.check_disk(block)
        child = reader.read(block)
        if reader.verify is not None:
            reader.verify(block, child)
        _extent_node(child, reader, runs, node_depth - 1, (key, stop), f"extent block {block}")


def _leaf(
    extents: Iterable[tuple[int, ...]], reader: MapReader, runs: list[Run], span: tuple[int, int], where: str
) -> None:
    position, end = span
    blocks_count = reader.blocks_count
    for key, length, high, low in extents:
        # Exactly 0x8000 is an initialised extent of 32768 blocks; above it is an uninitialised one, whose
        # blocks still hold somebody's old data and read as zeros.
        count = length if length <= UNINITIALISED else length - UNINITIALISED
        if not count or key < position or key + count > end:
            raise Corrupt(
                "extent is empty, out of order or overlaps",
                where=where,
                expected=f"inside file blocks {position}..{end - 1}",
                found=f"{key}, {count} blocks",
            )
        position = key + count
        block = high << 32 | low
        if block <= 0 or block + count > blocks_count:
            reader.check_disk(block, count)
        if length <= UNINITIALISED:
            _append(runs, key, block, count)
    reader.check_runs(runs)


def indirect_runs(pointers: bytes, reader: MapReader, file_blocks: int) -> list[Run]:
    """Runs of an ext2 block map: 12 direct pointers, then one single, double and triple indirect block."""
    runs: list[Run] = []
    per_block = reader.block_size // 4
    values = _pointers(pointers)
    _collect(values[:DIRECT_POINTERS], 0, reader, runs, file_blocks)
    position = DIRECT_POINTERS
    for level, pointer in enumerate(values[DIRECT_POINTERS:], 1):
        if position < file_blocks and pointer:
            _indirect(pointer, level, position, reader, runs, file_blocks)
        position += per_block**level
    if file_blocks > position:
        raise Corrupt(
            "file is larger than its block map can hold",
            where=reader.where,
            expected=f"at most {position} blocks",
            found=f"{file_blocks} blocks",
        )
    return runs


def _indirect(block: int, level: int, position: int, reader: MapReader, runs: list[Run], file_blocks: int) -> None:
    reader.check_disk(block)
    values = _pointers(reader.read(block))
    if level == 1:
        _collect(values, position, reader, runs, file_blocks)
        return
    span = (reader.block_size // 4) ** (level - 1)
    for pointer in values[: -(-(file_blocks - position) // span)]:
        if pointer:
            _indirect(pointer, level - 1, position, reader, runs, file_blocks)
        position += span


def _pointers(data: bytes) -> array[int]:
    values = array("I", data)
    if byteorder == "big":
        values.byteswap()
    return values


def _collect(values: array[int], position: int, reader: MapReader, runs: list[Run], file_blocks: int) -> None:
    """Data pointers of consecutive file blocks from `position`; 0 is a hole."""
    values = values[: max(0, file_blocks - position)]
    if not values:
        return
    if max(values) >= reader.blocks_count:
        reader.check_disk(max(values))
    i, total = 0, len(values)
    while i < total:
        first = values[i]
        start = i
        i += 1
        if not first:
            continue
        expected = first + 1
        while i < total and values[i] == expected:
            i += 1
            expected += 1
        _append(runs, position + start, first, i - start)
    reader.check_runs(runs)


def _append(runs: list[Run], file_block: int, disk_block: int, count: int) -> None:
    if runs:
        last = runs[-1]
        if last.file_block + last.blocks == file_block and last.disk_block + last.blocks == disk_block:
            runs[-1] = Run(last.file_block, last.disk_block, last.blocks + count)
            return
    runs.append(Run(file_block, disk_block, count))


def _cut(runs: list[Run], file_blocks: int) -> list[Run]:
    """Blocks behind the end of the file (preallocation, Merkle trees) do not belong to its content."""
    while runs and runs[-1].file_block >= file_blocks:
        runs.pop()
    if runs and runs[-1].file_block + runs[-1].blocks > file_blocks:
        last = runs[-1]
        runs[-1] = last._replace(blocks=file_blocks - last.file_block)
    return runs
