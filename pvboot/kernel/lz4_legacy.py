"""The legacy LZ4 file format, as Linux packs its payload with `lz4 -l`."""

from __future__ import annotations

import struct

from pvboot.kernel.codecs import Packed

# {magic u32, {csize u32, raw LZ4 block} ...}; blocks are independent, and the magic may come again between them
# (files joined end to end).  Source: lz4's doc/lz4_Frame_format.md, "Legacy frame".
LEGACY_MAGIC = 0x184C2102
WORD_FORMAT = "<I"
# Each further byte of a block's length adds 255 bytes at most.
_MAX_RATIO = 255


def unlz4_legacy(packed: Packed) -> bytearray:
    """Unpack; the blocks must fill the payload up to its length word, and give exactly that length."""
    import lz4.block

    claim = packed.claimed_size()
    data = packed.data[:-4]
    end = len(data)
    position, out = 4, bytearray()
    if _word(data, 0) != LEGACY_MAGIC:
        raise packed.error("no legacy LZ4 magic", 0, expected=f"{LEGACY_MAGIC:#x}", found=bytes(data[:4]).hex(" "))
    while True:
        if end - position < 4:
            raise packed.error(
                "ends where a block should start", position, expected="a block length", found=f"{end - position} bytes"
            )
        block_bytes = _word(data, position)
        position += 4
        if block_bytes == LEGACY_MAGIC:
            continue
        if block_bytes > end - position:
            raise packed.error(
                "a block runs past the end", position - 4, expected=f"at most {end - position}", found=str(block_bytes)
            )
        room = min(claim - len(out), block_bytes * _MAX_RATIO)
        try:
            out += lz4.block.decompress(data[position : position + block_bytes], uncompressed_size=room)
        except (lz4.block.LZ4BlockError, ValueError) as err:
            raise packed.error(
                f"a block is damaged or longer than claimed: {err}",
                position,
                expected=f"{claim} bytes in all",
                found=f"{len(out)} bytes before this block",
            ) from err
        position += block_bytes
        if position == end:
            break
    if len(out) != claim:
        raise packed.error("unpacks to another length than it claims", expected=str(claim), found=str(len(out)))
    return out


def _word(data: memoryview, offset: int) -> int:
    return int(struct.unpack_from(WORD_FORMAT, data, offset)[0])
