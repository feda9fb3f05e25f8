"""One transfer against the rules: what is answered, what is not, and what is sent again."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdrivers.api import Extent
from pvboot.serve.tftp import options
from pvboot.serve.tftp.limits import TftpLimits
from pvboot.serve.tftp.session import HALF_OPEN_RESENDS, Session
from pvboot.serve.tftp.source import FileReader
from tests.serve.tftp.served import ExtentFile


class Link:
    """The session's end of a socket, as a list of what was sent."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waiting: list[bytes | OSError] = []

    def send(self, data: memoryview | bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def recv(self, size: int) -> bytes:
        found = self.waiting.pop(0) if self.waiting else BlockingIOError()
        if isinstance(found, OSError):
            raise found
        return found[:size]

    def setsockopt(self, *_: object) -> None:
        raise OSError("no segmentation here")


class Talk:
    """A session and its clock; every method gives what was sent in answer."""

    def __init__(self, data: bytes, *asked: tuple[bytes, bytes], limits: TftpLimits | None = None) -> None:
        self.link, self.now = Link(), 100.0
        limits = limits or TftpLimits()
        agreed = options.negotiate(asked, len(data), 65000, limits)
        reader = FileReader(ExtentFile([Extent(len(data), data=data)] if data else []))
        self.session = Session(self.link, reader, agreed, limits, 65000, self.now)  # type: ignore[arg-type]
        self.session.start(self.now)
        self.opening = self._sent()

    def _sent(self) -> list[bytes]:
        sent, self.link.sent = self.link.sent, []
        return sent

    def hear(self, datagram: bytes | OSError) -> list[bytes]:
        self.link.waiting.append(datagram)
        self.session.readable(self.now)
        return self._sent()

    def ack(self, block: int) -> list[int]:
        return self.blocks(self.hear(b"\0\4" + (block & 0xFFFF).to_bytes(2, "big")))

    def wait(self, seconds: float) -> list[bytes]:
        end = self.now + seconds
        while self.now < end and self.session.outcome is None:
            self.now += 0.1
            self.session.tick(self.now)
        return self._sent()

    def ask_again(self) -> list[bytes]:
        self.session.repeated_request(self.now)
        return self._sent()

    @staticmethod
    def blocks(sent: Sequence[bytes]) -> list[int]:
        assert all(packet[:2] == b"\0\3" for packet in sent)
        return [int.from_bytes(packet[2:4], "big") for packet in sent]


SIZE = ((b"TSize", b"0"),)
WINDOW = ((b"blksize", b"8"), (b"windowsize", b"4"))


@pytest.mark.parametrize(
    ("size", "asked", "acks", "outcome"),
    [
        # Without options the first block is the answer; the last one is short, and may be empty.
        (0, (), {1: []}, "done"),
        (511, (), {1: []}, "done"),
        (512, (), {1: [2], 2: []}, "done"),
        (1024, (), {1: [2], 2: [3], 3: []}, "done"),
        # An OACK waits for the ACK of block 0.
        (100, SIZE, {5: [], 0: [1], 1: []}, "done"),
        # A repeated ACK is no reason to send again; ACKs of blocks not sent, and of old ones, are ignored.
        (
            5000,
            (),
            [(1, [2]), (1, []), (1, []), (2, [3]), (1, []), (4, []), (9, []), (0, []), (65535, []), (3, [4])],
            None,
        ),
        # A window is sent at once and acknowledged at its end; the last one ends with the file.
        (40, WINDOW, {0: [1, 2, 3, 4], 4: [5, 6], 6: []}, "done"),
        # An ACK inside the window means that its tail was lost; some clients repeat it for each packet that follows.
        (100, WINDOW, [(0, [1, 2, 3, 4]), (2, [3, 4, 5, 6]), (2, []), (2, []), (6, [7, 8, 9, 10])], None),
        # A lost first block of a window is answered once.
        (100, WINDOW, [(0, [1, 2, 3, 4]), (4, [5, 6, 7, 8]), (4, [5, 6, 7, 8]), (4, []), (4, [])], None),
    ],
)
def test_conversations(
    size: int,
    asked: tuple[tuple[bytes, bytes], ...],
    acks: dict[int, list[int]] | list[tuple[int, list[int]]],
    outcome: str | None,
) -> None:
    """Each ACK is answered by these blocks."""
    talk = Talk(bytes(size), *asked)
    for number, blocks in acks.items() if isinstance(acks, dict) else acks:
        assert talk.ack(number) == blocks
    assert talk.session.outcome == outcome
    assert outcome is None or talk.session.sent == size


def test_an_oack_speaks_the_clients_words() -> None:
    assert Talk(bytes(100), *SIZE).opening == [b"\0\6TSize\x00100\0"]


class Troubled(Link):
    """A socket whose sends fail as told: (longest that passes, error number)."""

    def __init__(self, trouble: tuple[int, int]) -> None:
        super().__init__()
        self.longest, self.number = trouble
        self.segment = 0

    def send(self, data: memoryview | bytes) -> int:
        if len(data) > self.longest:
            raise OSError(self.number, "as told")
        return super().send(data)

    def setsockopt(self, *options: object) -> None:
        self.segment = int(str(options[-1]))


def troubled(data: bytes, trouble: tuple[int, int]) -> tuple[Session, Troubled]:
    link = Troubled(trouble)
    agreed = options.negotiate([(b"blksize", b"500"), (b"windowsize", b"4")], len(data), 1400, TftpLimits())
    reader = FileReader(ExtentFile([Extent(len(data), data=data)]))
    session = Session(link, reader, agreed, TftpLimits(), 1400, 0.0)  # type: ignore[arg-type]
    session.start(0.0)
    return session, link


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EMSGSIZE, errno.EIO])
def test_where_the_kernel_cannot_cut_a_window_it_is_sent_in_pieces(number: int) -> None:
    session, link = troubled(bytes(5000), (504, number))
    assert link.segment == 504
    session.take(b"\0\4\0\0", 0.1)
    assert link.segment == 0
    assert Talk.blocks(link.sent[1:]) == [1, 2, 3, 4]
    session.take(b"\0\4\0\4", 0.2)
    assert Talk.blocks(link.sent[1:]) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_where_the_kernel_cuts_a_window_it_is_one_send() -> None:
    session, link = troubled(bytes(5000), (65507, 0))
    session.take(b"\0\4\0\0", 0.1)
    assert [len(sent) for sent in link.sent[1:]] == [4 * 504]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS, errno.ENETUNREACH, errno.EPERM])
def test_what_cannot_leave_now_is_sent_again(number: int) -> None:
    session, link = troubled(bytes(5000), (0, number))
    session.take(b"\0\4\0\0", 0.1)
    assert not link.sent and session.outcome is None
    link.longest = 65507
    session.tick(5.0)
    assert len(link.sent) == 1 and session.resends == 1
    session.take(b"\0\4\0\4", 5.1)
    assert session.base == 4


def test_a_refused_send_is_the_clients_end() -> None:
    session, _ = troubled(bytes(5000), (0, errno.ECONNREFUSED))
    assert session.outcome == "aborted"


def test_other_failures_are_the_callers() -> None:
    session, _ = troubled(bytes(5000), (100, errno.EACCES))
    with pytest.raises(OSError, match="as told"):
        session.take(b"\0\4\0\0", 0.1)


def test_the_server_sends_again_on_its_own_and_gives_up_in_the_end() -> None:
    talk = Talk(bytes(5000))
    talk.ack(1)
    # PV-GRUB waits 10 seconds for a packet, once.
    again = talk.wait(5)
    assert len(again) >= 2 and {packet[2:4] for packet in again} == {b"\0\2"}
    rest = talk.wait(60)
    assert talk.session.outcome == "timeout"
    assert len(again) + len(rest) == TftpLimits().retries == talk.session.resends


def test_resends_come_ever_more_slowly() -> None:
    talk = Talk(bytes(5000), limits=TftpLimits(timeout=1, timeout_min=1, timeout_max=8))
    talk.ack(1)
    counts = [len(talk.wait(seconds)) for seconds in (1.05, 2, 4)]
    assert counts == [1, 1, 1]


def test_the_clients_own_timeout_is_kept() -> None:
    talk = Talk(bytes(5000), (b"timeout", b"7"))
    talk.ack(0)
    assert talk.wait(6.8) == []
    assert len(talk.wait(0.4)) == 1


def test_an_answer_restores_patience() -> None:
    talk = Talk(bytes(5000))
    talk.ack(1)
    talk.wait(3)
    assert talk.ack(2) == [3]
    assert talk.session.outcome is None
    assert len(talk.wait(2)) >= 1


def test_an_address_that_has_not_answered_gets_little() -> None:
    """Its requests may be forged: they must not be worth sending.  PV-GRUB waits ten seconds for the first packet."""
    talk = Talk(bytes(5000), (b"tsize", b"0"), limits=TftpLimits(retries=50))
    assert len(talk.wait(10)) == HALF_OPEN_RESENDS
    for seconds, sent in ((0.0, 1), (0.1, 0), (1.0, 1)):
        talk.now += seconds
        assert len(talk.ask_again()) == sent
    assert talk.ack(0) == [1]
    talk.now += 9
    assert talk.ask_again() == []


def test_who_never_answers_is_given_up_early() -> None:
    talk = Talk(bytes(5000), (b"tsize", b"0"), limits=TftpLimits(half_open_seconds=3, retries=50))
    talk.wait(3.2)
    assert talk.session.outcome == "timeout"


def test_a_transfer_may_have_a_longest_time() -> None:
    talk = Talk(bytes(100_000), limits=TftpLimits(session_seconds=5))
    for block in range(1, 6):
        talk.ack(block)
        talk.wait(1)
    talk.wait(1)
    assert talk.session.outcome == "timeout"


def test_an_error_from_the_client_is_a_normal_end() -> None:
    talk = Talk(bytes(5000))
    assert talk.hear(b"\0\5\0\0enough\0") == []
    assert talk.session.outcome == "aborted"


def test_a_closed_port_is_a_normal_end() -> None:
    talk = Talk(bytes(5000))
    talk.hear(ConnectionRefusedError())
    assert talk.session.outcome == "aborted"


@pytest.mark.parametrize(
    "datagram", [b"", b"\0", b"\0\4", b"\0\4\0", b"\0\7\0\1", b"\xff" * 64, b"\0\3\0\1x", b"\0\1f\0octet\0", b"\0\6\0"]
)
@pytest.mark.parametrize("asked", [(), ((b"tsize", b"0"),)])
def test_junk_is_ignored(datagram: bytes, asked: tuple[tuple[bytes, bytes], ...]) -> None:
    talk = Talk(bytes(5000), *asked)
    assert talk.hear(datagram) == [] and talk.session.outcome is None


@pytest.mark.parametrize("windowsize", [1, 4, 64])
def test_block_numbers_go_on_from_zero(windowsize: int) -> None:
    data = random.Random(1).randbytes(8 * 65600 + 3)
    talk = Talk(data, (b"blksize", b"8"), (b"windowsize", b"%d" % windowsize))
    got, block = bytearray(), 0
    sent = talk.hear(b"\0\4\0\0")
    while talk.session.outcome is None:
        for packet in sent:
            block += 1
            assert int.from_bytes(packet[2:4], "big") == block & 0xFFFF
            got += packet[4:]
        sent = talk.hear(b"\0\4" + (block & 0xFFFF).to_bytes(2, "big"))
    assert got == data and talk.session.outcome == "done"


@given(st.binary(max_size=400), st.integers(1, 8), st.integers(8, 40), st.integers())
def test_the_file_arrives_over_any_bad_line(data: bytes, windowsize: int, blksize: int, seed: int) -> None:
    """Packets of both directions are lost, doubled and reordered; the client is RFC 7440's, and asks again."""
    luck = random.Random(seed)
    talk = Talk(
        data,
        (b"blksize", b"%d" % blksize),
        (b"windowsize", b"%d" % windowsize),
        limits=TftpLimits(retries=100, half_open_seconds=3600),
    )
    got, block, unanswered, finished = b"", 0, 0, False
    sent = talk.opening
    for _ in range(3000):
        if talk.session.outcome is not None:
            break
        answers = []
        line = [packet for packet in sent for _ in range(luck.choice((0, 1, 1, 1, 1, 2)))]
        if luck.random() < 0.2:
            luck.shuffle(line)
        for packet in line:
            if packet[1] == 6:
                answers.append(0)
                continue
            number = int.from_bytes(packet[2:4], "big")
            if number == block + 1 and not finished:
                block, got, unanswered = number, got + packet[4:], unanswered + 1
                finished = len(packet) < blksize + 4
                if finished or unanswered == windowsize:
                    answers.append(block)
                    unanswered = 0
            else:
                answers.append(block)
                unanswered = 0
        sent = []
        for number in answers:
            for _ in range(luck.choice((0, 1, 1, 1, 2))):
                sent += talk.hear(b"\0\4" + number.to_bytes(2, "big"))
        if not sent and talk.session.outcome is None:
            sent = talk.wait(5) or talk.ask_again()
    assert talk.session.outcome == "done"
    assert got == data
