"""What LOCATION may be, and how kernel and ramdisk come from each into the result files."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import fsdrivers.directory
import fsdrivers.partitions
import fsdrivers.probe
from fsdrivers import errors as fs_errors
from fsdrivers.blocks import open_source as open_blocks
from fsdrivers.copy import copy_to_fd
from pvboot.devices import Devices, Disk
from pvboot.errors import BootError, PvbootError
from pvboot.libxl.netboot import trees
from pvboot.libxl.results import FILE_LIMIT_BYTES
from pvboot.sources import is_on_server

if TYPE_CHECKING:
    from fsdrivers.api import File, Filesystem
    from pvboot.confine.child import Channel
    from pvboot.fetch.fetch import Fetcher
    from pvboot.fetch.urls import Url
    from pvboot.libxl.netboot.options import Options


class Source(Protocol):
    """A place that kernel and ramdisk come from, and what the child that reads it may keep."""

    @property
    def keep(self) -> tuple[int, ...]:
        """Descriptors of an image."""

    @property
    def readable(self) -> tuple[str, ...]:
        """Directories of this host."""

    @property
    def fetches(self) -> bool:
        """Whether it takes the network."""

    def deliver(self, outputs: tuple[int, int], channel: Channel) -> None:
        """Write both files and send `kernel`, `ramdisk`.  Raises `PvbootError`."""


def open_location(options: Options) -> Source:
    """The place that the options name.  Raises `BootError` for one that cannot be fetched from, `FsError`."""
    location = options.location
    if location is None:
        assert options.kernel is not None
        return Separate(options.kernel, options.ramdisk)
    if is_on_server(location):
        from pvboot.fetch.urls import parse_url

        return Remote(parse_url(location.rstrip("/") + "/"), options.kernel, options.ramdisk)
    path = location
    scheme, colon, rest = location.partition(":")
    if colon and scheme.lower() == "file":
        path = rest.removeprefix("//")
        if not path.startswith("/"):
            raise BootError("a file URL names a host", where=location, expected="file:///path")
    elif colon and "/" not in scheme and not os.path.exists(location):
        raise BootError(
            "cannot fetch from here",
            where=location,
            expected="http, https, tftp or a local path",
            found=f"{scheme.lower()}:",
        )
    if os.path.isdir(path):
        return Directory(path, options.kernel, options.ramdisk)
    return Image(path, options.kernel, options.ramdisk)


def deliver(kernel: File, ramdisk: File | None, outputs: tuple[int, int], channel: Channel) -> None:
    """Check and copy both."""
    for what, file in (("kernel", kernel), ("ramdisk", ramdisk)):
        if file is None:
            continue
        if file.size > FILE_LIMIT_BYTES:
            raise BootError(
                f"the {what} is too large",
                where=file.path,
                expected=f"at most {FILE_LIMIT_BYTES} bytes",
                found=f"{file.size} bytes",
            )
        if not file.size:
            raise BootError(f"the {what} is empty", where=file.path)
        copied = copy_to_fd(file, outputs[what == "ramdisk"], regular=True)
        channel.send("note", f"{what} {file.path}, {copied} bytes")
    if ramdisk is not None:
        channel.send("ramdisk")
    channel.send("kernel")


@dataclass(frozen=True, slots=True)
class Directory:
    """A local directory."""

    path: str
    kernel: str | None
    ramdisk: str | None
    keep = ()
    fetches = False

    @property
    def readable(self) -> tuple[str, ...]:
        """See `Source`."""
        return (self.path,)

    def deliver(self, outputs: tuple[int, int], channel: Channel) -> None:
        """See `Source`."""
        filesystem = fsdrivers.directory.DirectoryFilesystem(self.path)
        deliver(*_from(filesystem, self.kernel, self.ramdisk), outputs, channel)


class Image:
    """A local image or block device, whose file systems are read without any right."""

    readable = ()
    fetches = False

    def __init__(self, path: str, kernel: str | None, ramdisk: str | None) -> None:
        self._blocks = open_blocks(path, raw=True)
        self._names = kernel, ramdisk

    @property
    def keep(self) -> tuple[int, ...]:
        """See `Source`."""
        fd = next(self._blocks.extents(0, 1)).fd
        assert fd is not None
        return (fd,)

    def deliver(self, outputs: tuple[int, int], channel: Channel) -> None:
        """The first volume that has what is wanted."""
        devices = Devices([Disk(self._blocks.name, self._blocks)])
        problem: Exception = BootError("no file system", where=self._blocks.name)
        for device in devices.candidates():
            try:
                found = _from(devices.mount(device), *self._names)
            except PvbootError as err:
                if isinstance(problem, BootError) and not isinstance(err, fs_errors.UnknownFilesystem):
                    problem = err
                continue
            deliver(*found, outputs, channel)
            return
        raise problem


@dataclass(frozen=True, slots=True)
class Remote:
    """A directory on a server."""

    url: Url
    kernel: str | None
    ramdisk: str | None
    keep = ()
    readable = ()
    fetches = True

    def deliver(self, outputs: tuple[int, int], channel: Channel) -> None:
        """See `Source`."""
        kernel: File
        ramdisk: File | None
        with closing(_fetcher(channel)) as fetcher:
            if self.kernel is not None:
                kernel, ramdisk = fetcher.fetch(self._below(self.kernel)), self._partner(fetcher)
            else:
                from pvboot.fetch.tree import UrlFilesystem

                kernel, ramdisk = trees.find_tree(UrlFilesystem(fetcher, self.url))
                if self.ramdisk is not None:
                    ramdisk = fetcher.fetch(self._below(self.ramdisk))
            deliver(kernel, ramdisk, outputs, channel)

    def _partner(self, fetcher: Fetcher) -> File | None:
        """The ramdisk that is named, or that belongs to the kernel."""
        assert self.kernel is not None
        if self.ramdisk is not None:
            return fetcher.fetch(self._below(self.ramdisk))
        name = trees.partner(self.kernel)
        try:
            return fetcher.fetch(self._below(name)) if name else None
        except fs_errors.NotFound:
            return None

    def _below(self, name: str) -> Url:
        from pvboot.fetch.urls import parse_url, read_checksum

        if is_on_server(name):
            return parse_url(name)
        path, _mark, fragment = name.partition("#")
        below = self.url.child(tuple(trees.join("", path)[1:].split("/")))
        return replace(below, checksum=read_checksum(fragment, str(below)) if fragment else None)


@dataclass(frozen=True, slots=True)
class Separate:
    """No location: each file by its own URL or path."""

    kernel: str
    ramdisk: str | None
    keep = ()

    @property
    def readable(self) -> tuple[str, ...]:
        """See `Source`."""
        names = [name for name in (self.kernel, self.ramdisk) if name and not is_on_server(name)]
        return tuple(os.path.dirname(os.path.abspath(name)) for name in names)

    @property
    def fetches(self) -> bool:
        """See `Source`."""
        return is_on_server(self.kernel) or is_on_server(self.ramdisk or "")

    def deliver(self, outputs: tuple[int, int], channel: Channel) -> None:
        """See `Source`."""
        with closing(_fetcher(channel)) if self.fetches else nullcontext() as fetcher:
            kernel = _one(self.kernel, fetcher)
            deliver(kernel, _one(self.ramdisk, fetcher) if self.ramdisk else None, outputs, channel)


def _one(name: str, fetcher: Fetcher | None) -> File:
    if fetcher is not None and is_on_server(name):
        from pvboot.fetch.urls import parse_url

        return fetcher.fetch(parse_url(name))
    folder, _slash, base = os.path.abspath(name).rpartition("/")
    return fsdrivers.directory.DirectoryFilesystem(folder or "/").open("/" + base)


def _from(filesystem: Filesystem, kernel: str | None, ramdisk: str | None) -> tuple[File, File | None]:
    """The named files, or those of the installation tree."""
    if kernel is None:
        found, partner = trees.find_tree(filesystem)
        return found, filesystem.open(trees.join("/", ramdisk)) if ramdisk else partner
    file = filesystem.open(trees.join("/", kernel))
    if ramdisk is not None:
        return file, filesystem.open(trees.join("/", ramdisk))
    name = trees.partner(kernel)
    try:
        return file, filesystem.open(trees.join("/", name)) if name else None
    except (fs_errors.NotFound, fs_errors.NotADirectory):
        return file, None


def _fetcher(channel: Channel) -> Fetcher:
    from pvboot.fetch.fetch import Fetcher
    from pvboot.fetch.settings import NetSettings

    return Fetcher(NetSettings(file_limit_bytes=FILE_LIMIT_BYTES, report=lambda text: channel.send("note", text)))
