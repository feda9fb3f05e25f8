"""Sources of bytes: raw image files, block devices, slices of them, files in them, and bytes in memory."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator

from fsdrivers.api import BlockSource, Extent, File
from fsdrivers.errors import SourceError, Unsupported
from fsdrivers.extents import cut

# One system call never moves more than this (Linux stops at 2 GiB - 4 KiB by itself).
MAX_TRANSFER_BYTES = 1 << 30
SHORT_READ = "short read (was the image cut while being read?)"

# Containers whose content is not the disk's: reading them as raw would find nothing and explain nothing.
# (offset, magic, name); a negative offset counts from the end.
CONTAINER_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"QFI\xfb", "qcow2 (or qcow) image"),
    (0, b"QED\0", "QED image"),
    (0, b"conectix", "VHD image"),
    (-512, b"conectix", "fixed VHD image"),
    (-511, b"conectix", "fixed VHD image"),
    (0, b"vhdxfile", "VHDX image"),
    (0, b"KDMV", "VMDK image"),
    (0, b"COWD", "VMDK image"),
    (0, b"# Disk DescriptorFile", "VMDK descriptor"),
    (0x40, b"\x7f\x10\xda\xbe", "VDI image"),
    (0, b"\x1f\x8b\x08", "gzip compressed file"),
    (0, b"\xfd7zXZ\0", "xz compressed file"),
    (0, b"\x28\xb5\x2f\xfd", "zstd compressed file"),
    (0, b"\x04\x22\x4d\x18", "lz4 compressed file"),
    (0, b"BZh91AY&SY", "bzip2 compressed file"),
)


def check_range(name: str, source_size: int, offset: int, size: int) -> None:
    """`SourceError` unless `offset`, `size` lie inside a source of `source_size` bytes."""
    if offset < 0 or size < 0 or offset + size > source_size:
        found = f"{max(0, source_size - max(0, offset))} bytes"
        where = f"{name}: byte {offset:#x}"
        raise SourceError("read outside the source", where=where, expected=f"{size} bytes", found=found)


def check_length(data: bytes, size: int, where: str, what: str = SHORT_READ) -> None:
    """`SourceError` unless as many bytes came as were asked for."""
    if len(data) != size:
        raise SourceError(what, where=where, expected=f"{size} bytes", found=f"{len(data)} bytes")


class Source(ABC):
    """A block source that checks every range before it is read."""

    __slots__ = ("name", "size")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; `SourceError` if any of them is outside or unreadable."""
        check_range(self.name, self.size, offset, size)
        return self._read(offset, size)

    def extents(self, offset: int, size: int) -> Iterator[Extent]:
        """The runs behind the range, in order, adding up to exactly `size`."""
        check_range(self.name, self.size, offset, size)
        return self._extents(offset, size)

    def close(self) -> None:  # noqa: B027 (most own nothing)
        """Close the descriptors that are this source's own."""

    @abstractmethod
    def _read(self, offset: int, size: int) -> bytes: ...

    def _extents(self, offset: int, size: int) -> Iterator[Extent]:
        """The bytes themselves, unless there is something better."""
        if size:
            yield Extent(size, data=self._read(offset, size))


class FileSource(Source):
    """A raw image file or a block device, read with pread; owns its descriptor."""

    __slots__ = ("_fd", "sector_size")

    def __init__(self, fd: int, name: str, size: int, sector_size: int | None = None) -> None:
        super().__init__(name, size)
        self._fd = fd
        self.sector_size = sector_size

    def _read(self, offset: int, size: int) -> bytes:
        data = self._pread(size, offset)
        if len(data) == size:
            return data
        pieces, done = [data], len(data)
        while done < size and data:
            data = self._pread(size - done, offset + done)
            pieces.append(data)
            done += len(data)
        data = b"".join(pieces)
        check_length(data, size, f"{self.name}: byte {offset:#x}")
        return data

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, min(size, MAX_TRANSFER_BYTES), offset)
        except OSError as err:
            raise SourceError(f"cannot read: {err.strerror}", where=f"{self.name}: byte {offset:#x}") from err

    def _extents(self, offset: int, size: int) -> Iterator[Extent]:
        if size:
            yield Extent(size, fd=self._fd, offset=offset)

    def fileno(self) -> int:
        """The descriptor, which stays this source's."""
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SliceSource(Source):
    """A part of another source: a partition.  Closing it leaves the whole source open."""

    __slots__ = ("_offset", "_parent")

    def __init__(self, parent: BlockSource, offset: int, size: int, name: str) -> None:
        check_range(parent.name, parent.size, offset, size)
        super().__init__(name, size)
        self._parent = parent
        self._offset = offset

    def _read(self, offset: int, size: int) -> bytes:
        return self._parent.read_at(self._offset + offset, size)

    def _extents(self, offset: int, size: int) -> Iterator[Extent]:
        return self._parent.extents(self._offset + offset, size)


class LoopSource(Source):
    """The content of a file of a mounted file system: a disk image on a disk.  The file's own disk stays open."""

    __slots__ = ("_file",)

    def __init__(self, file: File, name: str) -> None:
        super().__init__(name, file.size)
        self._file = file

    def _read(self, offset: int, size: int) -> bytes:
        data = self._file.read_at(offset, size)
        check_length(data, size, f"{self.name}: byte {offset:#x}", "short read")
        return data

    def _extents(self, offset: int, size: int) -> Iterator[Extent]:
        return cut(self._file.extents(), offset, size)


class SourceFile:
    """The whole of a source as a file."""

    __slots__ = ("_source", "path", "size")

    def __init__(self, source: BlockSource, path: str | None = None) -> None:
        self._source = source
        self.path = source.name if path is None else path
        self.size = source.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end."""
        length = min(size, self.size - offset)
        return self._source.read_at(offset, length) if offset >= 0 and length > 0 else b""

    def extents(self) -> Iterator[Extent]:
        """The whole source."""
        return self._source.extents(0, self.size)


class MemorySource(Source):
    """Bytes in memory as a source."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes, name: str = "memory") -> None:
        super().__init__(name, len(data))
        self._data = data

    def _read(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset : offset + size])


def container_name(source: BlockSource) -> str | None:
    """The name of the image container or compression that the source is wrapped in, None for plain bytes."""
    head = source.read_at(0, min(512, source.size))
    tail = source.read_at(source.size - min(512, source.size), min(512, source.size))
    for offset, magic, name in CONTAINER_MAGICS:
        block, start = (head, offset) if offset >= 0 else (tail, len(tail) + offset)
        if start >= 0 and block[start : start + len(magic)] == magic:
            return name
    return None


def refuse_container(source: BlockSource) -> None:
    """Raise `Unsupported` for containers, whose bytes are not the disk's."""
    container = container_name(source)
    if container is not None:
        what = f"the source is a {container}, which is not read yet"
        raise Unsupported(what, where=source.name, expected="a raw disk image", found=container)


def open_source(path_or_fd: str | os.PathLike[str] | int, *, name: str | None = None, raw: bool = False) -> BlockSource:
    """Open an image file or block device read-only as a source of its disk's bytes.

    A descriptor given as an int is duplicated and stays the caller's.  `raw=True` takes the bytes as they are
    even if they look like a container: a guest can write such a header on its own raw disk.
    Raises `SourceError` if it cannot be opened or has no bytes, `Unsupported` naming a container format.
    """
    label = name if name is not None else f"fd {path_or_fd}" if isinstance(path_or_fd, int) else os.fspath(path_or_fd)
    fd = _open_descriptor(path_or_fd, label)
    try:
        source = FileSource(fd, label, _size_of(fd, label), _sector_size_of(fd))
        if not raw:
            refuse_container(source)
    except BaseException:
        os.close(fd)
        raise
    return source


def _open_descriptor(path_or_fd: str | os.PathLike[str] | int, label: str) -> int:
    try:
        if isinstance(path_or_fd, int):
            import fcntl

            return int(fcntl.fcntl(path_or_fd, fcntl.F_DUPFD_CLOEXEC, 0))
        # O_NONBLOCK: opening a FIFO that nobody writes must not hang; it changes nothing for files and devices.
        return os.open(path_or_fd, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise SourceError(f"cannot open: {err.strerror}", where=label) from err
    except ValueError as err:
        raise SourceError("cannot open: not a file name", where=repr(label)) from err


def _size_of(fd: int, label: str) -> int:
    """Size in bytes by seeking to the end: stat says 0 for a block device."""
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        kind = "a directory" if stat.S_ISDIR(mode) else "a special file"
        raise SourceError("not a disk image", where=label, expected="a regular file or block device", found=kind)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
    except OSError as err:
        raise SourceError(f"cannot find its size: {err.strerror}", where=label) from err
    if size == 0:
        raise SourceError("the source is empty", where=label, expected="a disk image", found="0 bytes")
    return size


def _sector_size_of(fd: int) -> int | None:
    """Logical sector size of a block device in bytes, None for a file (whose sector size nobody noted)."""
    if not stat.S_ISBLK(os.fstat(fd).st_mode):
        return None
    import array
    import fcntl

    sector_size = array.array("i", [0])
    try:
        fcntl.ioctl(fd, 0x1268, sector_size)  # BLKSSZGET, linux/fs.h
    except OSError as err:
        if err.errno in (errno.ENOTTY, errno.EINVAL, errno.EPERM):
            return None
        raise
    return sector_size[0]
