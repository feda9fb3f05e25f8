"""What a stranger can send: the server serves on, and nothing is left behind."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from pvboot.serve.api import ServedDirectory
from pvboot.serve.tftp.limits import TftpLimits
from tests.serve.journal import wait_until
from tests.serve.tftp.peer import Peer, rrq, serves
from tests.serve.tftp.served import Running, open_descriptors, serving

DATA = random.Random(3).randbytes(20_000)
TABLE = {"/f": DATA, "/dir": ServedDirectory((("f", False, 1),)), "/empty": b"", "/\udcff\udcfe": b"odd"}
LIMITS = TftpLimits(half_open_seconds=10, timeout=0.3)

# Datagrams to the server's own port, of the kinds that end or confuse servers, and what they are answered by: an
# error code, a block of data, an OACK, or nothing.
PROBES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "silence"),
    "one byte": (b"\0", "silence"),
    "opcode alone": (b"\0\1", "error 4"),
    "opcode 0": (b"\0\0f\0octet\0", "silence"),
    "opcode 7": (b"\0\7f\0octet\0", "silence"),
    "opcode 257": (b"\1\1f\0octet\0", "silence"),
    "opcode 65535": (b"\xff" * 100, "silence"),
    "ACK": (b"\0\4\0\0", "silence"),
    "ACK of three bytes": (b"\0\4\0", "silence"),
    "DATA": (b"\0\3\0\1x", "silence"),
    "ERROR": (b"\0\5\0\0x\0", "silence"),
    "OACK": (b"\0\6blksize\x00512\0", "silence"),
    "no mode": (b"\0\1f\0", "error 4"),
    "no last NUL": (b"\0\1f\0octet", "error 4"),
    "no name": (b"\0\1\0octet\0", "error 4"),
    "NULs only": (b"\0\1" + bytes(300), "error 4"),
    "mode mail": (rrq("f", mode="mail"), "error 4"),
    "mode in capitals": (rrq("f", mode="OCTET"), "data"),
    "long name": (rrq("n" * 500), "error 1"),
    "longest request": (rrq("n" * 1015), "error 1"),
    "too long a request": (rrq("n" * 1016), "error 4"),
    "huge request": (rrq("n" * 60_000), "error 4"),
    "write": (rrq("f", opcode=2), "error 2"),
    "write with options": (rrq("new", "tsize", 5, opcode=2), "error 2"),
    "directory": (rrq("dir"), "error 2"),
    "root": (rrq("/"), "error 1"),
    "empty file": (rrq("empty"), "data"),
    "bytes that are no UTF-8": (rrq(b"\xff\xfe"), "data"),
    "name with a line end": (rrq(b"f\r\nf"), "error 2"),
    "name with an escape sequence": (rrq(b"\x1b]0;x\x07"), "error 2"),
    "dot dot": (rrq("../f"), "error 2"),
    "dot dot inside": (rrq("dir/../../f"), "error 2"),
    "dot dot at the end": (rrq("dir/.."), "error 2"),
    "dots and slashes": (rrq("/.//./f"), "data"),
    "backslashes": (rrq("..\\..\\f"), "error 1"),
    "percent": (rrq("%2e%2e/f"), "error 1"),
    "overlong dots": (rrq(b"\xc0\xae\xc0\xae/f"), "error 1"),
    "drive letter": (rrq("C:\\f"), "error 1"),
    "blksize no number": (rrq("f", "blksize", "abc"), "data"),
    "blksize 0": (rrq("f", "blksize", 0), "data"),
    "blksize -1": (rrq("f", "blksize", -1), "data"),
    "blksize 7": (rrq("f", "blksize", 7), "data"),
    "blksize 8": (rrq("f", "blksize", 8), "oack"),
    "blksize 65536": (rrq("f", "blksize", 65536), "oack"),
    "blksize of many digits": (rrq("f", "blksize", "9" * 900), "data"),
    "blksize without value": (b"\0\1f\0octet\0blksize\0", "data"),
    "blksize in capitals": (rrq("f", "BLKSIZE", 1024), "oack"),
    "windowsize 0": (rrq("f", "windowsize", 0), "data"),
    "windowsize 65535": (rrq("f", "windowsize", 65535), "oack"),
    "timeout 0": (rrq("f", "timeout", 0), "data"),
    "timeout 256": (rrq("f", "timeout", 256), "data"),
    "tsize no number": (rrq("f", "tsize", "x"), "data"),
    "multicast": (rrq("f", "multicast", ""), "data"),
    "unknown option": (rrq("f", "\x1b[2J", "\xff"), "data"),
    "option of NULs": (rrq("f", "", ""), "data"),
    "the same option again and again": (rrq("f", *["tsize", 0] * 30), "oack"),
    "too many options": (rrq("f", *["a", 0] * 33), "error 8"),
    "option bomb": (rrq("f", *["a", 0] * 240), "error 8"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serving(TABLE, LIMITS) as server:
        yield server


@pytest.mark.parametrize("probe", PROBES)
def test_odd_requests_get_the_right_answer(running: Running, probe: str) -> None:
    datagram, answer = PROBES[probe]
    with Peer(running) as peer:
        if answer == "silence":
            before = running.journal.counts["tftp_ignored"]
            peer.socket.sendto(datagram, peer.server)
            wait_until(lambda: running.journal.counts["tftp_ignored"] == before + 1)
        else:
            opcode, number, _ = peer.ask(datagram)
            assert {3: "data", 5: f"error {number}", 6: "oack"}[opcode] == answer
            peer.send(b"\0\5\0\0\0")
    serves(running)


INSIDE = [
    *b"|\0|\0\4|\0\4\0|\0\4\0\1\0|\0\4\xff\xff|\0\3\0\1junk|\0\6tsize\x001\0|\0\1f\0octet\0|\0\2f\0octet\0|\0\0\0\0".split(
        b"|"
    ),
    b"\xff" * 2000,
    bytes(60_000),
]


@pytest.mark.parametrize("options", [(), ("tsize", 0), ("windowsize", 4, "blksize", 64)])
@pytest.mark.parametrize("datagram", INSIDE)
def test_odd_packets_inside_a_transfer_change_nothing(
    running: Running, datagram: bytes, options: tuple[object, ...]
) -> None:
    with Peer(running) as peer:
        packet = peer.ask(rrq("f", *options))
        peer.send(datagram)
        if packet[0] == 6:
            peer.ack(0)
            packet = peer.take()
            while packet[0] == 6:
                packet = peer.take()
        assert packet[:2] == (3, 1) and packet[2] == DATA[: len(packet[2])]
        peer.send(b"\0\5\0\0\0")
    running.idle()


def test_a_flood_of_requests_that_nobody_answers() -> None:
    limits = TftpLimits(sessions=100, sessions_per_address=1000, half_open_seconds=3)
    with serving(TABLE, limits) as running:
        serves(running)
        running.idle()
        before = open_descriptors()
        peers = [Peer(running) for _ in range(300)]
        for peer in peers:
            peer.socket.sendto(rrq("f", "tsize", 0), peer.server)
        wait_until(lambda: len(running.journal.transfers) + running.journal.counts["tftp_over_limit"] == 301)
        assert running.server.active <= 100
        assert open_descriptors() <= before + 300 + 100
        # In the midst of it somebody is served.
        with Peer(running) as honest:
            packet = honest.ask(rrq("f"))
            assert packet[:2] == (3, 1)
            honest.ack(1)
            assert honest.take()[:2] == (3, 2)
            honest.send(b"\0\5\0\0\0")
        running.idle()
        for peer in peers:
            peer.socket.close()
        serves(running)


def test_duplicate_acks_of_a_whole_transfer_do_not_multiply_it(running: Running) -> None:
    with Peer(running) as peer:
        packet = peer.ask(rrq("f"))
        packets = 1
        while len(packet[2]) == 512:
            for _ in range(3):
                peer.ack(packet[1])
            packet = peer.take()
            packets += 1
        peer.ack(packet[1])
        assert packets == len(DATA) // 512 + 1
        assert peer.silent(0.2)
    running.idle()


def mutations(seed: int) -> Iterator[bytes]:
    """Datagrams near to sensible ones, without end."""
    luck = random.Random(seed)
    words = (
        b"f|dir|empty|..|/|octet|netascii|mail|blksize|tsize|timeout|windowsize|0|8|512|1428|65464|65536|-1||\xff|%s%n"
    )
    pieces = [*words.split(b"|"), b"9" * 20, b"\x1b[0m", b"a" * 300]
    while True:
        if luck.random() < 0.2:
            yield luck.randbytes(luck.choice((0, 1, 2, 3, 4, 5, 60, 500, 1030)))
            continue
        opcode = luck.choice((1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 0))
        whole = bytes((0, opcode)) + b"".join(luck.choice(pieces) + b"\0" for _ in range(luck.randrange(12)))
        damaged = bytearray(whole)
        for _ in range(luck.choice((0, 0, 1, 3))):
            damaged[luck.randrange(len(damaged))] = luck.randrange(256)
        yield bytes(damaged[: luck.randrange(len(damaged)) + 1] if luck.random() < 0.3 else damaged)


def barrier(running: Running, peer: Peer) -> None:
    """Return when the server has read all that was sent before."""
    before = len(running.journal.refusals)
    peer.socket.sendto(rrq("missing"), peer.server)
    wait_until(lambda: len(running.journal.refusals) > before)


def test_twenty_five_thousand_hostile_requests() -> None:
    limits = TftpLimits(sessions=500, sessions_per_address=500, half_open_seconds=3, timeout=0.2)
    generated = mutations(1)
    with serving(TABLE, limits) as running, Peer(running) as witness:
        witness.socket.setblocking(False)
        for turn in range(250):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hostile:
                for _ in range(100):
                    hostile.sendto(next(generated), ("127.0.0.1", running.port))
                barrier(running, witness)
            if turn % 50 == 0:
                wait_until(lambda: running.server.active < 400)
                serves(running)
        running.idle()
        serves(running)
    assert set(running.journal.outcomes) <= {"done", "aborted", "timeout"}


def test_twenty_five_thousand_hostile_packets_inside_transfers() -> None:
    luck = random.Random(2)
    generated = mutations(3)
    sent = 0
    with serving(TABLE, TftpLimits(half_open_seconds=3, timeout=0.2)) as running:
        while sent < 25_000:
            with Peer(running) as peer:
                peer.ask(rrq("f", *luck.choice(((), ("tsize", 0), ("windowsize", 8, "blksize", 8)))))
                for _ in range(100):
                    datagram = b"\0\4\0" + luck.randbytes(1) if luck.random() < 0.2 else next(generated)
                    if datagram[:2] == b"\0\5" and luck.random() < 0.95:
                        # It would be the end of the session, and is so often enough.
                        continue
                    try:
                        peer.send(datagram)
                    except ConnectionRefusedError:
                        break
                    sent += 1
                barrier(running, peer)
            if sent % 5000 < 100:
                serves(running)
        running.idle()
        serves(running)
    assert set(running.journal.outcomes) <= {"done", "aborted", "timeout"}
