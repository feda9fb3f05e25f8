"""A source whose files are open: what a checker gets that may open none itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsdrivers.api import BlockSource, Extent
from fsdrivers.blocks import FileSource

if TYPE_CHECKING:
    from fsdrivers.api import File
    from pvboot.check.model import CheckOptions
    from pvboot.devices import Devices


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """`menu` is set for a plain menu file, whose guest's disks (`--disk`) are `devices`; `fds` are all descriptors.

    `confinable` is False if reading takes more than these descriptors: a directory, or a source on the network.
    """

    devices: Devices
    menu: File | None = None
    fds: tuple[int, ...] = ()
    confinable: bool = True
    text: BlockSource | None = None

    def close(self) -> None:
        """Give all descriptors back."""
        self.devices.close()
        if self.text is not None:
            self.text.close()


class PlainFile:
    """A whole block source as a file: a menu that is no part of a disk."""

    __slots__ = ("_source", "path")

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self.path = source.name

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._source.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        size = max(0, min(size, self.size - offset))
        return self._source.read_at(offset, size) if size else b""  # an empty file's descriptor is not kept: no extents

    def extents(self) -> Iterator[Extent]:
        """The whole file."""
        return self._source.extents(0, self.size)


def open_for_check(source: str, options: CheckOptions) -> OpenedSource:
    """Open a source and its further disks.  Raises `FsError`, `PvbootError`."""
    from pvboot.check.sources import is_text
    from pvboot.devices import Devices, open_devices

    if "://" in source:
        return _open_url(source, options)
    if not is_text(source):
        devices = open_devices(source, options.disks)
        return OpenedSource(devices, None, _descriptors(devices), _is_confinable(devices))
    disks = open_devices(options.disks[0], options.disks[1:]).disks if options.disks else ()
    devices = Devices(disks, source_name=source, menu_file=source)
    try:
        text = _open_text(source)
    except BaseException:
        devices.close()
        raise
    fds = (*_descriptors(devices), *_fds_of(text))
    return OpenedSource(devices, PlainFile(text), fds, _is_confinable(devices), text)


def _open_url(url: str, options: CheckOptions) -> OpenedSource:
    """An image or a menu on a server; a small object that looks like text is a menu."""
    from pvboot.check.sources import SNIFFED_BYTES, looks_like_text
    from pvboot.check.subject import TEXT_LIMIT_BYTES
    from pvboot.devices import Devices, open_devices

    devices = open_devices(url, options.disks)
    disk = devices.disks[0].source if devices.disks else None
    if disk is None or disk.size > TEXT_LIMIT_BYTES:
        return OpenedSource(devices, confinable=False)
    if not looks_like_text(disk.read_at(0, min(disk.size, SNIFFED_BYTES))):
        return OpenedSource(devices, confinable=False)
    others = Devices(devices.disks[1:], source_name=url, menu_file=url)
    return OpenedSource(others, PlainFile(disk), confinable=False, text=disk)


def _open_text(path: str) -> FileSource:
    from fsdrivers.errors import SourceError

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise SourceError(f"cannot be read: {err.strerror}", where=path) from err
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):  # changed since it was looked at
        os.close(fd)
        raise SourceError("not a file any more", where=path)
    return FileSource(fd, path, status.st_size)


def _descriptors(devices: Devices) -> tuple[int, ...]:
    return tuple(fd for disk in devices.disks if disk.source is not None for fd in _fds_of(disk.source))


def _fds_of(source: BlockSource) -> tuple[int, ...]:
    fds = (extent.fd for extent in source.extents(0, min(1, source.size)))
    return tuple(fd for fd in fds if fd is not None)


def _is_confinable(devices: Devices) -> bool:
    return all(disk.source is not None and bool(_fds_of(disk.source)) for disk in devices.disks)
