"""Disk images that stay on their server."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fsdrivers.api import BlockSource
from fsdrivers.errors import NotFound, SourceError, Unsupported
from pvboot.fetch.errors import FetchError
from pvboot.fetch.fetch import Fetcher
from pvboot.fetch.image import BLOCK_BYTES, HttpRangeSource, NoRangesError
from pvboot.fetch.settings import NetOptions, NetSettings
from pvboot.fetch.urls import parse_url
from pvboot.menu import find, load
from pvboot.sources import open_devices
from tests.conftest import RunCli
from tests.fetch.conftest import QUICK, quick, sha256
from tests.fetch.servers import Handler, Served, nginx

SIZE = 40 * BLOCK_BYTES + 777


@pytest.fixture(scope="module")
def image_bytes() -> bytes:
    return random.Random(7).randbytes(SIZE)


@pytest.fixture
def image(web: Served, image_bytes: bytes) -> str:
    (web.root / "disk.img").write_bytes(image_bytes)
    return f"{web.url}/disk.img"


def source(url: str, **options: int) -> HttpRangeSource:
    return HttpRangeSource(Fetcher(QUICK), parse_url(url), **options)


def open_disk(settings: NetSettings, url: str) -> BlockSource:
    disk = open_devices(url, net=NetOptions((), settings)).disks[0]
    assert disk.source is not None
    return disk.source


def test_reads_anywhere(image: str, image_bytes: bytes) -> None:
    remote = source(image, cache_blocks=6)
    assert remote.size == SIZE
    dice = random.Random(3)
    places = [(dice.randrange(SIZE), dice.choice([0, 1, 512, 4096, 300_000, 3_000_000])) for _ in range(120)]
    for offset, length in [*places, (0, SIZE), (SIZE, 0), (SIZE - 1, 1)]:
        length = min(length, SIZE - offset)
        assert remote.read_at(offset, length) == image_bytes[offset : offset + length]


@pytest.mark.parametrize(("offset", "size"), [(-1, 2), (SIZE, 1), (0, SIZE + 1), (5, -1)])
def test_reads_outside_are_refused(image: str, offset: int, size: int) -> None:
    with pytest.raises(SourceError):
        source(image).read_at(offset, size)


def test_every_byte_comes_once(web: Served, image: str) -> None:
    remote = source(image)
    for _ in range(3):
        for offset in range(0, SIZE, 100_000):
            remote.read_at(offset, min(100_000, SIZE - offset))
    assert web.sent == remote.fetched_bytes == SIZE


def test_reading_in_order_reads_ahead(web: Served, image: str) -> None:
    remote = source(image)
    for offset in range(0, SIZE - 4096, 4096):
        remote.read_at(offset, 4096)
    lengths = [int(last) - int(first) + 1 for first, last in (asked[6:].split("-") for *_, asked in web.asked)]
    assert lengths[:4] == [BLOCK_BYTES, 2 * BLOCK_BYTES, 4 * BLOCK_BYTES, 4 * BLOCK_BYTES]
    assert max(lengths) == 4 * BLOCK_BYTES


def test_reading_here_and_there_does_not(web: Served, image: str) -> None:
    remote = source(image)
    for block in (30, 20, 10, 25, 5):
        remote.read_at(block * BLOCK_BYTES + 5, 10)
    assert web.sent == 6 * BLOCK_BYTES


def test_the_cache_is_bounded(web: Served, image: str) -> None:
    remote = source(image, cache_blocks=5)
    for offset in range(0, SIZE - 1, BLOCK_BYTES):
        remote.read_at(offset, 1)
    assert os.fstat(remote._file.fileno()).st_size <= 5 * BLOCK_BYTES


def test_extents_hold_the_bytes(image: str, image_bytes: bytes) -> None:
    pieces = list(source(image).extents(100, 3_000_000))
    assert b"".join(piece.data or b"" for piece in pieces) == image_bytes[100:3_000_100]
    assert max(piece.length for piece in pieces) <= 1 << 20


@pytest.mark.parametrize("etag", ['"one"', None])
def test_an_image_that_changes_is_an_error(web: Served, image: str, etag: str | None) -> None:
    web.etag = etag
    remote = source(image)
    with open(web.root / "disk.img", "ab") as file:
        file.write(b"more")
    web.etag = etag and '"two"'
    with pytest.raises(FetchError, match="has changed"):
        remote.read_at(20 * BLOCK_BYTES, 10)


def test_a_server_that_ignores_conditions_is_caught_by_the_tag(web: Served, image: str, image_bytes: bytes) -> None:
    remote = source(image)

    def ignore(handler: Handler) -> bool:
        first, last = map(int, handler.headers["Range"][6:].split("-"))
        handler.reply(
            206, image_bytes[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{SIZE}", "ETag": '"two"'}
        )
        return True

    web.misbehave = ignore
    with pytest.raises(FetchError, match="has changed"):
        remote.read_at(20 * BLOCK_BYTES, 10)


@pytest.mark.parametrize(
    ("status", "content_range", "length"),
    [
        (206, "bytes 0-9/{size}", 10),
        (206, "bytes {first}-{last}/*", 262144),
        (206, "", 262144),
        (206, "bytes {first}-{last}/{size}", 1000),
        (206, "bytes {first}-{last}/{size}", 300000),
        (200, "", 262144),
        (416, "bytes */5", 0),
        (206, "bytes {first}-{last}/99", 262144),
    ],
)
def test_wrong_parts_are_refused(web: Served, image: str, status: int, content_range: str, length: int) -> None:
    remote = source(image)

    def lie(handler: Handler) -> bool:
        first, last = handler.headers["Range"][6:].split("-")
        header = content_range.format(first=first, last=last, size=SIZE)
        handler.reply(status, bytes(length), {"Content-Range": header, "ETag": '"one"'})
        return True

    web.misbehave = lie
    with pytest.raises(FetchError):
        remote.read_at(20 * BLOCK_BYTES, 10)


def test_a_broken_connection_is_tried_again(web: Served, image: str, image_bytes: bytes) -> None:
    remote = source(image)
    tries: list[int] = []

    def break_off(handler: Handler) -> bool:
        tries.append(1)
        if len(tries) > 1:
            return False
        handler.begin(206, BLOCK_BYTES, {"Content-Range": f"bytes {BLOCK_BYTES * 20}-{BLOCK_BYTES * 21 - 1}/{SIZE}"})
        handler.send(b"x" * 100)
        handler.hang_up()
        return True

    web.misbehave = break_off
    assert remote.read_at(20 * BLOCK_BYTES, 10) == image_bytes[20 * BLOCK_BYTES :][:10]


def test_a_server_without_ranges(web: Served, image: str, image_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    web.ranges = False
    with pytest.raises(NoRangesError):
        source(image)
    whole = open_disk(QUICK, image)
    assert not isinstance(whole, HttpRangeSource) and whole.read_at(5, 5) == image_bytes[5:10]  # type: ignore[union-attr]
    monkeypatch.setattr("pvboot.fetch.source.DOWNLOAD_LIMIT_BYTES", SIZE - 1)
    with pytest.raises(FetchError, match="too large"):
        open_disk(QUICK, image)


def test_an_image_with_a_checksum_is_fetched_whole(web: Served, image: str, image_bytes: bytes) -> None:
    whole = open_disk(QUICK, f"{image}#sha256={sha256(image_bytes)}")
    assert not isinstance(whole, HttpRangeSource) and web.sent == SIZE
    with pytest.raises(FetchError, match="checksum is wrong"):
        open_disk(QUICK, f"{image}#sha256={'0' * 64}")
    with pytest.raises(FetchError, match="not in the list"):
        open_disk(quick(sums={}), image)


def test_containers_are_named(web: Served) -> None:
    (web.root / "x.qcow2").write_bytes(b"QFI\xfb" + bytes(2 << 20))
    with pytest.raises(Unsupported, match="qcow2"):
        open_disk(QUICK, f"{web.url}/x.qcow2")


def test_absent(web: Served) -> None:
    with pytest.raises(NotFound):
        open_disk(QUICK, f"{web.url}/none.img")


def test_nginx(tmp_path: Path, image_bytes: bytes) -> None:
    (tmp_path / "html").mkdir()
    path = tmp_path / "html" / "disk.img"
    path.write_bytes(image_bytes)
    with nginx(tmp_path) as url:
        remote = source(f"{url}/disk.img")
        assert remote.read_at(9_000_000, 50_000) == image_bytes[9_000_000:9_050_000]
        path.write_bytes(image_bytes[:-1])
        with pytest.raises(FetchError, match="has changed"):
            remote.read_at(0, SIZE)


# --- a 20 GiB image


@pytest.fixture
def huge(web: Served, images: Callable[[str], Path]) -> str:
    """A guest's disk with a partition table, grown to 20 GiB of which nothing is stored."""
    data = images("mbr.img").read_bytes()
    with open(web.root / "huge.img", "wb") as file:
        file.write(data)
        file.truncate(20 << 30)
    return f"{web.url}/huge.img"


def test_only_blocks_that_are_read_are_transferred(web: Served, huge: str, images: Callable[[str], Path]) -> None:
    with open_devices(huge) as devices:
        menu = load(devices, find(devices))
    with open_devices(str(images("mbr.img"))) as devices:
        expected = load(devices, find(devices))
    assert [entry.title for entry in menu.entries] == [entry.title for entry in expected.entries]
    assert web.sent < 6 << 20


def test_verbs_read_little_of_a_huge_image(
    web: Served, huge: str, run_cli: RunCli, images: Callable[[str], Path]
) -> None:
    here = run_cli("ls", "-R", images("mbr.img"), "/").stdout
    assert here and run_cli("ls", "-R", huge, "/").stdout == here
    done = run_cli("plan", huge)
    assert done.returncode == 0, done.stderr
    assert web.sent < 64 << 20
