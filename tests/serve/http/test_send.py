"""Extents on a socket: every byte, in order, whatever stands behind them."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.api import Extent
from pvboot.serve.http.send import GATHER_BYTES, SENDFILE_BYTES, TURN_BYTES, Sender, ShortFile, clipped, pieces
from pvboot.serve.http.wire import Gone, Wire

HEAD = b"head\r\n\r\n"


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
            os.lseek(extent.fd, extent.offset, os.SEEK_SET)
            parts.append(os.read(extent.fd, extent.length))
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
def test_pieces_of_a_clipped_file_are_its_bytes(disk: int, seed: int, copying: bool) -> None:
    chance = random.Random(seed)
    extents = some_extents(chance, disk)
    whole = content(extents)
    start = chance.randrange(len(whole) + 1)
    length = chance.randrange(len(whole) - start + 1)
    sent = b""
    for piece in pieces(HEAD, clipped(extents, start, length), copying=copying):
        if isinstance(piece, Extent):
            assert piece.length >= SENDFILE_BYTES and not copying
            sent += content([piece])
        else:
            assert len(piece) < 2 * GATHER_BYTES + len(HEAD)
            sent += piece
    assert sent == HEAD + whole[start : start + length]


def over_a_socket(step: Callable[[Wire], Awaitable[None]], *, receive: bool = True) -> bytes:
    """Run `step` with the wire of a TCP connection; what its other side received."""

    async def run() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            served, _ = listener.accept()
        wire = Wire(served, None, asyncio.get_running_loop())
        received = asyncio.to_thread(lambda: b"".join(iter(lambda: client.recv(1 << 16), b""))) if receive else None
        reader = asyncio.ensure_future(received) if received is not None else None
        try:
            await step(wire)
        finally:
            wire.close()
            got = await reader if reader is not None else b""
            client.close()
        return got

    return asyncio.run(run())


@pytest.mark.parametrize("seed", range(8))
def test_a_sender_sends_it_all(disk: int, seed: int) -> None:
    extents = [*some_extents(random.Random(seed), disk), Extent(3 * TURN_BYTES, disk, 17)]
    length = sum(extent.length for extent in extents)

    async def step(wire: Wire) -> None:
        sender = Sender(wire, HEAD, extents, length)
        await wire.write_by(sender.step)
        assert sender.sent == length

    assert over_a_socket(step) == HEAD + content(extents)


def test_what_sendfile_does_not_take_is_copied() -> None:
    """A process's environment is a file that has no pages to send."""
    with subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], "NOISE": "noise " * 20_000}) as process:
        environment = Path(f"/proc/{process.pid}/environ")
        fd = os.open(environment, os.O_RDONLY)
        whole = environment.read_bytes()
        runs = [Extent(50_000, fd, 0), Extent(len(whole) - 50_000, fd, 50_000)]

        async def step(wire: Wire) -> None:
            with pytest.raises(OSError, match="Invalid argument"):
                os.sendfile(wire.fileno(), fd, 0, 1)
            await wire.write_by(Sender(wire, HEAD, runs, len(whole)).step)

        try:
            assert over_a_socket(step) == HEAD + whole
        finally:
            os.close(fd)
            process.kill()


@pytest.mark.parametrize("length", [10, SENDFILE_BYTES, 5 << 20])
def test_a_file_that_ends_early_is_an_error(tmp_path: Path, length: int) -> None:
    """An image that is cut while it is served."""
    (tmp_path / "disk").write_bytes(b"x" * (length - 1))
    fd = os.open(tmp_path / "disk", os.O_RDONLY)

    async def step(wire: Wire) -> None:
        with pytest.raises(ShortFile):
            await wire.write_by(Sender(wire, b"", [Extent(length, fd, 0)], length).step)

    try:
        over_a_socket(step)
    finally:
        os.close(fd)


def test_extents_that_do_not_add_up_are_an_error() -> None:
    async def step(wire: Wire) -> None:
        with pytest.raises(ShortFile):
            await wire.write_by(Sender(wire, b"", [Extent(5)], 6).step)

    over_a_socket(step)


def test_progress_is_what_the_kernel_took_without_the_head(disk: int) -> None:
    async def step(wire: Wire) -> None:
        sender = Sender(wire, HEAD, [Extent(8 << 20, disk, 0)] * 4, 32 << 20)
        assert sender.sent == 0
        task = asyncio.ensure_future(wire.write_by(sender.step))
        while not sender.sent or wire.unacknowledged() == 0:  # until the socket is full: nobody reads
            await asyncio.sleep(0.01)
        assert wire.sent == sender.sent + len(HEAD)
        wire.end("timeout")
        with pytest.raises(Gone, match="timeout"):
            await task
        with pytest.raises(Gone, match="timeout"):
            await wire.read()

    over_a_socket(step, receive=False)
