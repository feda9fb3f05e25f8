"""Files of any make come out of their extents as the right packets."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.api import Extent
from fsdrivers.errors import SourceError
from pvboot.serve.tftp.blocks import Blocks
from pvboot.serve.tftp.source import FileReader
from tests.serve.tftp.served import ExtentFile

IMAGE = bytes(range(256)) * 64


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("image") / "image"
    path.write_bytes(IMAGE)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


KINDS = st.tuples(st.sampled_from(["fd", "data", "hole"]), st.integers(0, 700), st.integers(0, 9000))


def build(kinds: list[tuple[str, int, int]], fd: int) -> tuple[list[Extent], bytes]:
    runs, whole = [], b""
    for kind, length, offset in kinds:
        data = bytes(length) if kind == "hole" else IMAGE[offset : offset + length]
        whole += data
        runs.append(
            {"fd": Extent(length, fd=fd, offset=offset), "data": Extent(length, data=data), "hole": Extent(length)}[
                kind
            ]
        )
    return runs, whole


@given(st.lists(KINDS, max_size=8), st.integers(8, 1500), st.integers(1, 70), st.integers(100, 5000), st.data())
def test_packets_hold_the_file(
    image: int, kinds: list[tuple[str, int, int]], blksize: int, windowsize: int, most_bytes: int, data: st.DataObject
) -> None:
    runs, whole = build(kinds, image)
    blocks = Blocks(FileReader(ExtentFile(runs)), blksize, windowsize, most_bytes)
    assert blocks.last == len(whole) // blksize + 1
    first = 1
    while first <= blocks.last:
        last = min(first + windowsize - 1, blocks.last)
        raw = bytes(blocks.packets(first, last))
        for number in range(first, last + 1):
            packet = raw[(number - first) * (blksize + 4) :][: blksize + 4]
            assert packet[:4] == b"\0\3" + (number & 0xFFFF).to_bytes(2, "big")
            assert packet[4:] == whole[(number - 1) * blksize : number * blksize]
        first += data.draw(st.integers(1, windowsize))


def test_extents_that_do_not_add_up_are_refused() -> None:
    class Liar(ExtentFile):
        size = 10

    with pytest.raises(SourceError):
        FileReader(Liar([Extent(9)]))


def test_a_file_that_was_cut_is_an_error(image: int) -> None:
    reader = FileReader(ExtentFile([Extent(100, fd=image, offset=len(IMAGE) - 50)]))
    with pytest.raises(SourceError):
        reader.read_into(0, [memoryview(bytearray(100))], 100)


def test_a_closed_descriptor_is_an_error(image: int) -> None:
    fd = os.dup(image)
    reader = FileReader(ExtentFile([Extent(100, fd=fd)]))
    os.close(fd)
    with pytest.raises(SourceError):
        reader.read_into(0, [memoryview(bytearray(100))], 100)


def test_windows_may_be_larger_than_one_read(image: int) -> None:
    blocks = Blocks(FileReader(ExtentFile([Extent(8000, fd=image)])), 8, 700, 1 << 20)
    raw = bytes(blocks.packets(100, 799))
    assert raw[4:12] == IMAGE[99 * 8 : 100 * 8] and raw[-8:] == IMAGE[798 * 8 : 799 * 8]
