"""Disk images as trees: one confined reader an image, its answers remembered, and started anew when the image changes.

The server itself never looks into an image.  It sends what the reader's checked answers point to, straight out of the
image's own descriptor.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import stat
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from fsdrivers.api import Extent
from fsdrivers.errors import NotFound, SourceError
from pvboot.serve import reader_wire as wire
from pvboot.serve.content_types import content_type_of
from pvboot.serve.limits import Count, Seconds
from pvboot.serve.nursery import Nursery
from pvboot.serve.reader import ReaderJob
from pvboot.serve.reader_wire import AnswerLimits, Found, FoundDirectory, FoundFile, ImageError
from pvboot.validation import Model

_START_MESSAGE = struct.Struct("=II")
_START_LIMIT_BYTES = 64 << 10
SLOW_SECONDS = 0.3  # CPU time of an answer; nearly all take less than a hundredth of it
_DEVICE_SECONDS = 5  # a block device's content changes without its times: it is read anew so often


class ImageLimits(Model):
    """`readers` are images (and processes) at once; `think_seconds` of CPU and `wall_seconds` for one answer,
    `cpu_seconds` and `memory_bytes` for one reader; `runs`, `data_bytes` and `names` as in `AnswerLimits`; of each
    image `cache_bytes` of answers are remembered.  After `failures` in a row an image is left alone for
    `pause_seconds`."""

    readers: Count = 32
    think_seconds: Seconds = 1.5
    wall_seconds: Seconds = 10.0
    cpu_seconds: Count = 600
    memory_bytes: Count = 256 << 20
    runs: Count = 1 << 17
    data_bytes: Count = 64 << 20
    names: Count = 100_000
    cache_bytes: Count = 4 << 20
    failures: Count = 3
    pause_seconds: Seconds = 30.0


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

    def __init__(self, name: str, fd: int, size: int, key: ImageKey, nursery: Nursery, limits: ImageLimits) -> None:
        """Takes `fd` over."""
        self.name = name
        self.fd = fd
        self.size = size
        self.key = key
        self.layers: tuple[str, ...] = ()
        self.missing: tuple[str, ...] = ()
        self.reader_pid = 0
        self._nursery = nursery
        self._limits = limits
        self._answer_limits = AnswerLimits(limits.runs, limits.data_bytes, limits.names)
        self._lock = threading.Lock()
        self._talk: socket.socket | None = None
        self._pidfd = -1
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
            if self._talk is None:
                self._start_reader(deadline)
            assert self._talk is not None
            used = _cpu_seconds(self.reader_pid)
            self._talk.sendall(wire.REQUEST.pack(volume, len(packed)) + packed)
            receive = _receiver(self._talk, deadline)
            try:
                found = wire.read_answer(receive, self.fd, self.size, self._answer_limits)
            finally:
                self._is_slow = _cpu_seconds(self.reader_pid) - used > SLOW_SECONDS
        except (ImageError, OSError) as err:
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

    def _start_reader(self, deadline: float) -> None:
        limits = self._limits
        job = ReaderJob(
            self.name, self.size, limits.think_seconds, limits.cpu_seconds, limits.memory_bytes, self._answer_limits
        )
        self._talk, self.reader_pid, self._pidfd = self._nursery.start(job, self.fd)
        receive = _receiver(self._talk, deadline)
        layers: list[str] = []
        missing: list[str] = []
        for _ in range(64):
            name_bytes, value_bytes = _START_MESSAGE.unpack(receive(_START_MESSAGE.size))
            if name_bytes + value_bytes > _START_LIMIT_BYTES:
                raise ImageError("the image's reader says too much")
            name, value = receive(name_bytes), receive(value_bytes).decode("utf-8", "replace")
            if name == b"ready":
                self.layers, self.missing = tuple(layers), tuple(missing)
                return
            if name == b"error":
                raise ImageError(value)
            (layers if name == b"layer" else missing).append(value)
        raise ImageError("the image's reader says too much")

    def _stop_reader(self) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process that we do not wait for: its clock's number is made of its own (clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:  # it has ended
        return 0.0


def _receiver(talk: socket.socket, deadline: float) -> Callable[[int], bytes]:
    """Reads exactly as many bytes as asked for; `ImageError` at the deadline and at the reader's end."""

    def receive(size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            left = max(0.0, deadline - time.monotonic())
            poll = select.poll()
            poll.register(talk, select.POLLIN)
            if not poll.poll(left * 1000):
                raise ImageError("reading the image takes too long")
            count = talk.recv_into(view, 0, socket.MSG_DONTWAIT)
            if not count:
                raise ImageError("the image's reader ended (it may have hit its limits)")
            view = view[count:]
        return bytes(data)

    return receive


class ImageStore:
    """The images that are in use, the least recently used given up first; thread-safe."""

    def __init__(self, nursery: Nursery, limits: ImageLimits) -> None:
        self._nursery = nursery
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
                known = Image(name, fd, size, key, self._nursery, self._limits)
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
        """Those whose reader runs."""
        with self._lock:
            return [image for image in self._images.values() if image._pidfd >= 0]


def split_volume(path: str) -> tuple[int, str]:
    """`/@2/boot/x` inside an image -> the volume's number and the path on it."""
    first, _, rest = path[1:].partition("/")
    digits = first[1:]
    if first.startswith("@") and digits.isascii() and digits.isdigit() and len(digits) <= 5:
        return int(digits), f"/{rest}"
    return wire.MAIN_VOLUME, path


def open_in_image(image: Image, path: str) -> ImageFile | FoundDirectory:
    """A file or directory of an image.  Raises `FsError`, `ImageError`."""
    volume, inside = split_volume(path)
    found = image.find(volume, inside)
    return found if isinstance(found, FoundDirectory) else ImageFile(path, image, found, volume)
