"""Images and menus behind fsspec URLs: a storage server on this machine, and fsspec's own memory."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from fsdrivers.errors import SourceError, Unsupported
from fsdrivers.remote import BLOCK_BYTES, CACHED_BLOCKS, RemoteSource, open_remote
from pvboot.check.engine import check_source
from pvboot.check.journal import key_of
from pvboot.check.model import CheckOptions
from tests.check.fleets import BAD_MENU, GOOD_MENU, make_guest

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]
OPTIONS = CheckOptions()


# --- the source -------------------------------------------------------------------------------------------

DATA = bytes(range(251)) * 6000


@given(st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, len(DATA))), max_size=8))
def test_any_range_reads_what_stands_there(ranges: list[tuple[int, int]]) -> None:
    source = RemoteSource("x", len(DATA), lambda start, end: DATA[start:end])
    for offset, size in ranges:
        size = min(size, len(DATA) - offset)
        assert source.read_at(offset, size) == DATA[offset : offset + size]
        pieces = [extent.data or b"" for extent in source.extents(offset, size)]
        assert b"".join(pieces) == DATA[offset : offset + size]


def test_a_block_is_fetched_once_while_it_is_kept() -> None:
    asked: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(end - start)

    source = RemoteSource("x", 100 * BLOCK_BYTES, fetch)
    for _ in range(3):
        source.read_at(10, 20)
        source.read_at(BLOCK_BYTES - 1, 2)
    assert asked == [(0, BLOCK_BYTES), (BLOCK_BYTES, 2 * BLOCK_BYTES)]
    for number in range(CACHED_BLOCKS + 1):
        source.read_at(number * BLOCK_BYTES, 1)
    source.read_at(0, 1)
    assert asked[-1] == (0, BLOCK_BYTES)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1), (len(DATA), 1), (0, len(DATA) + 1)])
def test_a_range_outside_is_refused(offset: int, size: int) -> None:
    source = RemoteSource("x", len(DATA), lambda start, end: DATA[start:end])
    with pytest.raises(SourceError, match="outside"):
        source.read_at(offset, size)


def test_a_short_answer_and_a_failure_are_errors() -> None:
    with pytest.raises(SourceError, match="short read"):
        RemoteSource("x", 10, lambda start, end: b"abc").read_at(0, 10)

    def fails(start: int, end: int) -> bytes:
        raise ConnectionError("gone")

    with pytest.raises(SourceError, match="gone"):
        RemoteSource("x", 10, fails).read_at(0, 10)


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("memory://missing.img", SourceError, "cannot open"),
        ("nonsense://x", SourceError, "Protocol not known"),
        ("abfs://x/y", Unsupported, "not installed"),
    ],
)
def test_what_cannot_be_opened_is_an_error(url: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_remote(url)


def test_an_empty_object_and_a_directory_are_not_images() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/folder/empty.img", b"")
    for name in ("memory://folder/empty.img", "memory://folder"):
        with pytest.raises(SourceError, match="not a disk image"):
            open_remote(name)


def test_an_image_and_a_menu_in_memory_are_checked(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/guests/a.img", make_guest(tmp_path / "a.img", BAD_MENU).read_bytes())
    memory.pipe("/guests/menu.lst", b"default 3\ntitle A\nkernel /x root=/dev/xvda1\n")
    image = check_source("memory://guests/a.img")
    assert {"crlf-line-ends", "default-out-of-range"} <= {finding.rule for finding in image.findings}
    menu = check_source("memory://guests/menu.lst")
    assert "default-out-of-range" in {finding.rule for finding in menu.findings}
    assert menu.findings[0].file == "memory://guests/menu.lst"


# --- a storage server -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """s3://guests with two images, on a server of this machine; the environment to reach it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    folder = tmp_path_factory.mktemp("s3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        storage = fsspec.filesystem("s3", skip_instance_cache=True)
        storage.mkdir("guests")
        storage.pipe("guests/good.img", make_guest(folder / "good.img", GOOD_MENU).read_bytes())
        storage.pipe("guests/bad.img", make_guest(folder / "bad.img", BAD_MENU).read_bytes())
        yield environment
    server.stop()


@pytest.mark.slow
def test_a_fleet_in_a_bucket(run_cli: RunCli, bucket: dict[str, str], tmp_path: Path) -> None:
    sources = ["s3://guests/bad.img", "s3://guests/good.img", "s3://guests/missing.img"]
    done = run_cli("check", "--jobs", "2", "--state", tmp_path / "state", *sources, env=bucket)
    assert done.returncode == 3 and done.stderr == ""
    assert "s3://guests/bad.img: (hd0)/boot/grub/menu.lst:1:9: error: " in done.stdout
    assert "not checked: s3://guests/missing.img: cannot open" in done.stdout
    assert (tmp_path / "state").read_bytes().count(b"\n") == 3
    again = run_cli("check", "--jobs", "2", "--state", tmp_path / "state", *sources, env=bucket)
    assert again.stdout == done.stdout


@pytest.mark.slow
def test_an_object_that_changed_has_another_key(bucket: dict[str, str]) -> None:
    storage = fsspec.filesystem("s3", skip_instance_cache=True)
    storage.pipe("guests/other.img", b"x" * 5000)
    key = key_of("s3://guests/other.img", OPTIONS)
    assert key is not None and key == key_of("s3://guests/other.img", OPTIONS)
    storage.pipe("guests/other.img", b"y" * 5000)
    fsspec.filesystem("s3").invalidate_cache()
    assert key_of("s3://guests/other.img", OPTIONS) != key
