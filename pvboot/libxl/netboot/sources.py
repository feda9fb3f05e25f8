"""The kinds of LOCATION, and the ways of kernel and ramdisk from each into the result files."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import fsdrivers.directory
import fsdrivers.partitions
import fsdrivers.probe
from fsdrivers import errors as fs_errors
from fsdrivers.blocks import open_source as open_blocks
from fsdrivers.light import TYPE_CHECKING, NamedTuple, replace
from pvboot.devices import Devices, Disk
from pvboot.errors import BootError, PvbootError
from pvboot.libxl.netboot import trees
from pvboot.libxl.results import FILE_LIMIT_BYTES
from pvboot.sources import is_on_server

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource, File, Filesystem
    from pvboot.fetch.fetch import Fetcher
    from pvboot.fetch.urls import Url
    from pvboot.libxl.netboot.options import Options

# Where transfers are told.
Tell = Callable[[str], object]


class Source(NamedTuple):
    """A place that kernel and ramdisk come from.

    `find` opens both, in the child; that keeps the descriptors `keep`, reads below `readable`, and with `fetches` has
    the network.
    """

    find: Callable[[Tell], tuple[File, File | None]]
    keep: tuple[int, ...] = ()
    readable: tuple[str, ...] = ()
    fetches: bool = False


def open_location(options: Options) -> Source:
    """The place that the options name.  Raises `BootError` for one that cannot be fetched from, `FsError`."""
    location, kernel, ramdisk = options.location, options.kernel, options.ramdisk
    if location is None:
        assert kernel is not None
        names = [name for name in (kernel, ramdisk) if name]
        local = tuple(os.path.dirname(os.path.abspath(name)) for name in names if not is_on_server(name))
        return Source(partial(_each_alone, names), readable=local, fetches=any(map(is_on_server, names)))
    if is_on_server(location):
        from pvboot.fetch.urls import parse_url

        url = parse_url(location.rstrip("/") + "/")
        return Source(partial(_below_url, url, kernel, ramdisk), fetches=True)
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
        return Source(partial(_in_directory, path, kernel, ramdisk), readable=(path,))
    blocks = open_blocks(path, raw=True)
    fd = next(blocks.extents(0, 1)).fd
    assert fd is not None
    return Source(partial(_in_image, blocks, kernel, ramdisk), keep=(fd,))


def _in_directory(path: str, kernel: str | None, ramdisk: str | None, _tell: Tell) -> tuple[File, File | None]:
    return _from(fsdrivers.directory.DirectoryFilesystem(path), kernel, ramdisk)


def _in_image(blocks: BlockSource, kernel: str | None, ramdisk: str | None, _tell: Tell) -> tuple[File, File | None]:
    """The files on the first volume that has what is wanted."""
    devices = Devices([Disk(blocks.name, blocks)])
    problem: Exception = BootError("no file system", where=blocks.name)
    for device in devices.candidates():
        try:
            return _from(devices.mount(device), kernel, ramdisk)
        except PvbootError as err:
            if isinstance(problem, BootError) and not isinstance(err, fs_errors.UnknownFilesystem):
                problem = err
    raise problem


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


def _below_url(url: Url, kernel: str | None, ramdisk: str | None, tell: Tell) -> tuple[File, File | None]:
    """The files in a directory on a server, or those of the installation tree there."""
    fetcher = _fetcher(tell)
    if kernel is None:
        from pvboot.fetch.tree import UrlFilesystem

        found, partner = trees.find_tree(UrlFilesystem(fetcher, url))
        return found, fetcher.fetch(_below(url, ramdisk)) if ramdisk else partner
    file = fetcher.fetch(_below(url, kernel))
    if ramdisk is not None:
        return file, fetcher.fetch(_below(url, ramdisk))
    name = trees.partner(kernel)
    try:
        return file, fetcher.fetch(_below(url, name)) if name else None
    except fs_errors.NotFound:
        return file, None


def _below(base: Url, name: str) -> Url:
    from pvboot.fetch.urls import parse_url, read_checksum

    if is_on_server(name):
        return parse_url(name)
    path, _mark, fragment = name.partition("#")
    below = base.child(tuple(trees.join("", path)[1:].split("/")))
    return replace(below, checksum=read_checksum(fragment, str(below)) if fragment else None)


def _each_alone(names: list[str], tell: Tell) -> tuple[File, File | None]:
    """Files that are named by URLs and paths of their own."""
    files: list[File] = []
    for name in names:
        if is_on_server(name):
            from pvboot.fetch.urls import parse_url

            files.append(_fetcher(tell).fetch(parse_url(name)))
        else:
            folder, _slash, base = os.path.abspath(name).rpartition("/")
            files.append(fsdrivers.directory.DirectoryFilesystem(folder or "/").open("/" + base))
    return files[0], files[1] if len(files) > 1 else None


def _fetcher(tell: Tell) -> Fetcher:
    from pvboot.fetch.fetch import Fetcher
    from pvboot.fetch.settings import NetSettings

    return Fetcher(NetSettings(file_limit_bytes=FILE_LIMIT_BYTES, report=tell))
