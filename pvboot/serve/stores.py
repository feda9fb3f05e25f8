"""Content in the stores that fsspec knows (S3 ...): objects are fetched whole into unlinked files, then sent."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from fsdrivers.api import Extent
from fsdrivers.errors import NotFound, SourceError, Unsupported
from pvboot.errors import NetworkError, UsageError
from pvboot.serve.api import ServedDirectory, ServedFile
from pvboot.serve.content_types import content_type_of

CHUNK_BYTES = 1 << 20
NAMES_LIMIT = 100_000
# These distinguish versions of an object in fsspec's stores.
_VERSION_KEYS = (
    "ETag",
    "etag",
    "checksum",
    "generation",
    "version_id",
    "mtime",
    "LastModified",
    "last_modified",
    "created",
)


class Spooled:
    """One version of an object in an unlinked file, which is closed with its last holder."""

    def __init__(self, fd: int, size: int, etag: str) -> None:
        self.fd = fd
        self.size = size
        self.etag = etag

    def __del__(self) -> None:
        os.close(self.fd)


class StoreFile:
    """An object, open for sending."""

    mtime: float | None = None

    def __init__(self, path: str, spooled: Spooled) -> None:
        self.size = spooled.size
        self.etag = spooled.etag
        self.content_type = content_type_of(path)
        self._spooled: Spooled | None = spooled

    def extents(self) -> Sequence[Extent]:
        """Return one run."""
        assert self._spooled is not None, "used after close"
        return (Extent(self.size, fd=self._spooled.fd),) if self.size else ()

    def close(self) -> None:
        """Give the spool file back."""
        self._spooled = None


class Store:
    """A store as a tree; `url` is its top."""

    def __init__(self, url: str, options: Mapping[str, Any], object_bytes: int, spool_bytes: int) -> None:
        """Raises `UsageError` if the store's library is not installed."""
        self._url = url
        self._object_bytes = object_bytes
        self._spool_bytes = spool_bytes
        self._kept: OrderedDict[str, Spooled] = OrderedDict()
        self._kept_bytes = 0
        self._in_use: WeakValueDictionary[str, Spooled] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        try:
            from fsspec.core import url_to_fs

            # No listings from memory: what is put into the store is to be seen.
            self._store, self._top = url_to_fs(url, use_listings_cache=False, **options)
        except ImportError as err:
            raise UsageError(
                "a library for this store is not installed",
                where=url,
                expected="pip install 'pvboot[remote]' and the store's own",
                found=str(err),
            ) from err
        except (ValueError, TypeError) as err:
            raise UsageError("this store cannot be used", where=url, found=str(err)) from err

    def open(self, path: str) -> ServedFile | ServedDirectory:
        """Open an object (fetched now, unless this version is at hand), or list a prefix."""
        name = self._top.rstrip("/") + (path if path != "/" else "")
        try:
            facts = self._store.info(name)
            if facts.get("type") == "directory":
                return self._listing(name)
            return StoreFile(path, self._spooled(name, facts))
        except FileNotFoundError as err:
            raise NotFound("no such file or directory", where=f"{self._url}{path}") from err
        except (NotFound, Unsupported, NetworkError, SourceError):
            raise
        except Exception as err:  # each store has errors of its own
            found = f"{type(err).__name__}: {err}"[:500]
            raise NetworkError("the store failed", where=self._url, found=found) from err

    def _listing(self, name: str) -> ServedDirectory:
        entries = set()
        for facts in self._store.ls(name, detail=True)[:NAMES_LIMIT]:
            last = facts["name"].rstrip("/").rpartition("/")[2]
            if last and facts["name"].rstrip("/") != name.rstrip("/"):
                is_directory = facts.get("type") == "directory"
                entries.add((last, is_directory, 0 if is_directory else int(facts.get("size") or 0)))
        return ServedDirectory(tuple(sorted(entries)))

    def _spooled(self, name: str, facts: Mapping[str, Any]) -> Spooled:
        version = [str(facts[key]) for key in _VERSION_KEYS if key in facts]
        size = int(facts.get("size") or 0)
        if size > self._object_bytes:
            raise Unsupported(
                "the object is too large to be served from a store",
                where=name,
                expected=f"at most {self._object_bytes} bytes",
                found=str(size),
            )
        etag = hashlib.sha256(repr((name, size, version)).encode()).hexdigest()[:32]
        with self._lock:
            fetching = self._fetching.setdefault(etag, threading.Lock())
        with fetching:  # of those who want the same at once, one fetches
            try:
                with self._lock:
                    known = self._kept.get(etag) or self._in_use.get(etag)
                    if known is not None:
                        if etag in self._kept:
                            self._kept.move_to_end(etag)
                        return known
                spooled = self._fetch(name, size, etag)
                self._keep(spooled)
                return spooled
            finally:
                with self._lock:
                    self._fetching.pop(etag, None)

    def _keep(self, spooled: Spooled) -> None:
        with self._lock:
            self._in_use[spooled.etag] = spooled
            self._kept[spooled.etag] = spooled
            self._kept_bytes += spooled.size
            while self._kept_bytes > self._spool_bytes:
                self._kept_bytes -= self._kept.popitem(last=False)[1].size

    def _fetch(self, name: str, size: int, etag: str) -> Spooled:
        with tempfile.TemporaryFile() as spool, self._store.open(name, "rb") as file:
            done = 0
            while piece := file.read(CHUNK_BYTES):
                done += len(piece)
                if done > size:
                    break
                spool.write(piece)
            spool.flush()
            if done != size:
                raise SourceError(
                    "the object changed while it was fetched",
                    where=name,
                    expected=f"{size} bytes",
                    found=f"{done} bytes",
                )
            return Spooled(os.dup(spool.fileno()), size, etag)
