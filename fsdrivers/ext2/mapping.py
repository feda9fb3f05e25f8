"""Which disk blocks hold a file: indirect blocks and extent trees -> runs.

Only pointers to initialised blocks become runs; everything between runs (holes, uninitialised extents) reads
as zeros.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from sys import byteorder

from fsdrivers.errors import Corrupt, Unsupported, require
from fsdrivers.ext2._formats import EXTENT_HEADER, EXTENT_INDEX, EXTENT_LEAF
from fsdrivers.ext2.constants import EXTENT_MAGIC
from fsdrivers.light import dataclass
from fsdrivers.runfile import Run

MAX_EXTENT_DEPTH = 5
UNINITIALISED = 0x8000
DIRECT_POINTERS = 12


@dataclass(frozen=True, slots=True)
class MapLimits:
    """Bounds on the cost of one file's map.

    The defaults let a 4 GiB file be scattered into single 4 KiB blocks; a tree of its own blocks that lists
    itself ends at the first repetition or here.
    """

    runs: int = 1 << 20
    map_blocks: int = 1 << 15


class BlockMap:
    """Gathers the runs of one inode's map of `file_blocks` blocks; reads each map block once, within the limits."""

    def __init__(
        self,
        read_block: Callable[[int], bytes],
        block_size: int,
        blocks_count: int,
        file_blocks: int,
        where: str,
        limits: MapLimits,
    ) -> None:
        self._read_block = read_block
        self._pointers_per_block = block_size // 4
        self._blocks_count = blocks_count
        self._file_blocks = file_blocks
        self._where = where
        self._limits = limits
        self._seen: set[int] = set()
        self._runs: list[Run] = []

    def extent_runs(self, root: bytes) -> list[Run]:
        """Runs of the extent tree whose root node is `root` (the 60 bytes of i_block)."""
        self._extent_node(root, None, (0, 1 << 32), "extent root")
        return self._cut()

    def indirect_runs(self, pointers: bytes) -> list[Run]:
        """Runs of an ext2 block map: 12 direct pointers, then one single, double and triple indirect block."""
        values = _pointers(pointers)
        self._collect(values[:DIRECT_POINTERS], 0)
        position = DIRECT_POINTERS
        for level, pointer in enumerate(values[DIRECT_POINTERS:], 1):
            if position < self._file_blocks and pointer:
                self._indirect(pointer, level, position)
            position += self._pointers_per_block**level
        what, found = "file is larger than its block map can hold", f"{self._file_blocks} blocks"
        require(self._file_blocks <= position, what, self._where, f"at most {position} blocks", found)
        return self._runs

    def _read(self, block: int) -> bytes:
        """A map block; `Corrupt` if it was read before (no good map shares one) or there are too many."""
        self._check_disk(block)
        if block in self._seen:
            raise Corrupt("block map leads into itself", where=f"{self._where}: block {block}")
        if len(self._seen) >= self._limits.map_blocks:
            expected = f"at most {self._limits.map_blocks} map blocks"
            raise Unsupported("block map is too large", where=self._where, expected=expected)
        self._seen.add(block)
        return self._read_block(block)

    def _check_runs(self) -> None:
        """Bound the memory that a map takes."""
        if len(self._runs) > self._limits.runs:
            expected = f"at most {self._limits.runs} runs"
            raise Unsupported("file is too fragmented", where=self._where, expected=expected)

    def _check_disk(self, block: int, count: int = 1) -> None:
        """`Corrupt` unless the blocks lie inside the file system (block 0 never holds a file's data)."""
        good = 0 < block <= self._blocks_count - count
        found = f"{block}, {count} blocks"
        require(good, "block number outside the file system", self._where, f"1..{self._blocks_count - 1}", found)

    # -- extents

    def _extent_node(self, node: bytes, depth: int | None, span: tuple[int, int], name: str) -> None:
        """Collect the runs below a node; keys must ascend inside `span` [first, end) given by the parent."""
        where = f"{self._where}: {name}"
        magic, entries, limit, node_depth = EXTENT_HEADER.unpack_from(node)
        require(magic == EXTENT_MAGIC, "bad extent header", where, f"{EXTENT_MAGIC:#x}", f"{magic:#x}")
        capacity = (len(node) - EXTENT_HEADER.size) // EXTENT_LEAF.size
        found = f"{entries} of {limit}"
        require(entries <= limit <= capacity, "too many extents for a node", where, f"at most {capacity}", found)
        # The kernel's trees are uniform: a child is exactly one level lower, so that depth bounds the recursion.
        good = node_depth == depth if depth is not None else node_depth <= MAX_EXTENT_DEPTH
        require(good, "bad extent depth", where, f"0..{MAX_EXTENT_DEPTH}" if depth is None else depth, node_depth)
        # A copy: a memoryview that an unfinished iteration holds in a traceback's cycle crashes CPython's collector.
        body = node[EXTENT_HEADER.size : EXTENT_HEADER.size + entries * EXTENT_LEAF.size]
        if node_depth == 0:
            self._leaf(EXTENT_LEAF.iter_unpack(body), span, where)
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
            self._extent_node(self._read(block), node_depth - 1, (key, stop), f"extent block {block}")

    def _leaf(self, extents: Iterable[tuple[int, ...]], span: tuple[int, int], where: str) -> None:
        position, end = span
        for key, length, high, low in extents:
            # Exactly 0x8000 is an initialised extent of 32768 blocks; above it is an uninitialised one, whose
            # blocks still hold somebody's old data and read as zeros.
            count = length if length <= UNINITIALISED else length - UNINITIALISED
            if not count or key < position or key + count > end:
                what = "extent is empty, out of order or overlaps"
                expected = f"inside file blocks {position}..{end - 1}"
                raise Corrupt(what, where=where, expected=expected, found=f"{key}, {count} blocks")
            position = key + count
            block = high << 32 | low
            if block <= 0 or block + count > self._blocks_count:
                self._check_disk(block, count)
            if length <= UNINITIALISED:
                self._append(key, block, count)
        self._check_runs()

    # -- block maps

    def _indirect(self, block: int, level: int, position: int) -> None:
        values = _pointers(self._read(block))
        if level == 1:
            self._collect(values, position)
            return
        span = self._pointers_per_block ** (level - 1)
        for pointer in values[: -(-(self._file_blocks - position) // span)]:
            if pointer:
                self._indirect(pointer, level - 1, position)
            position += span

    def _collect(self, values: array[int], position: int) -> None:
        """Take data pointers of consecutive file blocks from `position`; 0 is a hole."""
        values = values[: max(0, self._file_blocks - position)]
        if not values:
            return
        if max(values) >= self._blocks_count:
            self._check_disk(max(values))
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
            self._append(position + start, first, i - start)
        self._check_runs()

    # -- runs

    def _append(self, file_block: int, disk_block: int, count: int) -> None:
        runs = self._runs
        if runs:
            last = runs[-1]
            if last.file_block + last.blocks == file_block and last.disk_block + last.blocks == disk_block:
                runs[-1] = Run(last.file_block, last.disk_block, last.blocks + count)
                return
        runs.append(Run(file_block, disk_block, count))

    def _cut(self) -> list[Run]:
        """Drop blocks behind the end of the file (preallocation, Merkle trees): they do not belong to its content."""
        runs = self._runs
        while runs and runs[-1].file_block >= self._file_blocks:
            runs.pop()
        if runs and runs[-1].file_block + runs[-1].blocks > self._file_blocks:
            runs[-1] = runs[-1]._replace(blocks=self._file_blocks - runs[-1].file_block)
        return runs


def _pointers(data: bytes) -> array[int]:
    values = array("I", data)
    if byteorder == "big":
        values.byteswap()
    return values
