"""A client with PV-GRUB's habits (GRUB Legacy's netboot code): strict about the OACK, never asking again by itself."""

from __future__ import annotations

import random

import pytest

from tests.serve.tftp.peer import Peer, rrq
from tests.serve.tftp.served import Running, serving

BLKSIZE = 1432
REQUEST = ("blksize", BLKSIZE, "tsize", 0)
DATA = random.Random(9).randbytes(40 * BLKSIZE + 5)


def opened(peer: Peer, name: str) -> int:
    """The file's size out of an OACK that holds the two options asked for, in their case, and nothing else."""
    opcode, _, rest = peer.ask(rrq(name, *REQUEST))
    assert opcode == 6
    fields = rest.split(b"\0")[:-1]
    answer = dict(zip(fields[::2], fields[1::2], strict=True))
    assert set(answer) == {b"blksize", b"tsize"}
    assert 512 <= int(answer[b"blksize"]) <= BLKSIZE
    return int(answer[b"tsize"])


def read(running: Running, name: str, lose: random.Random, share: float) -> bytes:
    """The whole file; what is lost on the way is the server's to send again within the client's ten seconds."""
    with Peer(running, seconds=10) as peer:
        size = opened(peer, name)
        got, block = b"", 0
        if lose.random() >= share:
            peer.ack(0)
        while True:
            opcode, number, data = peer.take()
            if lose.random() < share:
                continue
            if opcode == 6:
                peer.ack(0)
                continue
            assert opcode == 3
            if number == block + 1:
                got, block = got + data, number
            if lose.random() >= share or len(data) < BLKSIZE:
                peer.ack(block)
            if len(data) < BLKSIZE:
                assert len(got) == size
                return got


@pytest.mark.parametrize("share", [0, 0.1])
def test_it_gets_its_file_though_packets_are_lost(share: float) -> None:
    with serving({"/boot/menu.lst": DATA}) as running:
        assert read(running, "/boot/menu.lst", random.Random(5), share) == DATA


def test_it_may_leave_early_and_open_again_to_go_back() -> None:
    with serving({"/f": DATA}) as running:
        for _ in range(3):
            with Peer(running) as peer:
                assert opened(peer, "f") == len(DATA)
                peer.ack(0)
                assert peer.take() == (3, 1, DATA[:BLKSIZE])
                peer.send(b"\0\5\0\0\0")
        running.idle()
    assert running.journal.outcomes == {"aborted": 3}
