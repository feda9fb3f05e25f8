"""The lzop file format, as Linux packs its payload with `lzop`."""

from __future__ import annotations

import struct
import zlib

from pvboot.kernel.codecs import Packed

# All integers are big-endian.  Source: lzop 1.04, src/conf.h and lzop.c.
LZOP_MAGIC = b"\x89LZO\0\r\n\x1a\n"
VERSION_FORMAT = ">HHHB"  # version, library version, version needed to extract, method
LEVEL_VERSION = 0x0940  # from this version on: a level byte, and 64 bits of time
METHODS = (1, 2, 3)  # LZO1X-1, LZO1X-1(15), LZO1X-999: one decoder
MAX_BLOCK_BYTES = 64 << 20
# What a packed byte can become at most.  The decoder only takes a hint about its output, so its input is bounded;
# lzop itself writes blocks of 256 KiB.
MAX_RATIO = 255
USUAL_BLOCK_BYTES = 256 << 10
ADLER32_D, ADLER32_C, EXTRA_FIELD, CRC32_D, CRC32_C = 0x1, 0x2, 0x40, 0x100, 0x200
MULTIPART, FILTER, HEADER_CRC32 = 0x400, 0x800, 0x1000


class _Reader:
    """Big-endian fields one after the other, each checked against the end of the payload."""

    def __init__(self, packed: Packed, data: memoryview) -> None:
        self.packed = packed
        self.data = data
        self.position = 0

    def take(self, size: int, what: str) -> memoryview:
        left = len(self.data) - self.position
        if size > left:
            raise self.packed.error(
                f"ends inside {what}", self.position, expected=f"{size} bytes", found=f"{left} bytes"
            )
        self.position += size
        return self.data[self.position - size : self.position]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "big")


def unlzop(packed: Packed) -> bytearray:
    """Unpack; every checksum that is there must hold, and the length must be the claimed one."""
    from lzallright import LZOCompressor, LZOError

    claim = packed.claimed_size()
    reader = _Reader(packed, packed.data[:-4])
    flags = _read_header(reader)
    out = bytearray()
    while True:
        at = reader.position
        plain_bytes = reader.u32("a block header")
        if plain_bytes == 0:
            break
        packed_bytes = reader.u32("a block header")
        if plain_bytes > MAX_BLOCK_BYTES or not 0 < packed_bytes <= plain_bytes:
            raise packed.error(
                "impossible block lengths",
                at,
                expected=f"0 < packed <= unpacked <= {MAX_BLOCK_BYTES}",
                found=f"packed {packed_bytes}, unpacked {plain_bytes}",
            )
        if plain_bytes > claim - len(out):
            raise packed.error(
                "unpacks to more than it claims", at, expected=f"{claim} bytes", found=str(len(out) + plain_bytes)
            )
        stored = packed_bytes == plain_bytes
        most_bytes = max(packed.max_size // MAX_RATIO, USUAL_BLOCK_BYTES)
        if not stored and packed_bytes > most_bytes:
            raise packed.error("block too big", at, expected=f"at most {most_bytes} bytes", found=str(packed_bytes))
        plain_sums = _read_sums(reader, flags & (ADLER32_D | CRC32_D))
        packed_sums = [] if stored else _read_sums(reader, flags & (ADLER32_C | CRC32_C))
        block = reader.take(packed_bytes, "a block")
        _check_sums(packed, at, "packed", packed_sums, block)
        if stored:
            plain: bytes | memoryview = block
        else:
            try:
                plain = LZOCompressor.decompress(bytes(block), plain_bytes)
            except LZOError as err:
                # Only the first argument is a message; the others may hold all the output.
                what = f"a block is damaged: {err.args[0] if err.args else 'no reason given'}"
                raise packed.error(what, at, expected=f"{plain_bytes} bytes") from None
        if len(plain) != plain_bytes:
            raise packed.error(
                "a block has another length than it says", at, expected=str(plain_bytes), found=str(len(plain))
            )
        _check_sums(packed, at, "unpacked", plain_sums, plain)
        out += plain
    if len(out) != claim:
        raise packed.error("unpacks to another length than it claims", expected=str(claim), found=str(len(out)))
    return out


def _read_header(reader: _Reader) -> int:
    """Check the header and leave `reader` behind it; the flags."""
    packed = reader.packed
    magic = bytes(reader.take(len(LZOP_MAGIC), "the magic"))
    if magic != LZOP_MAGIC:
        raise packed.error("no lzop magic", 0, expected=LZOP_MAGIC.hex(" "), found=magic.hex(" "))
    version, _, _, method = struct.unpack(VERSION_FORMAT, reader.take(7, "the header"))
    if method not in METHODS:
        raise packed.error("unknown lzop method", reader.position - 1, expected="1, 2 or 3", found=str(method))
    if version >= LEVEL_VERSION:
        reader.take(1, "the header")
    flags = reader.u32("the header")
    for bit, what in ((EXTRA_FIELD, "an extra field"), (MULTIPART, "several parts"), (FILTER, "a filter")):
        if flags & bit:
            raise packed.error(f"lzop with {what} is not supported", reader.position - 4, found=f"flags {flags:#x}")
    reader.take(12 if version >= LEVEL_VERSION else 8, "the header")
    reader.take(reader.take(1, "the header")[0], "the file name")
    covered = reader.data[len(LZOP_MAGIC) : reader.position]
    at, stored = reader.position, reader.u32("the header")
    computed = zlib.crc32(covered) if flags & HEADER_CRC32 else zlib.adler32(covered)
    if stored != computed:
        raise packed.error("lzop header checksum is wrong", at, expected=f"{computed:#010x}", found=f"{stored:#010x}")
    return flags


def _read_sums(reader: _Reader, flags: int) -> list[tuple[int, int]]:
    """The checksums that `flags` announces, Adler first."""
    bits = (ADLER32_D, CRC32_D, ADLER32_C, CRC32_C)
    return [(bit, reader.u32("a block header")) for bit in bits if flags & bit]


def _check_sums(packed: Packed, at: int, what: str, sums: list[tuple[int, int]], data: bytes | memoryview) -> None:
    for bit, stored in sums:
        computed = zlib.adler32(data) if bit in (ADLER32_D, ADLER32_C) else zlib.crc32(data)
        if stored != computed:
            raise packed.error(
                f"checksum of a block's {what} data is wrong", at, expected=f"{stored:#010x}", found=f"{computed:#010x}"
            )
