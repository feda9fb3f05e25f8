"""Content in fsspec's stores: one in memory, and S3 as moto plays it."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from fsdrivers.errors import NotFound, Unsupported
from pvboot.errors import UsageError
from pvboot.net.serve.api import ServedDirectory, ServedFile
from pvboot.net.serve.stores import Store


def read(opened: ServedFile | ServedDirectory) -> bytes:
    assert not isinstance(opened, ServedDirectory)
    data = b"".join(os.pread(extent.fd, extent.length, extent.offset) for extent in opened.extents() if extent.fd)
    assert len(data) == opened.size
    opened.close()
    return data


def names(opened: ServedFile | ServedDirectory) -> list[tuple[str, bool, int]]:
    assert isinstance(opened, ServedDirectory)
    return list(opened.entries)


@pytest.fixture
def memory() -> Iterator[tuple[Any, str]]:
    """A store in memory and its top."""
    top = f"/{uuid.uuid4().hex}"
    store = fsspec.filesystem("memory")
    store.pipe({f"{top}/kernel": b"k" * 100_000, f"{top}/sub/initrd": b"i" * 10, f"{top}/empty": b""})
    yield store, top
    store.rm(top, recursive=True)


def test_objects_and_prefixes(memory: tuple[Any, str]) -> None:
    store = Store(f"memory:/{memory[1]}", {}, 1 << 20, 1 << 20)
    assert read(store.open("/kernel")) == b"k" * 100_000
    assert read(store.open("/sub/initrd")) == b"i" * 10
    assert read(store.open("/empty")) == b""
    assert names(store.open("/")) == [("empty", False, 0), ("kernel", False, 100_000), ("sub", True, 0)]
    with pytest.raises(NotFound):
        store.open("/none")


def test_an_object_is_fetched_once_and_again_when_it_changes(memory: tuple[Any, str]) -> None:
    store = Store(f"memory:/{memory[1]}", {}, 1 << 20, 1 << 20)
    opened = [store.open("/kernel") for _ in range(5)]
    tags = {one.etag for one in opened if not isinstance(one, ServedDirectory)}
    fds = {one.extents()[0].fd for one in opened if not isinstance(one, ServedDirectory)}
    assert len(tags) == len(fds) == 1
    memory[0].pipe({f"{memory[1]}/kernel": b"other"})
    again = store.open("/kernel")
    assert not isinstance(again, ServedDirectory)
    assert again.etag not in tags
    assert read(again) == b"other"
    assert [read(one) for one in opened] == [b"k" * 100_000] * 5  # those that had begun go on with what they had


def test_limits_of_objects_and_of_the_spool(memory: tuple[Any, str]) -> None:
    small = Store(f"memory:/{memory[1]}", {}, 99_999, 1 << 20)
    with pytest.raises(Unsupported, match="too large"):
        small.open("/kernel")
    store = Store(f"memory:/{memory[1]}", {}, 1 << 20, 50_000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read(store.open("/kernel"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_at_once_get_the_same(memory: tuple[Any, str]) -> None:
    store = Store(f"memory:/{memory[1]}", {}, 1 << 20, 1 << 20)
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(read(store.open("/kernel")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [b"k" * 100_000] * 8


def test_an_unknown_store_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        Store("nosuchstore://x", {}, 1, 1)


def test_s3() -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint, keys = f"http://{host}:{port}", {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="boot")
        client.put_object(Bucket="boot", Key="debian/vmlinuz", Body=b"v" * 70_000)
        store = Store("s3://boot/debian", {"key": "x", "secret": "y", "endpoint_url": endpoint}, 1 << 20, 1 << 20)
        assert read(store.open("/vmlinuz")) == b"v" * 70_000
        assert names(store.open("/")) == [("vmlinuz", False, 70_000)]
        client.put_object(Bucket="boot", Key="debian/vmlinuz", Body=b"new")
        assert read(store.open("/vmlinuz")) == b"new"
        with pytest.raises(NotFound):
            store.open("/none")
    finally:
        server.stop()
