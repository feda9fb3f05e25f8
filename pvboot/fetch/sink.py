"""The destination of a transfer: an anonymous temporary file with a limit and a running checksum."""

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
    """Room for at most `limit_bytes` bytes of `where`, in order; the file is gone when its descriptor is closed."""

    def __init__(self, where: str, limit_bytes: int, checksum: Checksum | None) -> None:
        self.where = where
        self.limit_bytes = limit_bytes
        self.received = 0
        self._checksum = checksum
        self._file = tempfile.TemporaryFile(buffering=BUFFER_BYTES)  # noqa: SIM115 (closed in `close`)
        self.restart()

    def restart(self) -> None:
        """Forget the bytes received so far."""
        import hashlib

        self.received = 0
        self._hash = hashlib.new(self._checksum.algorithm) if self._checksum else None
        with _translated():
            self._file.seek(0)
            self._file.truncate()

    def expect(self, size: int) -> None:
        """Raise `FetchError` if a file of `size` bytes would not fit."""
        if size > self.limit_bytes:
            raise FetchError(
                "the file is too large",
                where=self.where,
                expected=f"at most {self.limit_bytes} bytes",
                found=f"{size} bytes",
            )

    def write(self, data: bytes) -> int:
        """Append bytes.  Raises `FetchError` above the limit, or if the disk of the temporary files is full."""
        self.expect(self.received + len(data))
        try:  # not `_translated`, which is dear for each block of TFTP
            self._file.write(data)
        except OSError as err:
            raise _full(err) from err
        if self._hash is not None:
            self._hash.update(data)
        self.received += len(data)
        return len(data)

    def finish(self, path: str) -> HostFile:
        """Return the complete file, called `path`.  Raises `ChecksumError`."""
        if self._checksum is not None and self._hash is not None:
            found = self._hash.hexdigest()
            if found != self._checksum.digest:
                name = self._checksum.algorithm
                raise ChecksumError(
                    "the checksum is wrong",
                    where=self.where,
                    expected=f"{name}={self._checksum.digest}",
                    found=f"{name}={found}",
                )
        with _translated():
            self._file.flush()
        return HostFile(path, FileSource(os.dup(self._file.fileno()), self.where, self.received))

    def close(self) -> None:
        """Close the descriptor; a finished file keeps its own."""
        with suppress(OSError):  # what is still buffered may not fit; nobody wants it any more
            self._file.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise _full(err) from err


def _full(err: OSError) -> FetchError:
    return FetchError(f"cannot write a temporary file: {err.strerror}", where=tempfile.gettempdir())
