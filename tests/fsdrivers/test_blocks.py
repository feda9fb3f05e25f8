"""Sources: raw files, slices, memory, and the containers that are refused by name."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from array import array
from pathlib import Path

import pytest

from fsdrivers.api import BlockSource
from fsdrivers.blocks import CONTAINER_MAGICS, FileSource, MemorySource, SliceSource, open_source
from fsdrivers.errors import SourceError, Unsupported


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(range(256)) * 16)
    return path


def test_every_source_reads_the_same(image: Path) -> None:
    data = image.read_bytes()
    whole = open_source(image)
    sources: list[tuple[BlockSource, int]] = [
        (whole, 0),
        (MemorySource(data), 0),
        (SliceSource(whole, 100, 3000, "s"), 100),
        (SliceSource(SliceSource(whole, 90, 3500, "s"), 10, 3000, "t"), 100),
    ]
    for source, start in sources:
        assert source.read_at(7, 1000) == data[start + 7 : start + 1007]
        assert source.read_at(source.size, 0) == b""
        (extent,) = source.extents(7, 1000)
        found = extent.data if extent.fd is None else os.pread(extent.fd, extent.length, extent.offset)
        assert found == data[start + 7 : start + 1007]
        for offset, size in ((-1, 5), (source.size - 1, 2), (1 << 70, 1), (0, 1 << 70), (5, -1)):
            with pytest.raises(SourceError, match="outside"):
                source.read_at(offset, size)
            with pytest.raises(SourceError, match="outside"):
                list(source.extents(offset, size))


def test_file_cut_while_open(image: Path) -> None:
    source = open_source(image)
    os.truncate(image, 1000)
    with pytest.raises(SourceError, match=r"short read.*expected 600 bytes, found 100 bytes"):
        source.read_at(900, 600)


def test_descriptor_is_closed_on_exec_and_read_only(image: Path) -> None:
    source = open_source(image)
    (extent,) = source.extents(0, 1)
    assert extent.fd is not None and not os.get_inheritable(extent.fd)
    with pytest.raises(OSError):
        os.write(extent.fd, b"x")


def test_given_descriptor_stays_open(image: Path) -> None:
    fd = os.open(image, os.O_RDONLY)
    source = open_source(fd, name="given")
    source.close()
    source.close()
    assert os.pread(fd, 1, 1) == b"\1"
    os.close(fd)


@pytest.mark.parametrize("path", ["missing", "", "nul\0byte"])
def test_cannot_open(path: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot open"):
        open_source(f"{tmp_path}/{path}" if path == "missing" else path)


def test_not_an_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    for path, what in ((tmp_path, "a directory"), (tmp_path / "fifo", "a special file"), (tmp_path / "empty", "empty")):
        with pytest.raises(SourceError, match=what):
            open_source(path)


@pytest.mark.parametrize(("offset", "magic", "name"), CONTAINER_MAGICS)
def test_containers_are_refused_by_name(offset: int, magic: bytes, name: str, tmp_path: Path) -> None:
    data = bytearray(4096)
    start = offset % len(data)
    data[start : start + len(magic)] = magic
    path = tmp_path / "image"
    path.write_bytes(data)
    with pytest.raises(Unsupported, match=name.replace("(", r"\(").replace(")", r"\)")):
        open_source(path)
    assert open_source(path, raw=True).size == 4096


def openable(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def test_every_disk_of_this_machine_that_we_may_open_knows_its_size_and_sectors() -> None:
    """Skipped where no loop device can be had (a container); the next test stands in."""
    sizes = {
        Path("/dev") / name: int(Path("/sys/block", name, "size").read_text()) * 512
        for name in os.listdir("/sys/block")
    }
    for disk in (path for path, size in sizes.items() if size and openable(path)):
        source = open_source(disk, raw=True)
        assert isinstance(source, FileSource)
        assert source.size == sizes[disk]
        assert source.sector_size in (512, 4096)
        source.close()


@pytest.mark.parametrize("answer", [512, 4096, None])
def test_sectors_of_a_block_device_are_what_its_driver_answers(
    image: Path, monkeypatch: pytest.MonkeyPatch, answer: int | None
) -> None:
    """A file posing as a device: only the type in its stat and the answer to BLKSSZGET are made up."""

    def ioctl(fd: int, request: int, number: array[int]) -> int:
        assert (os.fstat(fd).st_size, request, number.itemsize) == (4096, 0x1268, 4)
        if answer is None:
            raise OSError(errno.ENOTTY, "no such request")
        number[0] = answer
        return 0

    monkeypatch.setattr(stat, "S_ISBLK", lambda mode: True)
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    source = open_source(image)
    assert isinstance(source, FileSource)
    assert (source.size, source.sector_size) == (4096, answer)
