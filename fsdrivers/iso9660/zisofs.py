"""zisofs: files compressed block by block with zlib, marked by Rock Ridge ZF entries."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from fsdrivers.api import Extent
from fsdrivers.errors import Corrupt, Unsupported, require
from fsdrivers.iso9660._formats import ZISOFS_POINTER, RripCompression, ZisofsHeader
from fsdrivers.runfile import RunFile

MAGIC = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"
LOG_BLOCK_SIZES = range(15, 18)


class ZisofsFile:
    """A compressed file as its readers see it."""

    __slots__ = ("_block_bytes", "_cached", "_cached_block", "_pointers_at", "_raw", "_where", "path", "size")

    def __init__(self, raw: RunFile, facts: RripCompression, where: str) -> None:
        """`raw` is the file as it lies on disk.  Raises `Unsupported` for other algorithms, `Corrupt`."""
        if facts.algorithm != b"pz":
            kind = repr(facts.algorithm)
            raise Unsupported("compression is not supported", where=where, expected="zisofs version 1", found=kind)
        header = ZisofsHeader(raw.read_at(0, ZisofsHeader.SIZE), where=where)
        require(header.magic == MAGIC, "no zisofs header", where, MAGIC.hex(), header.magic.hex())
        for name, said, found in (
            ("size", facts.size_le, header.size),
            ("header_words", facts.header_words, header.header_words),
            ("log_block_size", facts.log_block_size, header.log_block_size),
        ):
            require(said == found, f"zisofs header contradicts the directory ({name})", where, said, found)
        good = facts.log_block_size in LOG_BLOCK_SIZES and facts.header_words * 4 >= ZisofsHeader.SIZE
        shown = f"1 << {facts.log_block_size}, {facts.header_words * 4}"
        require(good, "bad zisofs block or header size", where, found=shown)
        self._raw = raw
        self._where = where
        self._block_bytes = 1 << facts.log_block_size
        self._pointers_at = facts.header_words * 4
        self._cached_block, self._cached = -1, b""
        self.path = raw.path
        self.size = facts.size_le

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""
        end = min(self.size, offset + size)
        if offset < 0 or offset >= end:
            return b""
        first, last = offset // self._block_bytes, (end - 1) // self._block_bytes
        data = b"".join(self._block(block) for block in range(first, last + 1))
        return data[offset - first * self._block_bytes : end - first * self._block_bytes]

    def extents(self) -> Iterator[Extent]:
        """Block by block, decompressed."""
        for block in range(-(-self.size // self._block_bytes)):
            data = self._block(block)
            yield Extent(len(data), data=data)

    def _block(self, block: int) -> bytes:
        if block == self._cached_block:
            return self._cached
        where = f"{self._where}: zisofs block {block}"
        wanted = min(self._block_bytes, self.size - block * self._block_bytes)
        width = ZISOFS_POINTER.size
        pointers = self._raw.read_at(self._pointers_at + width * block, 2 * width)
        start, end = (at for (at,) in ZISOFS_POINTER.iter_unpack(pointers)) if len(pointers) == 2 * width else (0, -1)
        good = 0 <= start <= end <= self._raw.size and end - start <= 2 * self._block_bytes
        require(good, "bad zisofs block pointer", where, f"inside {self._raw.size} bytes", f"{start}..{end}")
        # A block without bytes is a block of zeros.
        data = bytes(wanted) if start == end else self._inflate(self._raw.read_at(start, end - start), wanted, where)
        self._cached_block, self._cached = block, data
        return data

    @staticmethod
    def _inflate(packed: bytes, wanted: int, where: str) -> bytes:
        try:
            data = zlib.decompressobj().decompress(packed, wanted)
        except zlib.error as err:
            raise Corrupt(f"bad compressed data: {err}", where=where) from err
        expected, found = f"{wanted} bytes", f"{len(data)} bytes"
        require(len(data) == wanted, "compressed block is too short", where, expected, found)
        return data
