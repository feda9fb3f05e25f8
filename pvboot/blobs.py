"""Files on their way into a domain: read in pieces, never held whole where a file can be read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fsdrivers.api import File
from fsdrivers.light import Final
from pvboot.errors import BootError
from pvboot.kexec.layout import Blob, BytesBlob
from pvboot.unpack import ByteStream, TooLargeError, UnpackError, codec_of, unpack

CHUNK_BYTES: Final = 4 << 20
MAX_UNPACKED_BYTES: Final = 1 << 30  # what Xen's own builder allows a ramdisk to unpack to
XEN_GZIP_SLACK: Final = 16  # older builders add these zero bytes behind what they unpack


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A file, read in chunks whenever it is placed."""

    file: File

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.file.size

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """Pieces of at most 4 MiB."""
        for offset in range(0, self.file.size, CHUNK_BYTES):
            data = self.file.read_at(offset, CHUNK_BYTES)
            if len(data) != min(CHUNK_BYTES, self.file.size - offset):
                raise BootError(
                    "the file ends early",
                    where=f"{self.file.path}, byte {offset}",
                    expected=f"{self.file.size} bytes",
                    found=f"{offset + len(data)}",
                )
            yield offset, memoryview(data)


@dataclass(frozen=True, slots=True)
class PaddedBlob:
    """Bytes followed by zeros up to `size`."""

    data: bytes | bytearray
    size: int

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """The data, then zeros in pieces of at most 4 MiB."""
        yield 0, memoryview(self.data)
        for offset in range(len(self.data), self.size, CHUNK_BYTES):
            yield offset, memoryview(bytes(min(CHUNK_BYTES, self.size - offset)))


@dataclass(frozen=True, slots=True)
class JoinedBlob:
    """Blobs one behind the other, each starting on a multiple of four bytes (as cpio archives are joined)."""

    parts: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """Size in bytes, gaps included."""
        return sum(-(-part.size // 4) * 4 for part in self.parts[:-1]) + self.parts[-1].size

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """All parts and the zeros between them."""
        start = 0
        for part in self.parts:
            for offset, data in part.chunks():
                yield start + offset, data
            end = start + part.size
            start = -(-end // 4) * 4
            if part is not self.parts[-1] and start > end:
                yield end, memoryview(bytes(start - end))


def join_ramdisks(blobs: Sequence[Blob]) -> Blob:
    """Join several ramdisks as boot loaders do; a single one stays as it is."""
    return blobs[0] if len(blobs) == 1 else JoinedBlob(tuple(blobs))


def read_whole(blob: Blob, limit: int, what: str) -> bytearray:
    """Read all bytes of a blob.  Raises `BootError` if there are more than `limit`."""
    if blob.size > limit:
        raise BootError(f"{what} is too large", expected=f"at most {limit} bytes", found=f"{blob.size} bytes")
    data = bytearray(blob.size)
    for offset, chunk in blob.chunks():
        data[offset : offset + len(chunk)] = chunk
    return data


def gunzip(blob: Blob, limit: int = MAX_UNPACKED_BYTES) -> Blob:
    """Unpack a gzip file (all members), at most `limit` bytes; anything else is handed back as it is."""
    packed, output = ByteStream(bytes(chunk) for _, chunk in blob.chunks()), bytearray()
    if codec_of(packed.peek(2)) != "gzip":
        return blob
    try:
        while codec_of(packed.peek(2)) == "gzip":
            for piece in unpack("gzip", packed, limit - len(output)):
                output += piece
    except TooLargeError as err:
        raise BootError("a compressed file is too large", expected=f"at most {limit} bytes unpacked") from err
    except UnpackError as err:
        raise BootError("a gzip file is damaged or cut off", found=f"{err.what}, {err.found}") from err
    return BytesBlob(memoryview(output))


def ramdisk_of_old_builders(blob: Blob, limit: int = MAX_UNPACKED_BYTES) -> Blob:
    """Unpack a gzip'd ramdisk as domain builders before Xen 4.20 do, with 16 zero bytes behind it.

    The length comes from the last four bytes.  As there, the file is handed over raw if that length is above 1 GiB,
    or if it does not unpack into the space reserved (the larger of both lengths) and the raw bytes fit.
    """
    data = read_whole(blob, limit, "the ramdisk")
    unpacked_bytes = int.from_bytes(data[-4:], "little")
    if len(data) < 6 or codec_of(bytes(data[:2])) != "gzip" or unpacked_bytes > limit:
        return BytesBlob(memoryview(data))
    reserved = max(unpacked_bytes + XEN_GZIP_SLACK, len(data))
    try:
        pieces = unpack("gzip", ByteStream.of(memoryview(data)), min(reserved, limit + XEN_GZIP_SLACK))
        return PaddedBlob(b"".join(pieces), reserved)
    except UnpackError:
        return PaddedBlob(data, reserved)
