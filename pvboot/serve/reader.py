"""The confined side: one process reads one image and says where the bytes of its files lie."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers import errors as fs_errors
from fsdrivers.api import BlockSource, Extent, Filesystem, Stat
from fsdrivers.blocks import FileSource, container_name
from fsdrivers.extents import joined
from fsdrivers.partitions import volumes
from fsdrivers.probe import probe
from pvboot.confine.child import Channel
from pvboot.errors import PvbootError
from pvboot.menu.dialects import search_order
from pvboot.serve import reader_codec as codec
from pvboot.serve.reader_codec import AnswerLimits, ImageError


def serve_image(channel: Channel, image_fd: int, about: tuple[str, int, list[int]]) -> None:
    """Answer requests about an image, whose name, size and limits of answers are `about`, until there are none."""
    name, size, limits = about
    image = ImageTree(FileSource(image_fd, name, size), AnswerLimits(*limits))
    while (head := channel.receive(codec.REQUEST.size)) is not None:
        volume, path_bytes = codec.REQUEST.unpack(head)
        path = channel.receive(path_bytes)
        if path is None:
            return
        try:
            channel.send(*image.answer(volume, path.decode("utf-8", "surrogateescape")))
        except PvbootError as err:
            channel.send("failure", f"{err.code} {err}")
        except MemoryError:
            channel.send("failure", f"{ImageError.code} the image asks for too much memory")


class ImageTree:
    """An image as one tree: the main volume at the top, every volume that can be read as `@NUMBER`."""

    def __init__(self, source: BlockSource, limits: AnswerLimits) -> None:
        self._source = source
        self._limits = limits
        self._mounted: dict[int, Filesystem] = {}
        self._problem: fs_errors.FsError | None = None
        self._main = codec.MAIN_VOLUME
        self._is_read = False

    def _read(self) -> None:
        """Mount all volumes, once."""
        if self._is_read:
            return
        self._is_read = True
        try:
            container = container_name(self._source)
            if container is not None:
                raise fs_errors.Unsupported("only raw images are served", where=self._source.name, found=container)
            found = volumes(self._source)
        except fs_errors.FsError as err:
            self._problem = err
            return
        for volume in found:
            try:
                self._mounted[volume.number] = probe(volume.source)
            except fs_errors.FsError as err:
                self._problem = self._problem or err
        with_menu = (number for number, filesystem in self._mounted.items() if _has_menu(filesystem))
        self._main = next(with_menu, next(iter(self._mounted), codec.MAIN_VOLUME))

    def answer(self, number: int, path: str) -> tuple[str, bytes]:
        """The answer to a request, a message.  Raises `FsError`, `ImageError`."""
        self._read()
        if not self._mounted:
            raise self._problem or fs_errors.UnknownFilesystem("no file system", where=self._source.name)
        filesystem = self._mounted.get(self._main if number == codec.MAIN_VOLUME else number)
        if filesystem is None:
            raise fs_errors.NotFound(
                "no such volume",
                where=self._source.name,
                expected=", ".join(f"@{known}" for known in self._mounted),
                found=f"@{number}",
            )
        facts = filesystem.lookup(path)
        if facts.kind == "dir":
            entries = _entries(filesystem, path, self._limits.names)
            if number == codec.MAIN_VOLUME and path == "/" and len(self._mounted) > 1:
                entries = [(b"@%d" % known, True, 0) for known in self._mounted] + entries
            return "directory", codec.pack_directory(entries)
        extents = _extents(filesystem, path, self._limits)
        return "file", codec.pack_file(sum(extent.length for extent in extents), facts.mtime, facts.inode, extents)


def _has_menu(filesystem: Filesystem) -> bool:
    for _dialect, path in search_order():
        try:
            filesystem.lookup(path)
        except fs_errors.FsError:
            continue
        return True
    return False


def _entries(filesystem: Filesystem, path: str, limit: int) -> list[tuple[bytes, bool, int]]:
    """Files and directories, also behind links; devices and links that lead nowhere are left out."""
    found: dict[bytes, tuple[bytes, bool, int]] = {}
    for entry in filesystem.listdir(path):
        facts: Stat | None = entry.stat
        if entry.stat.kind == "symlink":
            try:
                facts = filesystem.lookup(f"{path.rstrip('/')}/{entry.name}")
            except fs_errors.FsError:
                facts = None
        if facts is None or facts.kind not in ("file", "dir"):
            continue
        name = entry.name.encode("utf-8", "surrogateescape")
        if len(name) < 1 << 16 and name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name:
            found.setdefault(name, (name, facts.kind == "dir", facts.size if facts.kind == "file" else 0))
        if len(found) > limit:
            raise fs_errors.Unsupported("the directory has too many names", where=path, expected=f"at most {limit}")
    return list(found.values())


def _extents(filesystem: Filesystem, path: str, limits: AnswerLimits) -> list[Extent]:
    extents: list[Extent] = []
    data_bytes = 0
    for extent in _merged(joined(filesystem.open(path).extents())):
        extents.append(extent)
        data_bytes += 0 if extent.data is None else extent.length
        if len(extents) > limits.runs:
            raise fs_errors.Unsupported("the file is in too many pieces", where=path, expected=f"at most {limits.runs}")
        if data_bytes > limits.data_bytes:
            raise fs_errors.Unsupported(
                "too much of the file is not in the image as it is (compressed?)",
                where=path,
                expected=f"at most {limits.data_bytes} bytes",
            )
    return extents


def _merged(extents: Iterator[Extent]) -> Iterator[Extent]:
    """Neighbouring pieces of data made one."""
    pieces: list[bytes] = []
    for extent in extents:
        if extent.data is not None:
            pieces.append(extent.data)
            if len(pieces) < 256:
                continue
        if pieces:
            data = b"".join(pieces)
            yield Extent(len(data), data=data)
            pieces = []
        if extent.data is None:
            yield extent
    if pieces:
        data = b"".join(pieces)
        yield Extent(len(data), data=data)
