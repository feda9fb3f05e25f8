"""Disk images behind fsspec URLs (`s3://`, `gs://`, `memory://` ...): only the ranges that are read are fetched.

fsspec and the package of the protocol are imported here and nowhere else, when such a URL is opened.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from fsdrivers.api import Extent
from fsdrivers.blocks import Source, check_length
from fsdrivers.errors import SourceError, Unsupported
from fsdrivers.light import Any, Final

BLOCK_BYTES: Final = 256 << 10  # what is fetched at least: a round trip costs more than its bytes
CACHED_BLOCKS: Final = 64
RUN_BYTES: Final = 8 << 20  # fetched in one go at most

NOT_INSTALLED: Final = "this URL needs a package that is not installed"

# Everything that can go wrong on a network, in dozens of libraries, arrives as one of these.
_FAILURES: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError, EOFError)


class RemoteSource(Source):
    """A remote object as a block source, with a bounded cache of blocks."""

    __slots__ = ("_blocks", "_fetch", "fetched_bytes")

    def __init__(self, name: str, size: int, fetch: Callable[[int, int], bytes]) -> None:
        """`fetch(start, end)` gives those bytes of the object."""
        super().__init__(name, size)
        self.fetched_bytes = 0
        self._fetch = fetch
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def _read(self, offset: int, size: int) -> bytes:
        if not size:
            return b""
        first, last = offset // BLOCK_BYTES, (offset + size - 1) // BLOCK_BYTES
        pieces = bytearray()
        number = first
        while number <= last:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                pieces += self._blocks[number]
                number += 1
                continue
            behind = number + 1
            while behind <= last and behind not in self._blocks and (behind - number) * BLOCK_BYTES < RUN_BYTES:
                behind += 1
            pieces += self._load(number, behind)
            number = behind
        start = offset - first * BLOCK_BYTES
        return bytes(pieces[start : start + size])

    def _load(self, first: int, behind: int) -> bytes:
        """Fetch blocks first..behind, and keep them."""
        start, end = first * BLOCK_BYTES, min(behind * BLOCK_BYTES, self.size)
        try:
            data = self._fetch(start, end)
        except _FAILURES as err:
            raise SourceError(f"cannot read: {_reason(err)}", where=f"{self.name}: byte {start:#x}") from err
        short = "short read (was the object replaced while being read?)"
        check_length(data, end - start, f"{self.name}: byte {start:#x}", short)
        self.fetched_bytes += len(data)
        for number in range(first, behind):
            at = (number - first) * BLOCK_BYTES
            self._blocks[number] = bytes(data[at : at + BLOCK_BYTES])
            if len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        return data

    def _extents(self, offset: int, size: int) -> Iterator[Extent]:
        """The bytes themselves, a bounded run at a time."""
        for start in range(offset, offset + size, RUN_BYTES):
            yield from super()._extents(start, min(RUN_BYTES, offset + size - start))

    def close(self) -> None:
        """Forget the blocks; connections are fsspec's."""
        self._blocks.clear()


def open_remote(url: str) -> RemoteSource:
    """Open an object for reading.  Raises `SourceError`, `Unsupported` if its protocol is not installed."""
    filesystem, path = find_remote(url)
    try:
        info = filesystem.info(path)
        size, kind = info.get("size"), info.get("type")
    except _FAILURES as err:
        raise SourceError(f"cannot open: {_reason(err)}", where=url) from err
    if kind == "directory" or not isinstance(size, int) or size <= 0:
        found = "a directory" if kind == "directory" else f"size {size}"
        raise SourceError("not a disk image", where=url, expected="an object of known size", found=found)
    return RemoteSource(url, size, lambda start, end: bytes(filesystem.cat_file(path, start=start, end=end)))


def find_remote(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path there.  Raises `SourceError`, `Unsupported`."""
    try:
        import fsspec
    except ImportError as err:
        expected = "fsspec (pvboot[remote])"
        raise Unsupported(NOT_INSTALLED, where=url, expected=expected, found="no fsspec") from err
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as err:
        raise Unsupported(NOT_INSTALLED, where=url, found=_reason(err)) from err
    except _FAILURES as err:
        raise SourceError(f"cannot open: {_reason(err)}", where=url) from err
    return filesystem, str(path)


def version_of(url: str) -> str | None:
    """A text that changes when the object does, None if the server gives nothing to tell by."""
    try:
        filesystem, path = find_remote(url)
        info = filesystem.info(path)
    except (SourceError, Unsupported, *_FAILURES):
        return None
    names = ("size", "ETag", "etag", "LastModified", "mtime", "created", "md5Hash")
    facts = {name: str(info[name]) for name in names if name in info}
    return repr(sorted(facts.items())) if len(facts) > 1 else None


def _reason(err: BaseException) -> str:
    text = str(err).strip() or type(err).__name__
    return text if len(text) <= 300 else text[:297] + "..."
