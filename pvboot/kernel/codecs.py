"""The payload codecs of a bzImage: gzip, bzip2, lzma, xz, zstd, lzo and legacy lz4, all bounded.

Every function takes the packed bytes and gives the unpacked ones; none lets its output grow past the limit or past
the length that the payload itself claims.  What is accepted follows tools/libs/guest/xg_dom_bzimageloader.c of Xen,
save that a payload longer than it claims, or cut after its last byte of data, is refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pvboot.errors import KernelError

GZIP_MAGIC = b"\x1f\x8b"
# Xen hands the unpacked file on with 16 zero bytes behind it; strings that end with the file may need them.
GZIP_SLACK_BYTES = 16
LZMA_MEMORY_BYTES = 256 << 20
MAX_ZSTD_FRAMES = 4096
_STEP_IN_BYTES = 256 << 10
_STEP_OUT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Packed:
    """Packed bytes and what messages and limits need: a name, the codec, where `data` starts in the file."""

    name: str
    codec: str
    data: memoryview
    offset: int
    max_size: int

    def error(self, what: str, at: int | None = None, *, expected: str = "", found: str = "") -> KernelError:
        """A KernelError about the payload, at byte `at` of `data` if that is known."""
        place = f"{self.name}, {self.codec} payload"
        if at is not None:
            place += f" at file byte {self.offset + at:#x}"
        return KernelError(what, where=place, expected=expected, found=found)

    def claimed_size(self) -> int:
        """The length word at the end, checked against the limit."""
        if len(self.data) < 8:
            raise self.error("too short to hold data and a length", expected="8 bytes", found=str(len(self.data)))
        (claim,) = struct.unpack_from("<I", self.data, len(self.data) - 4)
        if claim > self.max_size:
            raise self.error(
                "claims more unpacked bytes than allowed",
                len(self.data) - 4,
                expected=f"at most {self.max_size}",
                found=str(claim),
            )
        return int(claim)


class _Decoder(Protocol):
    """What bz2, lzma and zstd decompressor objects share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class _Inflater:
    """zlib's decompressor in the shape of the others."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS + 32)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        return self._inflate.decompress(data or self._inflate.unconsumed_tail, max_length)


def gunzip(packed: Packed) -> bytearray:
    """Inflate a gzip file or payload; the result ends in up to 16 zero bytes, as Xen's buffer does.

    Only the first member counts.  The length claimed by the last four bytes may be up to 16 too small, or too big.
    """
    claim = packed.claimed_size()
    out = bytearray()
    if not _drain(_Inflater(), packed, packed.data, claim + GZIP_SLACK_BYTES, out, zlib.error):
        raise _cut(packed, out, claim)
    out += bytes(min(GZIP_SLACK_BYTES, claim + GZIP_SLACK_BYTES - len(out)))
    return out


def _bunzip2(packed: Packed) -> bytearray:
    import bz2

    return _exact(bz2.BZ2Decompressor(), packed, (OSError, ValueError, EOFError))


def _unxz(packed: Packed) -> bytearray:
    import lzma

    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=LZMA_MEMORY_BYTES)
    return _exact(decoder, packed, lzma.LZMAError)


def _unlzma(packed: Packed) -> bytearray:
    import lzma

    # Neither a length in the header nor an end mark is required: the claimed length ends the data, and what the
    # decoder would make of the bits behind it means nothing.
    claim = packed.claimed_size()
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY_BYTES)
    out = bytearray()
    _drain(decoder, packed, packed.data[:-4], claim, out, lzma.LZMAError, look_beyond=False)
    if len(out) != claim:
        raise _cut(packed, out, claim)
    return out


def _unzstd(packed: Packed) -> bytearray:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError, get_frame_size

    claim = packed.claimed_size()
    # A frame may declare a window that is bigger than its data; Xen decodes into one buffer and never looks at it.
    window_log = min(31, max(27, packed.max_size.bit_length()))
    rest, out = packed.data[:-4], bytearray()
    for _ in range(MAX_ZSTD_FRAMES):
        if not rest:
            break
        start = len(packed.data) - 4 - len(rest)
        try:
            frame_bytes = get_frame_size(rest)
        except ZstdError as err:
            what = f"damaged or cut: {_reason(err)}"
            raise packed.error(what, start, expected=f"{claim} bytes", found=f"{len(out)} bytes so far") from err
        decoder = ZstdDecompressor(options={DecompressionParameter.window_log_max: window_log})
        if not _drain(decoder, packed, rest[:frame_bytes], claim, out, ZstdError, start=start):
            raise _cut(packed, out, claim)
        rest = rest[frame_bytes:]
    if rest:
        raise packed.error("too many frames", expected=f"at most {MAX_ZSTD_FRAMES}")
    if len(out) != claim:
        raise _cut(packed, out, claim)
    return out


def _unlz4(packed: Packed) -> bytearray:
    from pvboot.kernel.lz4_legacy import unlz4_legacy

    return unlz4_legacy(packed)


def _unlzo(packed: Packed) -> bytearray:
    from pvboot.kernel.lzop import unlzop

    return unlzop(packed)


def _exact(decoder: _Decoder, packed: Packed, failure: type[Exception] | tuple[type[Exception], ...]) -> bytearray:
    """All of one stream, which must give exactly the claimed length; bytes behind the stream are ignored."""
    claim = packed.claimed_size()
    out = bytearray()
    if not _drain(decoder, packed, packed.data[:-4], claim, out, failure) or len(out) != claim:
        raise _cut(packed, out, claim)
    return out


def _drain(
    decoder: _Decoder,
    packed: Packed,
    data: memoryview,
    limit: int,
    out: bytearray,
    failure: type[Exception] | tuple[type[Exception], ...],
    *,
    start: int = 0,
    look_beyond: bool = True,
) -> bool:
    """Decode `data` (at byte `start` of the payload) onto `out`; True if the stream ended.

    Raises KernelError if the data is damaged or `out` would pass `limit`.  Without `look_beyond` the limit just stops.
    """
    position = 0
    while not decoder.eof and (look_beyond or len(out) < limit):
        chunk = b"" if not decoder.needs_input else data[position : position + _STEP_IN_BYTES]
        if decoder.needs_input and not chunk:
            return False
        room = limit - len(out) + (1 if look_beyond else 0)
        try:
            out += decoder.decompress(chunk, min(room, _STEP_OUT_BYTES))
        except failure as err:
            raise packed.error(
                f"damaged: {_reason(err)}",
                start + position,
                expected=f"{limit} bytes at most, {len(data) - position} packed bytes are left",
                found=f"{len(out)} bytes so far",
            ) from err
        position += len(chunk)
        if len(out) > limit:
            raise packed.error("unpacks to more than it claims", expected=f"{limit} bytes", found="more")
    return decoder.eof


def _reason(err: Exception) -> str:
    """The library's words, without its own preface."""
    return str(err).rpartition(": ")[2] or type(err).__name__


def _cut(packed: Packed, out: bytearray, claim: int) -> KernelError:
    return packed.error(
        "ends too early (cut, or its length word is wrong)",
        len(packed.data),
        expected=f"{claim} bytes, as the last four bytes claim",
        found=f"{len(out)} bytes",
    )


# In the order of Xen's tests; LZMA's two bytes are weak, so it comes after those with longer marks.
PAYLOAD_CODECS: tuple[tuple[bytes, str, Callable[[Packed], bytearray]], ...] = (
    (GZIP_MAGIC, "gzip", gunzip),
    (b"BZh", "bzip2", _bunzip2),
    (b"\xfd7zXZ\0", "xz", _unxz),
    (b"\x28\xb5\x2f\xfd", "zstd", _unzstd),
    (b"\x5d\0", "lzma", _unlzma),
    (b"\x89LZO\0", "lzo", _unlzo),
    (b"\x02\x21", "lz4", _unlz4),
)


def payload_codec(data: memoryview) -> tuple[str, Callable[[Packed], bytearray]] | None:
    """Name and function of the codec whose magic `data` starts with, or None."""
    head = bytes(data[:8])
    for magic, name, unpack in PAYLOAD_CODECS:
        if head.startswith(magic):
            return name, unpack
    return None
