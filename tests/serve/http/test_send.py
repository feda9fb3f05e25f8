"""Extents on a socket: every byte, in order, whatever stands behind them."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.api import Extent
from fsdrivers.extents import cut
from pvboot.serve.extents import GATHER_BYTES, gathered
from pvboot.serve.http.send import SENDFILE_BYTES, pieces
from tests.serve.http.raw import connect, exchange, receive_all
from tests.serve.http.support import Broken, running
from tests.serve.http.test_server import GOOD
from tests.serve.journal import wait_until


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> int:
    """A descriptor of eight MiB of noise."""
    path: Path = tmp_path_factory.mktemp("send") / "disk"
    path.write_bytes(random.Random(1).randbytes(8 << 20))
    return os.open(path, os.O_RDONLY)


def content(extents: Sequence[Extent]) -> bytes:
    """The same by other means."""
    parts = []
    for extent in extents:
        if extent.fd is not None:
            parts.append(os.pread(extent.fd, extent.length, extent.offset))
        else:
            parts.append(bytes(extent.length) if extent.data is None else extent.data)
    return b"".join(parts)


def some_extents(chance: random.Random, disk: int) -> list[Extent]:
    found = []
    for _ in range(chance.randrange(12)):
        length = chance.choice([1, 5000, SENDFILE_BYTES - 1, SENDFILE_BYTES, GATHER_BYTES, GATHER_BYTES + 1, 900_000])
        kind = chance.randrange(4)
        if kind == 0:
            found.append(Extent(length))
        elif kind == 1:
            found.append(Extent(length, data=chance.randbytes(length)))
        else:
            found.append(Extent(length, disk, chance.randrange((8 << 20) - length)))
    return found


@given(st.integers(0, 2**32), st.booleans())
def test_pieces_of_a_part_of_a_file_are_its_bytes(disk: int, seed: int, copying: bool) -> None:
    chance = random.Random(seed)
    extents = some_extents(chance, disk)
    whole = content(extents)
    start = chance.randrange(len(whole) + 1)
    length = chance.randrange(len(whole) - start + 1)
    sent = b""
    part = list(cut(extents, start, length))
    for piece in gathered(part) if copying else pieces(part):
        if isinstance(piece, Extent):
            assert piece.length >= SENDFILE_BYTES
            sent += content([piece])
        else:
            assert len(piece) < 2 * GATHER_BYTES
            sent += piece
    assert sent == whole[start : start + length]


@pytest.mark.parametrize("seed", range(8))
def test_all_is_sent(disk: int, seed: int) -> None:
    extents = [*some_extents(random.Random(seed), disk), *[Extent((8 << 20) - 17, disk, 17)] * 2]
    expected = content(extents)
    with running(Broken(*extents)) as site:
        (reply,) = exchange(site.port, GOOD)
    assert reply.body == expected


def test_what_sendfile_does_not_take_is_copied() -> None:
    """A process's environment is a file that has no pages to send."""
    with subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], "NOISE": "noise " * 20_000}) as process:
        environment = Path(f"/proc/{process.pid}/environ")
        fd = os.open(environment, os.O_RDONLY)
        whole = environment.read_bytes()
        try:
            with running(Broken(Extent(50_000, fd, 0), Extent(len(whole) - 50_000, fd, 50_000))) as site:
                (reply,) = exchange(site.port, GOOD)
            assert reply.body == whole
        finally:
            os.close(fd)
            process.kill()


@pytest.mark.parametrize("length", [10, SENDFILE_BYTES, 5 << 20])
def test_a_file_that_ends_early_is_an_error(tmp_path: Path, length: int) -> None:
    """As an image that is cut while it is served."""
    (tmp_path / "disk").write_bytes(b"x" * (length - 1))
    fd = os.open(tmp_path / "disk", os.O_RDONLY)
    try:
        content = Broken(Extent(length, fd, 0))
        with running(content) as site, connect(site.port) as sock:
            sock.sendall(GOOD)
            head, _, body = receive_all(sock).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 500") or len(body) < length
            assert site.journal.transfers[0].outcome.startswith("error: byte ")
        assert content.closed == 1
    finally:
        os.close(fd)


def test_extents_that_do_not_add_up_are_an_error() -> None:
    with running(Broken(Extent(5), size=6)) as site, connect(site.port) as sock:
        sock.sendall(GOOD)
        receive_all(sock)
        assert site.journal.transfers[0].outcome == "error: extents do not add up to the file"


def test_progress_is_what_the_kernel_took_of_the_body(disk: int) -> None:
    with running(Broken(*[Extent(8 << 20, disk, 0)] * 4)) as site, connect(site.port) as sock:
        sock.sendall(GOOD)
        wait_until(lambda: bool(site.journal.transfers) and bool(site.journal.transfers[0].sent))  # until it is full
        assert 0 < site.journal.transfers[0].sent[0] < 32 << 20
    assert site.journal.transfers[0].outcome == "aborted"
