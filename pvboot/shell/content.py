"""Reading files as GRUB's commands see them: gzip'd ones unpacked on the way, never whole in memory."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.light import TYPE_CHECKING
from pvboot import grub_errors
from pvboot.grub_errors import GrubError
from pvboot.unpack import ByteStream, UnpackError, codec_of, unpack

if TYPE_CHECKING:
    from fsdrivers.api import File

CHUNK_BYTES = 1 << 16
_GZIP_HEADER_BYTES = 10
_DEFLATED = 8
_UNSUPPORTED_FLAGS = 0xE2  # multi-part, encrypted, reserved bits


def content(file: File, limit: int) -> Iterator[bytes]:
    """At most `limit` bytes of the (unpacked) file, in pieces.

    Raises `GrubError` 4 for a gzip header that GRUB does not read, 3 for damaged gzip data.
    """
    header = file.read_at(0, _GZIP_HEADER_BYTES)
    if len(header) == _GZIP_HEADER_BYTES and codec_of(header) == "gzip":
        if header[2] != _DEFLATED or header[3] & _UNSUPPORTED_FLAGS:
            raise GrubError(grub_errors.BAD_GZIP_HEADER, f"{file.path}: method {header[2]}, flags {header[3]:#x}")
        try:
            yield from unpack("gzip", ByteStream(_stored(file)), limit, stop=True)
        except UnpackError as err:
            raise GrubError(grub_errors.BAD_GZIP_DATA, f"{file.path}: {err}") from err
        return
    left = limit
    for piece in _stored(file):
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


def _stored(file: File) -> Iterator[bytes]:
    offset = 0
    while piece := file.read_at(offset, CHUNK_BYTES):
        yield piece
        offset += len(piece)
