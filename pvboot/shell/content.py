"""Reading files as GRUB's commands see them: gzip'd ones unpacked on the way, never whole in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pvboot import grub_errors
from pvboot.grub_errors import GrubError

if TYPE_CHECKING:
    from fsdrivers.api import File

CHUNK_BYTES = 1 << 16
_GZIP_HEADER_BYTES = 10
_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATED = 8
_UNSUPPORTED_FLAGS = 0xE2  # multi-part, encrypted, reserved bits


def content(file: File, limit: int) -> Iterator[bytes]:
    """At most `limit` bytes of the (unpacked) file, in pieces.

    Raises `GrubError` 4 for a gzip header that GRUB does not read, 3 for damaged gzip data.
    """
    header = file.read_at(0, _GZIP_HEADER_BYTES)
    pieces = _stored(file)
    if len(header) == _GZIP_HEADER_BYTES and header.startswith(_GZIP_MAGIC):
        if header[2] != _DEFLATED or header[3] & _UNSUPPORTED_FLAGS:
            raise GrubError(grub_errors.BAD_GZIP_HEADER, f"{file.path}: method {header[2]}, flags {header[3]:#x}")
        pieces = _unpacked(file)
    left = limit
    for piece in pieces:
        yield piece[:left]
        left -= min(left, len(piece))
        if not left:
            return


def _stored(file: File) -> Iterator[bytes]:
    offset = 0
    while piece := file.read_at(offset, CHUNK_BYTES):
        yield piece
        offset += len(piece)


def _unpacked(file: File) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        for piece in _stored(file):
            while piece and not unpacker.eof:
                yield unpacker.decompress(piece, CHUNK_BYTES)
                piece = unpacker.unconsumed_tail
            if unpacker.eof:
                return
        yield unpacker.flush()
    except zlib.error as err:
        raise GrubError(grub_errors.BAD_GZIP_DATA, f"{file.path}: {err}") from err
    if not unpacker.eof:
        raise GrubError(grub_errors.BAD_GZIP_DATA, f"{file.path}: ends before its compressed data do")
