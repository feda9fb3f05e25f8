"""The legacy LZ4 file format, as `lz4 -l` writes it.

A mark, then independent blocks, each with its packed length before it; the mark may come again between them (files
joined end to end).  Nothing says where the stream ends.  Source: lz4's doc/lz4_Frame_format.md, "Legacy frame".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pvboot.unpack.errors import CutError, UnpackError
from pvboot.unpack.stream import ByteStream

MAGIC: Final = b"\x02\x21\x4c\x18"
BLOCK_BYTES: Final = 8 << 20
PACKED_LIMIT_BYTES: Final = BLOCK_BYTES + BLOCK_BYTES // 255 + 16


def blocks(packed: ByteStream, limit: int) -> Iterator[bytes]:
    """The unpacked blocks; the stream ends before what cannot be the length of a block."""
    import lz4.block

    done = 0
    while len(word := packed.peek(4)) == 4:
        at, size = packed.position, int.from_bytes(word, "little")
        if word == MAGIC:
            packed.read(4)
            continue
        if not 0 < size <= PACKED_LIMIT_BYTES:
            return
        packed.read(4)
        block = packed.read(size)
        if len(block) < size:
            raise CutError("a block runs past the end", at, expected=f"{size} bytes", found=str(len(block)))
        try:
            plain = lz4.block.decompress(block, uncompressed_size=min(BLOCK_BYTES, limit - done))
        except (lz4.block.LZ4BlockError, ValueError) as err:
            raise UnpackError(
                "a block is damaged or too long", at, expected=f"at most {limit} bytes in all", found=str(err)
            ) from err
        done += len(plain)
        yield plain
