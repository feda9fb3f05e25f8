"""The lzop file format.  All integers are big-endian.  Source: lzop 1.04, src/conf.h and lzop.c."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from pvboot.unpack._formats import LZOP_FIELDS, LZOP_VERSIONS
from pvboot.unpack.errors import CutError, TooLargeError, UnpackError
from pvboot.unpack.stream import ByteStream

MAGIC: Final = b"\x89LZO\0\r\n\x1a\n"
LEVEL_VERSION: Final = 0x0940  # from this version on: a level byte, and 64 bits of time
METHODS: Final = (1, 2, 3)  # LZO1X-1, LZO1X-1(15), LZO1X-999: one decoder
MAX_BLOCK_BYTES: Final = 64 << 20
# What a packed byte can become at most.  The decoder only takes a hint about its output, so its input is bounded;
# lzop itself writes blocks of 256 KiB.
MAX_RATIO: Final = 255
USUAL_BLOCK_BYTES: Final = 256 << 10
ADLER32_D, ADLER32_C, EXTRA_FIELD, CRC32_D, CRC32_C = 0x1, 0x2, 0x40, 0x100, 0x200
MULTIPART, FILTER, HEADER_CRC32 = 0x400, 0x800, 0x1000


def blocks(packed: ByteStream, limit: int) -> Iterator[bytes]:
    """The unpacked blocks; every checksum that is there must hold."""
    from lzallright import LZOCompressor, LZOError

    flags = _read_header(packed)
    packed_limit = max(limit // MAX_RATIO, USUAL_BLOCK_BYTES)
    done = 0
    while plain_bytes := _u32(packed, "a block header"):
        at = packed.position - 4
        packed_bytes = _u32(packed, "a block header")
        if plain_bytes > MAX_BLOCK_BYTES or not 0 < packed_bytes <= plain_bytes:
            raise UnpackError(
                "impossible block lengths",
                at,
                expected=f"0 < packed <= unpacked <= {MAX_BLOCK_BYTES}",
                found=f"packed {packed_bytes}, unpacked {plain_bytes}",
            )
        done += plain_bytes
        if done > limit:
            raise TooLargeError("unpacks to more than it may", at, expected=f"at most {limit} bytes", found=str(done))
        stored = packed_bytes == plain_bytes
        if not stored and packed_bytes > packed_limit:
            raise UnpackError("block too big", at, expected=f"at most {packed_limit} bytes", found=str(packed_bytes))
        plain_sums = _read_sums(packed, flags & (ADLER32_D | CRC32_D))
        packed_sums = [] if stored else _read_sums(packed, flags & (ADLER32_C | CRC32_C))
        plain = block = _take(packed, packed_bytes, "a block")
        _check_sums(at, "packed", packed_sums, block)
        if not stored:
            try:
                plain = LZOCompressor.decompress(block, plain_bytes)
            except LZOError as err:
                # Only the first argument is a message; the others may hold all the output.
                what = f"a block is damaged: {err.args[0] if err.args else 'no reason given'}"
                raise UnpackError(what, at, expected=f"{plain_bytes} bytes") from None
        if len(plain) != plain_bytes:
            raise UnpackError(
                "a block has another length than it says", at, expected=str(plain_bytes), found=str(len(plain))
            )
        _check_sums(at, "unpacked", plain_sums, plain)
        yield plain


def _read_header(packed: ByteStream) -> int:
    """Check the header and leave `packed` behind it; the flags."""
    magic = _take(packed, len(MAGIC), "the magic")
    if magic != MAGIC:
        raise UnpackError("not the magic of lzop", 0, expected=MAGIC.hex(" "), found=magic.hex(" "))
    at = packed.position
    covered = _take(packed, LZOP_VERSIONS.size, "the header")
    version, method = LZOP_VERSIONS.unpack(covered)
    if method not in METHODS:
        raise UnpackError("unknown lzop method", at, expected="1, 2 or 3", found=str(method))
    fields = LZOP_FIELDS["level" if version >= LEVEL_VERSION else "old"]
    covered += _take(packed, fields.size, "the header")
    flags, name_bytes = fields.unpack_from(covered, LZOP_VERSIONS.size)
    for bit, what in ((EXTRA_FIELD, "an extra field"), (MULTIPART, "several parts"), (FILTER, "a filter")):
        if flags & bit:
            raise UnpackError(f"lzop with {what} is not supported", at, found=f"flags {flags:#x}")
    covered += _take(packed, name_bytes, "the file name")
    stored = _u32(packed, "the header")
    computed = zlib.crc32(covered) if flags & HEADER_CRC32 else zlib.adler32(covered)
    if stored != computed:
        raise UnpackError("lzop header checksum is wrong", at, expected=f"{computed:#010x}", found=f"{stored:#010x}")
    return int(flags)


def _take(packed: ByteStream, size: int, what: str) -> bytes:
    at = packed.position
    data = packed.read(size)
    if len(data) < size:
        raise CutError(f"ends inside {what}", at, expected=f"{size} bytes", found=f"{len(data)} bytes")
    return data


def _u32(packed: ByteStream, what: str) -> int:
    return int.from_bytes(_take(packed, 4, what), "big")


def _read_sums(packed: ByteStream, flags: int) -> list[tuple[int, int]]:
    """The checksums that `flags` announces, Adler first."""
    bits = (ADLER32_D, CRC32_D, ADLER32_C, CRC32_C)
    return [(bit, _u32(packed, "a block header")) for bit in bits if flags & bit]


def _check_sums(at: int, what: str, sums: list[tuple[int, int]], data: bytes) -> None:
    for bit, stored in sums:
        computed = zlib.adler32(data) if bit in (ADLER32_D, ADLER32_C) else zlib.crc32(data)
        if stored != computed:
            raise UnpackError(
                f"checksum of a block's {what} data is wrong", at, expected=f"{stored:#010x}", found=f"{computed:#010x}"
            )
