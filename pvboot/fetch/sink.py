"""The target of a transfer: an anonymous temporary file with a limit, and a running checksum."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from fsdrivers.blocks import FileSource
from fsdrivers.directory import HostFile
from pvboot.fetch.errors import ChecksumError, FetchError

if TYPE_CHECKING:
    from pvboot.fetch.urls import Checksum

BUFFER_BYTES: Final = 256 << 10  # TFTP brings 1432 bytes at a time


class Sink:
    """Takes at most `limit_bytes` bytes of `where`, in order; the file has no name and goes with its descriptor."""

    def __init__(self, where: str, limit_bytes: int, checksum: Checksum | None) -> None:
        self.where = where
        self.limit_bytes = limit_bytes
        self.received = 0
        self._checksum = checksum
        self._file = tempfile.TemporaryFile(buffering=BUFFER_BYTES)  # noqa: SIM115 (closed in `close`)
        self.restart()

    def restart(self) -> None:
        """Forget the bytes that came so far."""
        import hashlib

        self.received = 0
        self._hash = hashlib.new(self._checksum.algorithm) if self._checksum else None
        with _translated():
            self._file.seek(0)
            self._file.truncate()

    def expect(self, size: int) -> None:
        """Raise `FetchError` if a file of `size` bytes would not fit."""
        if size > self.limit_bytes:
            expected = f"at most {self.limit_bytes} bytes"
            raise FetchError("the file is too large", where=self.where, expected=expected, found=f"{size} bytes")

    def write(self, data: bytes) -> int:
        """Take further bytes.  Raises `FetchError` above the limit, or if the disk of the temporary files is full."""
        self.expect(self.received + len(data))
        try:  # not `_translated`, which is dear for each block of TFTP
            self._file.write(data)
        except OSError as err:
            raise unwritable(err) from err
        if self._hash is not None:
            self._hash.update(data)
        self.received += len(data)
        return len(data)

    def finish(self, path: str) -> HostFile:
        """The file, which is called `path`.  Raises `ChecksumError`."""
        if self._checksum is not None and self._hash is not None:
            name, wanted, found = self._checksum.algorithm, self._checksum.digest, self._hash.hexdigest()
            if found != wanted:
                raise ChecksumError(
                    "the checksum is wrong", where=self.where, expected=f"{name}={wanted}", found=f"{name}={found}"
                )
        with _translated():
            self._file.flush()
        return HostFile(path, FileSource(os.dup(self._file.fileno()), self.where, self.received))

    def close(self) -> None:
        """Give the descriptor back; what `finish` gave keeps its own."""
        with suppress(OSError):  # buffered bytes may not fit; nobody needs them
            self._file.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise unwritable(err) from err


def unwritable(err: OSError) -> FetchError:
    """The error for a temporary file that takes no more."""
    return FetchError(f"cannot write a temporary file: {err.strerror}", where=tempfile.gettempdir())
