"""Disk images as trees: one confined reader an image, its answers remembered, and started anew when the image changes.

The server itself never looks into an image.  It sends what the reader's checked answers point to, straight out of the
image's own descriptor.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import astuple
from weakref import WeakValueDictionary

from fsdrivers.api import Extent
from fsdrivers.errors import NotFound, SourceError
from pvboot.confine import preload
from pvboot.confine.fork_server import ForkServer
from pvboot.confine.jobs import JobLimits, SandboxError
from pvboot.confine.parent import Child, cpu_seconds_of
from pvboot.serve import reader_codec as codec
from pvboot.serve.content_types import content_type_of
from pvboot.serve.limits import Count, Seconds
from pvboot.serve.reader import serve_image
from pvboot.serve.reader_codec import AnswerLimits, Found, FoundDirectory, FoundFile, ImageError, reader_job
from pvboot.validation import Model

_NAME_CHARACTERS = 1000
SLOW_SECONDS = 0.3  # CPU time of an answer; nearly all take less than a hundredth of it
_DEVICE_SECONDS = 5  # a block device's content changes without its times: it is read anew so often


class ImageLimits(Model):
    """`readers` are images (and processes) at once; `parse_seconds` of CPU and `wall_seconds` for one answer,
    `cpu_seconds` and `memory_bytes` for one reader; `runs`, `data_bytes` and `names` as in `AnswerLimits`; of each
    image `cache_bytes` of answers are remembered.  After `failures` in a row an image is left alone for
    `pause_seconds`."""

    readers: Count = 32
    parse_seconds: Seconds = 1.5
    wall_seconds: Seconds = 10.0
    cpu_seconds: Count = 600
    memory_bytes: Count = 256 << 20
    runs: Count = 1 << 17
    data_bytes: Count = 64 << 20
    names: Count = 100_000
    cache_bytes: Count = 4 << 20
    failures: Count = 3
    pause_seconds: Seconds = 30.0


def start_fork_server() -> ForkServer:
    """The process that starts readers; to be made before the first thread."""
    preload.preload("image-reader")
    return ForkServer(reader_job(AnswerLimits()), serve_image)


# Device, inode, size, mtime and ctime in nanoseconds: another one is another image.
ImageKey = tuple[int, int, int, int, int]


def key_of(facts: os.stat_result, size: int) -> ImageKey:
    """The identity of an image's present content."""
    if stat.S_ISBLK(facts.st_mode):
        return facts.st_rdev, 0, size, int(time.monotonic() / _DEVICE_SECONDS), 0
    return facts.st_dev, facts.st_ino, size, facts.st_mtime_ns, facts.st_ctime_ns


class ImageFile:
    """A file inside an image, open for sending; it keeps the image's descriptor open."""

    def __init__(self, path: str, image: Image, found: FoundFile, volume: int) -> None:
        self.size = found.size
        self.mtime: float | None = float(found.mtime)
        self.content_type = content_type_of(path)
        facts = (*image.key, volume, found.inode, found.mtime, found.size)
        self.etag = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        self._held: tuple[Image, FoundFile] | None = (image, found)

    def extents(self) -> Sequence[Extent]:
        """The whole file."""
        assert self._held is not None, "used after close"
        return self._held[1].extents

    def close(self) -> None:
        """Give the image back."""
        self._held = None


class Image:
    """One version of one image: its descriptor, its reader (if it runs), what is known about its files."""

    def __init__(self, name: str, fd: int, size: int, key: ImageKey, forks: ForkServer, limits: ImageLimits) -> None:
        """Takes `fd` over."""
        self.name = name
        self.fd = fd
        self.size = size
        self.key = key
        self.reader: Child | None = None
        self._forks = forks
        self._limits = limits
        self._answer_limits = AnswerLimits(limits.runs, limits.data_bytes, limits.names)
        self._job = reader_job(self._answer_limits)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, str], Found] = OrderedDict()
        self._known_bytes = 0
        # What is being sent: a large unpacked file is held once, however many clients fetch it.
        self._in_use: WeakValueDictionary[tuple[int, str], Found] = WeakValueDictionary()
        self._failures = 0
        self._paused_until = 0.0
        self._is_slow = False

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # made only by half
            self._stop_reader()
            os.close(self.fd)

    def find(self, volume: int, path: str) -> Found:
        """What the path stands for.  Raises `FsError`, `ImageError`."""
        place = (volume, path)
        known = self._known.get(place) or self._in_use.get(place)
        if known is not None:
            return known
        waited = not self._lock.acquire(blocking=False)
        # Those who ask for an image that is slow to read must not fill the whole server while they wait.
        if waited and (self._is_slow or not self._lock.acquire(timeout=self._limits.wall_seconds)):
            raise ImageError("the image's reader is busy", where=self.name)
        try:
            found = self._known.get(place) or self._in_use.get(place)
            if found is None:
                if waited and self._is_slow:
                    raise ImageError("the image's reader is busy", where=self.name)
                found = self._ask(volume, path)
            self._remember(place, found)
            return found
        finally:
            self._lock.release()

    def _remember(self, place: tuple[int, str], found: Found) -> None:
        self._in_use[place] = found
        if place in self._known or found.weight_bytes > self._limits.cache_bytes:
            return
        self._known[place] = found
        self._known_bytes += found.weight_bytes
        while self._known_bytes > self._limits.cache_bytes:
            self._known_bytes -= self._known.popitem(last=False)[1].weight_bytes

    # -- the reader

    def _ask(self, volume: int, path: str) -> Found:
        if time.monotonic() < self._paused_until:
            raise ImageError("the image is left alone for a while because its reader failed too often", where=self.name)
        packed = path.encode("utf-8", "surrogateescape")
        if len(packed) > 0xFFFF:
            raise NotFound("no such file or directory", where=self.name)
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            reader = self.reader = self.reader or self._start_reader()
            used = cpu_seconds_of(reader.pid)
            request = codec.REQUEST.pack(volume, len(packed)) + packed
            try:
                name, value = reader.ask(request, deadline - time.monotonic())
            finally:
                self._is_slow = cpu_seconds_of(reader.pid) - used > SLOW_SECONDS
            if not isinstance(value, bytes):
                raise ImageError(str(value))
            found = codec.read_answer(name, value, self.fd, self.size, self._answer_limits)
        except (ImageError, SandboxError, OSError) as err:
            self._failed()
            raise ImageError(str(err), where=self.name) from err
        self._failures = 0
        return found

    def _failed(self) -> None:
        self._stop_reader()
        self._failures += 1
        if self._failures >= self._limits.failures:
            self._failures = 0
            self._paused_until = time.monotonic() + self._limits.pause_seconds

    def _start_reader(self) -> Child:
        limits = self._limits
        job_limits = JobLimits(limits.parse_seconds, limits.cpu_seconds, limits.memory_bytes, 0, None)
        about = (self.name[-_NAME_CHARACTERS:], self.size, astuple(self._answer_limits))
        return self._forks.start(self._job, job_limits, self.fd, about)

    def _stop_reader(self) -> None:
        if self.reader is not None:
            self.reader.end()
            self.reader = None


class ImageStore:
    """The images that are in use, the least recently used given up first; thread-safe."""

    def __init__(self, forks: ForkServer, limits: ImageLimits) -> None:
        self._forks = forks
        self._limits = limits
        self._lock = threading.Lock()
        self._images: OrderedDict[ImageKey, Image] = OrderedDict()

    def image(self, name: str, fd: int) -> Image:
        """The image behind an open descriptor, which becomes the store's.  Raises `SourceError`."""
        try:
            facts = os.fstat(fd)
            size = os.lseek(fd, 0, os.SEEK_END)
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISBLK(facts.st_mode)):
                raise SourceError("not a disk image", where=name, expected="a regular file or block device")
            if not size:
                raise SourceError("the image is empty", where=name)
        except OSError as err:
            os.close(fd)
            raise SourceError(f"cannot be read: {err.strerror}", where=name) from err
        except SourceError:
            os.close(fd)
            raise
        key = key_of(facts, size)
        gone: Image | None = None  # its process ends outside of the lock
        with self._lock:
            known = self._images.get(key)
            if known is not None:
                self._images.move_to_end(key)
            else:
                known = Image(name, fd, size, key, self._forks, self._limits)
                fd = -1
                self._images[key] = known
                if len(self._images) > self._limits.readers:
                    gone = self._images.popitem(last=False)[1]
        if fd >= 0:
            os.close(fd)
        del gone
        return known

    @property
    def readers(self) -> list[Image]:
        """Images whose reader is running."""
        with self._lock:
            return [image for image in self._images.values() if image.reader is not None]


def split_volume(path: str) -> tuple[int, str]:
    """`/@2/boot/x` inside an image -> the volume's number and the path on it."""
    first, _, rest = path[1:].partition("/")
    digits = first[1:]
    if first.startswith("@") and digits.isascii() and digits.isdigit() and len(digits) <= 5:
        return int(digits), f"/{rest}"
    return codec.MAIN_VOLUME, path


def open_in_image(image: Image, path: str) -> ImageFile | FoundDirectory:
    """A file or directory of an image.  Raises `FsError`, `ImageError`."""
    volume, inside = split_volume(path)
    found = image.find(volume, inside)
    return found if isinstance(found, FoundDirectory) else ImageFile(path, image, found, volume)
