"""The codecs of Linux's kernels and initrds, each as a stream that stops at a limit."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from pvboot.unpack import lz4_legacy, lzop
from pvboot.unpack.errors import CutError, TooLargeError, UnpackError
from pvboot.unpack.stream import ByteStream

STEP_BYTES: Final = 1 << 20
MEMORY_BYTES: Final = 128 << 20
GZIP_WBITS: Final = zlib.MAX_WBITS | 16
ZSTD_WINDOW_LOG: Final = 31  # the highest there is

# As Linux knows them (lib/decompress.c).  The mark of LZMA is weak, so it comes last.
MAGICS: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (lz4_legacy.MAGIC, "lz4"),
    (b"\x89LZO\0", "lzo"),
    (b"\x5d\0", "lzma"),
)


def codec_of(head: bytes) -> str | None:
    """The codec whose mark `head` begins with."""
    return next((name for magic, name in MAGICS if head.startswith(magic)), None)


def unpack(
    codec: str, packed: ByteStream, limit: int, *, stop: bool = False, memory_bytes: int = MEMORY_BYTES
) -> Iterator[bytes]:
    """Unpack one stream into pieces of at most 1 MiB; the bytes behind it stay in `packed`.

    `limit` bounds all pieces together; with `stop` they just end there, and what would follow is not looked at.
    `memory_bytes` bounds what a decoder keeps of its output to refer to.
    Raises `TooLargeError`, `CutError`, `UnpackError`.
    """
    if codec in ("lz4", "lzo"):
        blocks = (lz4_legacy.blocks if codec == "lz4" else lzop.blocks)(packed, limit)
        return (block[at : at + STEP_BYTES] for block in blocks for at in range(0, len(block), STEP_BYTES))
    decoder, errors = _decoder(codec, memory_bytes)
    return _drain(decoder, errors, packed, limit, stop)


class _Gzip:
    """zlib's decompressor in the shape of the others."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(GZIP_WBITS)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def needs_input(self) -> bool:
        return not self._engine.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, limit: int) -> bytes:
        return self._engine.decompress(data or self._engine.unconsumed_tail, limit)


def _decoder(codec: str, memory_bytes: int) -> tuple[Any, tuple[type[Exception], ...]]:
    """The decoder of a codec, and what it raises for damaged data."""
    if codec == "gzip":
        return _Gzip(), (zlib.error,)
    if codec == "bzip2":
        import bz2

        return bz2.BZ2Decompressor(), (OSError, ValueError, EOFError)
    if codec == "zstd":
        from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

        window_log = min((memory_bytes - 1).bit_length(), ZSTD_WINDOW_LOG)
        return ZstdDecompressor(options={DecompressionParameter.window_log_max: window_log}), (ZstdError,)
    import lzma

    kind = lzma.FORMAT_XZ if codec == "xz" else lzma.FORMAT_ALONE
    return lzma.LZMADecompressor(kind, memlimit=memory_bytes), (lzma.LZMAError,)


def _drain(
    decoder: Any, errors: tuple[type[Exception], ...], packed: ByteStream, limit: int, stop: bool
) -> Iterator[bytes]:
    left = limit
    while not decoder.eof and (left or not stop):
        at, piece = packed.position, b""
        if decoder.needs_input:
            piece = packed.piece()
            if not piece:
                raise CutError("the compressed data ends early", at, found=f"{limit - left} bytes")
        try:
            out = decoder.decompress(piece, min(left + (not stop), STEP_BYTES))
        except errors as err:
            reason = str(err).rpartition(": ")[2][:200] or type(err).__name__  # without the library's own preface
            what = f"the compressed data is damaged: {reason}"
            raise UnpackError(what, at, expected=f"at most {limit} bytes", found=f"{limit - left} so far") from err
        if out and left:
            yield out[:left]
        if len(out) > left:
            raise TooLargeError("unpacks to more than it may", at, expected=f"at most {limit} bytes", found="more")
        left -= len(out)
    packed.give_back(decoder.unused_data)
