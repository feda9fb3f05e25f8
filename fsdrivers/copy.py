"""Copying files out of a volume, by the operating system where it can."""

from __future__ import annotations

import errno
import os
import stat
from itertools import groupby, islice

from fsdrivers.api import Extent, File
from fsdrivers.blocks import SHORT_READ, check_length
from fsdrivers.errors import FsError, SourceError

CHUNK_BYTES = 1 << 20
# One pwritev takes at most IOV_MAX (1024) pieces; small runs are gathered so that a scattered file costs one
# system call a run and not two.
GATHER_RUNS = 256
GATHER_RUN_BYTES = 64 << 10
ZEROS = bytes(64 << 10)
# What a kernel answers when it cannot copy between these two descriptors; anything else is a real failure.
NOT_SUPPORTED = frozenset({errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EPERM})


class CopyError(FsError):
    """The destination cannot be written."""

    code = "copy-error"
    exit_code = 1


def copy_to_fd(file: File, out_fd: int, *, regular: bool | None = None) -> int:
    """Write the whole file to `out_fd` from its current position; returns the number of bytes.

    Into a regular file, holes stay holes and the file ends behind the copy; a pipe gets zeros.  `regular` says
    that the destination is a regular file not opened for appending, for callers that may not ask (a confined
    process has no fstat).  Raises `CopyError` for the destination, driver errors for the source.
    """
    seekable = regular
    if seekable is None:
        seekable = stat.S_ISREG(os.fstat(out_fd).st_mode) and not _appends(out_fd)
    try:
        for small, parts in groupby(file.extents(), _is_small_run):
            while small and (batch := list(islice(parts, GATHER_RUNS))):
                _write_gathered(out_fd, batch)
            for part in parts:
                if part.data is not None:
                    _write(out_fd, part.data)
                elif part.fd is not None:
                    _copy_run(part.fd, part.offset, part.length, out_fd, file.path)
                elif seekable:
                    os.lseek(out_fd, part.length, os.SEEK_CUR)
                else:
                    _write_zeros(out_fd, part.length)
        if seekable:
            # A hole at the end, or what stood in the destination before.
            os.ftruncate(out_fd, os.lseek(out_fd, 0, os.SEEK_CUR))
    except OSError as err:
        raise CopyError(f"cannot write: {err.strerror}", where=file.path) from err
    return file.size


def _appends(fd: int) -> bool:
    """Whether every write goes to the end, so that seeking over a hole would be lost."""
    import fcntl

    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


def _is_small_run(extent: Extent) -> bool:
    return extent.fd is not None and extent.length <= GATHER_RUN_BYTES


def _write_gathered(out_fd: int, runs: list[Extent]) -> None:
    pieces = [_read(run.fd, run.length, run.offset) for run in runs if run.fd is not None]
    total = sum(map(len, pieces))
    written = os.writev(out_fd, pieces)
    if written < total:
        _write(out_fd, b"".join(pieces)[written:])


def _copy_run(in_fd: int, offset: int, length: int, out_fd: int, where: str) -> None:
    """One run: copy_file_range (which may share blocks), else sendfile, else through memory."""
    start, end = offset, offset + length
    for copy in (_copy_file_range, os.sendfile):
        try:
            while offset < end:
                done = copy(out_fd, in_fd, offset, min(end - offset, 1 << 30))
                if not done:
                    raise SourceError(
                        SHORT_READ, where=where, expected=f"{length} bytes", found=f"{offset - start} bytes"
                    )
                offset += done
            return
        except OSError as err:
            if err.errno not in NOT_SUPPORTED:
                raise
    while offset < end:
        data = _read(in_fd, min(CHUNK_BYTES, end - offset), offset)
        _write(out_fd, data)
        offset += len(data)


def _copy_file_range(out_fd: int, in_fd: int, offset: int, count: int) -> int:
    return os.copy_file_range(in_fd, out_fd, count, offset_src=offset)


def _read(fd: int, size: int, offset: int) -> bytes:
    """Exactly `size` bytes; the source's own errors are not the destination's."""
    try:
        data = os.pread(fd, size, offset)
    except OSError as err:
        raise SourceError(f"cannot read: {err.strerror}", where=f"byte {offset:#x}") from err
    check_length(data, size, f"byte {offset:#x}")
    return data


def _write(out_fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out_fd, view) :]


def _write_zeros(out_fd: int, length: int) -> None:
    while length:
        length -= os.write(out_fd, ZEROS[: min(length, len(ZEROS))])
