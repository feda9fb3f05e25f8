"""What is inside an initrd: cpio archives one behind the other, each plain or compressed, as Linux unpacks them.

Source: init/initramfs.c and lib/decompress.c of Linux.  Nothing is kept but names and the few files asked for, and
both the packed and the unpacked bytes are bounded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pvboot.check.cpio import MAGICS, ArchiveError, ByteStream, StreamTooLongError, members

UNPACKED_LIMIT_BYTES: Final = 1 << 30
PACKED_LIMIT_BYTES: Final = 512 << 20
KEPT_LIMIT_BYTES: Final = 1 << 20  # of one file that is asked for
ARCHIVE_LIMIT: Final = 64
LZMA_MEMORY_BYTES: Final = 128 << 20
STEP_BYTES: Final = 1 << 20
LZ4_MAGIC: Final = b"\x02\x21\x4c\x18"
LZ4_BLOCK_BYTES: Final = 8 << 20  # what an archive of the legacy format holds in a block

# LZMA's mark is weak; it comes last.
_MAGICS: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (LZ4_MAGIC, "lz4"),
    (b"BZh", "bzip2"),
    (b"\x89LZO\0\r\n\x1a\n", "lzo"),
    (b"\x5d\0\0", "lzma"),
)


@dataclass(slots=True)
class Initrd:
    """`names` without leading `./` and `/`; `kept` are the contents that were asked for; `codecs` of its archives.

    `complete` is False if it was not read to its end (its size, or a compression that is not read here); `problem`
    says what is damaged.
    """

    names: set[str] = field(default_factory=set)
    kept: dict[str, bytes] = field(default_factory=dict)
    codecs: list[str] = field(default_factory=list)
    complete: bool = True
    problem: ArchiveError | None = None


def looks_like_initrd(head: bytes) -> bool:
    """Whether a file begins like something that Linux would unpack."""
    return head.startswith(MAGICS) or codec_of(head) is not None


def codec_of(head: bytes) -> str | None:
    """The compression whose mark `head` begins with."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)


def read_initrd(pieces: Iterator[bytes], where: str, keep: Callable[[str], bool]) -> Initrd:
    """Everything that can be told about an initrd; never raises for what its bytes say."""
    found = Initrd()
    packed = ByteStream(pieces, PACKED_LIMIT_BYTES)
    room = UNPACKED_LIMIT_BYTES
    try:
        for _ in range(ARCHIVE_LIMIT):
            _skip_zeros(packed)
            head = packed.peek(16)
            if not head:
                return found
            if head.startswith(MAGICS):
                room -= _read_archive(packed, found, where, keep)
                continue
            codec = codec_of(head)
            if codec is None:
                # GRUB and others may leave something behind the last archive; Linux complains and goes on.
                found.complete = bool(found.codecs)
                return found
            if codec == "lzo":
                found.complete = False
                return found
            found.codecs.append(codec)
            unpacked = ByteStream(_unpack(codec, packed, where), room)
            while True:
                _skip_zeros(unpacked)
                if not unpacked.peek(1):
                    break
                _read_archive(unpacked, found, f"{where} (unpacked)", keep, plain=False)
            room -= unpacked.position
    except StreamTooLongError:
        pass
    except ArchiveError as err:
        found.problem = err
    found.complete = False
    return found


def _read_archive(
    stream: ByteStream, found: Initrd, where: str, keep: Callable[[str], bool], *, plain: bool = True
) -> int:
    """Take in one archive; the bytes it took."""
    start = stream.position
    if plain:
        found.codecs.append("none")
    for member in members(stream, lambda name, size: size <= KEPT_LIMIT_BYTES and keep(_clean(name)), where):
        name = _clean(member.name)
        found.names.add(name)
        if member.data is not None:
            found.kept[name] = member.data
    return stream.position - start


def _clean(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _skip_zeros(stream: ByteStream) -> None:
    while (head := stream.peek(4096)) and not any(head):
        stream.read(len(head))
    zeros = len(head) - len(head.lstrip(b"\0"))
    stream.read(zeros)


# --- compressions -----------------------------------------------------------------------------------------


def _unpack(codec: str, packed: ByteStream, where: str) -> Iterator[bytes]:
    """The unpacked bytes of one stream; what lies behind it stays in `packed`."""
    if codec == "lz4":
        return _unlz4(packed, where)
    decoder, errors = _decoder(codec)
    return _drain(decoder, errors, packed, f"{where}, {codec} data")


def _decoder(codec: str) -> tuple[Any, tuple[type[Exception], ...]]:
    if codec == "gzip":
        return _Gzip(), (zlib.error,)
    if codec == "bzip2":
        import bz2

        return bz2.BZ2Decompressor(), (OSError, ValueError, EOFError)
    if codec == "zstd":
        from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

        return ZstdDecompressor(options={DecompressionParameter.window_log_max: 27}), (ZstdError,)
    import lzma

    kind = lzma.FORMAT_XZ if codec == "xz" else lzma.FORMAT_ALONE
    return lzma.LZMADecompressor(kind, memlimit=LZMA_MEMORY_BYTES), (lzma.LZMAError,)


class _Gzip:
    """zlib's decompressor in the shape of the others."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(31)

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


def _drain(decoder: Any, errors: tuple[type[Exception], ...], packed: ByteStream, where: str) -> Iterator[bytes]:
    while not decoder.eof:
        piece = b""
        if decoder.needs_input:
            piece = packed.piece()
            if not piece:
                raise ArchiveError("the compressed data ends early", where=where, found=f"byte {packed.position}")
        try:
            out = decoder.decompress(piece, STEP_BYTES)
        except errors as err:
            raise ArchiveError("the compressed data is damaged", where=where, found=str(err)[:200]) from err
        if out:
            yield out
    packed.give_back(decoder.unused_data)


def _unlz4(packed: ByteStream, where: str) -> Iterator[bytes]:
    """The legacy frame: a mark, then blocks with their packed length; another mark may stand between blocks."""
    import lz4.block

    packed.read(4)
    while len(word := packed.peek(4)) == 4:
        (size,) = struct.unpack("<I", word)
        if word == LZ4_MAGIC:
            packed.read(4)
            continue
        if not size or size > LZ4_BLOCK_BYTES + LZ4_BLOCK_BYTES // 255 + 16:
            return  # what follows is no block: zeros, or the next archive
        packed.read(4)
        block = packed.read(size)
        if len(block) < size:
            raise ArchiveError(
                "the compressed data ends early", where=f"{where}, lz4 data", found=f"byte {packed.position}"
            )
        try:
            yield lz4.block.decompress(block, uncompressed_size=LZ4_BLOCK_BYTES)
        except lz4.block.LZ4BlockError as err:
            raise ArchiveError("the compressed data is damaged", where=f"{where}, lz4 data", found=str(err)) from err
