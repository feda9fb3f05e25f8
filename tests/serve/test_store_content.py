"""Content in fsspec's stores: in memory and in local files."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from fsdrivers.errors import NotFound, SourceError, Unsupported
from pvboot.errors import NetworkError, UsageError
from pvboot.serve.api import ServedDirectory
from pvboot.serve.stores import Store, StoreFile

OBJECT_BYTES, SPOOL_BYTES = 3 << 20, 4 << 20


@pytest.fixture(params=["memory", "local"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The top of an empty store."""
    if request.param == "local":
        yield f"file://{tmp_path}"
        return
    top = f"memory://{uuid4().hex}"
    yield top
    store = fsspec.filesystem("memory")
    store.rm(top, recursive=True)


def put(url: str, path: str, data: bytes) -> None:
    store, top = fsspec.url_to_fs(url)
    store.makedirs((top + path).rpartition("/")[0], exist_ok=True)
    store.pipe_file(top + path, data)


def store_at(url: str, **options: Any) -> Store:
    return Store(url, options, OBJECT_BYTES, SPOOL_BYTES)


def opened(store: Store, path: str) -> StoreFile:
    found = store.open(path)
    assert isinstance(found, StoreFile)
    return found


def data_of(file: StoreFile) -> bytes:
    pieces = [os.pread(extent.fd, extent.length, extent.offset) for extent in file.extents() if extent.fd is not None]
    return b"".join(pieces)


def test_object_is_served_whole(url: str) -> None:
    data = os.urandom(2_500_000)
    put(url, "/boot/vmlinuz", data)
    file = opened(store_at(url), "/boot/vmlinuz")
    assert (file.size, data_of(file), file.content_type) == (len(data), data, "application/octet-stream")
    file.close()


def test_empty_object_has_no_extents(url: str) -> None:
    put(url, "/empty", b"")
    file = opened(store_at(url), "/empty")
    assert (file.size, list(file.extents())) == (0, [])
    file.close()


def test_listing(url: str) -> None:
    for path, data in (("/b", b"xx"), ("/a/deep/file", b"x"), ("/menu.lst", b"")):
        put(url, path, data)
    assert store_at(url).open("/") == ServedDirectory((("a", True, 0), ("b", False, 2), ("menu.lst", False, 0)))
    assert store_at(url).open("/a") == ServedDirectory((("deep", True, 0),))


def test_missing_object(url: str) -> None:
    put(url, "/there", b"x")
    with pytest.raises(NotFound):
        store_at(url).open("/gone")


def test_object_above_the_limit_is_not_fetched(url: str) -> None:
    put(url, "/large", bytes(OBJECT_BYTES + 1))
    with pytest.raises(Unsupported):
        store_at(url).open("/large")


def test_object_that_changes_has_another_etag(url: str) -> None:
    store = store_at(url)
    put(url, "/k", b"first")
    first = opened(store, "/k")
    put(url, "/k", b"second")
    second = opened(store, "/k")
    assert (data_of(first), data_of(second)) == (b"first", b"second")
    assert first.etag != second.etag
    first.close()
    second.close()


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_what_is_kept_is_bounded(url: str) -> None:
    store = store_at(url)
    for number in range(12):
        put(url, f"/{number}", bytes(1 << 20))
    before = open_descriptors()
    for number in range(12):
        opened(store, f"/{number}").close()
    assert open_descriptors() - before <= SPOOL_BYTES >> 20
    del store
    assert open_descriptors() == before


def test_many_who_want_the_same_share_one_copy(url: str) -> None:
    store = store_at(url)
    put(url, "/k", os.urandom(1 << 20))
    before = open_descriptors()
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: opened(store, "/k"), range(32)))
    assert len({extent.fd for file in files for extent in file.extents()}) == 1
    assert open_descriptors() - before == 1
    for file in files:
        file.close()


class Shrinking:
    """A store whose object ends earlier than it said."""

    def info(self, name: str) -> dict[str, Any]:
        return {"name": name, "type": "file", "size": 10}

    def open(self, name: str, mode: str) -> Any:
        return fsspec.filesystem("memory").open(name, mode)


def test_object_that_is_shorter_than_said_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    top = f"memory://{uuid4().hex}"
    put(top, "/k", b"short")
    store = store_at(top)
    monkeypatch.setattr(store, "_store", Shrinking())
    with pytest.raises(SourceError):
        store.open("/k")
    fsspec.filesystem("memory").rm(top, recursive=True)


def test_store_that_fails_is_a_network_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = store_at(f"file://{tmp_path}")

    def fail(name: str) -> None:
        raise RuntimeError("it is raining")

    monkeypatch.setattr(store._store, "info", fail)
    with pytest.raises(NetworkError):
        store.open("/k")


def test_unknown_kind_of_store() -> None:
    with pytest.raises(UsageError):
        store_at("nosuchscheme://x/y")


def test_objects_of_an_s3_server() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        where = {"endpoint_url": f"http://{host}:{port}", "region_name": "eu-west-1"}
        options = {"key": "key", "secret": "secret", "client_kwargs": where}
        bucket = fsspec.filesystem("s3", **options)
        bucket.mkdir("boot", LocationConstraint="eu-west-1")
        bucket.pipe_file("boot/debian/vmlinuz", b"first" * 400_000)
        store = store_at("s3://boot", **options)
        first = opened(store, "/debian/vmlinuz")
        bucket.pipe_file("boot/debian/vmlinuz", b"other" * 400_000)
        second = opened(store, "/debian/vmlinuz")
        assert (data_of(first), data_of(second)) == (b"first" * 400_000, b"other" * 400_000)
        assert first.etag != second.etag
        assert store.open("/") == ServedDirectory((("debian", True, 0),))
        with pytest.raises(NotFound):
            store.open("/gone")
    finally:
        server.stop()
