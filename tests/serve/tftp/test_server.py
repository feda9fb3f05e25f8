"""The server as a whole: addresses, limits, repeated requests, stopping."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fsdrivers.api import Extent
from fsdrivers.errors import Corrupt, IsADirectory, LinkLoop, NotADirectory, NotFound, SourceError
from pvboot.errors import NetworkError
from pvboot.serve.api import ServedDirectory
from pvboot.serve.tftp.limits import TftpLimits
from pvboot.serve.tftp.server import TftpServer
from tests import REPOSITORY
from tests.serve.journal import MemoryJournal, wait_until
from tests.serve.tftp.peer import Peer, rrq, serves
from tests.serve.tftp.served import Files, serving

DATA = bytes(range(256)) * 11


def test_the_journal_hears_of_a_transfer() -> None:
    with serving({"/a/f": DATA}) as running:
        serves(running, "a/f", DATA)
        running.idle()
    (transfer,) = running.journal.transfers
    who, path, size = transfer.who, transfer.path, transfer.size
    assert (who.protocol, who.address, path, size) == ("tftp", "127.0.0.1", "/a/f", len(DATA))
    assert transfer.end == ("done", len(DATA))
    assert running.files.asked == [who]


def test_progress_is_told_while_it_goes_on() -> None:
    with serving({"/f": DATA}) as running, Peer(running) as peer:
        peer.ask(rrq("f"))
        peer.ack(1)
        wait_until(lambda: running.journal.transfers[0].sent)
        assert running.journal.transfers[0].sent == [512]
        peer.send(b"\0\5\0\0\0")
        running.idle()
    assert running.journal.transfers[0].end == ("aborted", 512)


@pytest.mark.parametrize(
    ("found", "code", "text"),
    [
        (None, 1, b"file not found"),
        (NotFound("no such file", where="/secret/place"), 1, b"file not found"),
        (NotADirectory("not a directory"), 1, b"file not found"),
        (LinkLoop("too many links"), 1, b"file not found"),
        (IsADirectory("is a directory"), 2, b"is a directory"),
        (ServedDirectory(()), 2, b"is a directory"),
        (Corrupt("bad extent tree", where="/secret/place"), 0, b"bad extent tree"),
        (SourceError("cannot read", where="/secret/place"), 0, b"cannot read"),
        (NetworkError("store is away", where="/secret/place"), 0, b"store is away"),
        (RuntimeError("/secret/place"), 0, b"server error"),
    ],
)
def test_what_cannot_be_served_is_refused_without_telling_where(found: object, code: int, text: bytes) -> None:
    with serving({"/x": found, "/f": DATA}) as running:
        with Peer(running) as peer:
            assert peer.ask(rrq("x")) == (5, code, text + b"\0")
        wait_until(lambda: [path for _, path, _ in running.journal.refusals] == ["/x"])
        serves(running)


@pytest.mark.parametrize("name", [b"../f", b"/a/../f", b"a/..", b"\x1b[2J", b"x\x7f"])
def test_names_outside_the_tree_never_reach_the_content(name: bytes) -> None:
    with serving({"/f": DATA}) as running:
        with Peer(running) as peer:
            assert peer.ask(rrq(name))[:2] == (5, 2)
        assert not running.files.asked


def test_a_write_request_is_refused() -> None:
    with serving({"/f": DATA}) as running, Peer(running) as peer:
        assert peer.ask(rrq("f", opcode=2))[:2] == (5, 2)


def test_netascii_is_converted() -> None:
    with serving({"/f": b"a\nb\r\nc\r" * 200, "/big": bytes(2 << 20)}) as running:
        with Peer(running) as peer:
            assert peer.fetch("f", mode="NetASCII") == b"a\r\nb\r\0\r\nc\r\0" * 200
        with Peer(running) as peer:
            assert peer.ask(rrq("f", "tsize", 0, mode="netascii")) == (6, 0, b"tsize\x002200\0")
            peer.send(b"\0\5\0\0\0")
        with Peer(running) as peer:
            assert peer.ask(rrq("big", mode="netascii"))[0] == 5


@pytest.mark.parametrize(
    ("host", "family", "seen"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("0.0.0.0", socket.AF_INET, "127.0.0.1"),
        ("::1", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET6, "::1"),
    ],
)
def test_every_kind_of_socket(host: str, family: int, seen: str) -> None:
    with serving({"/f": DATA}, host=host, family=family) as running:
        serves(running)
    assert running.files.asked[0].address == seen


def test_ipv4_clients_of_an_ipv6_socket_are_ipv4_clients() -> None:
    with serving({"/f": DATA}, host="::", family=socket.AF_INET6) as running:
        running.address = ("127.0.0.1", running.port)
        serves(running)
    assert running.files.asked[0].address == "127.0.0.1"


@pytest.mark.parametrize("asked", ["127.0.0.1", "127.0.0.2", "127.5.6.7"])
def test_answers_come_from_the_address_that_was_asked(asked: str) -> None:
    with serving({"/f": DATA}, host="0.0.0.0") as running:
        for name, opcode in (("f", 3), ("none", 5)):
            with Peer(running) as peer:
                peer.server = (asked, running.port)
                assert peer.ask(rrq(name))[0] == opcode
                assert peer.tid is not None and peer.tid[0] == asked
                if opcode == 3:
                    peer.send(b"\0\5\0\0\0")


def test_requests_to_a_broadcast_address_get_no_answer() -> None:
    with serving({"/f": DATA}, host="0.0.0.0") as running, Peer(running) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        peer.socket.sendto(rrq("f"), ("127.255.255.255", running.port))
        wait_until(lambda: running.journal.counts["tftp_ignored"] == 1)
        assert not running.files.asked


def test_ports_of_the_owners_choice() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serving({"/f": DATA}, TftpLimits(ports=(port, port))) as running, Peer(running) as peer:
        assert peer.ask(rrq("f"))[0] == 3
        assert peer.tid == ("127.0.0.1", port)
        with Peer(running) as other:
            # The only port is taken: an error, and the next client is served again.
            assert other.ask(rrq("f"))[0] == 5
        peer.send(b"\0\5\0\0\0")
        running.idle()
        serves(running)


def test_a_request_sent_again_is_the_same_transfer() -> None:
    gate = threading.Event()
    with serving({"/f": DATA}, gate=gate) as running, Peer(running) as peer:
        for _ in range(5):
            peer.socket.sendto(rrq("f"), peer.server)
        wait_until(lambda: running.journal.counts["tftp_repeated_requests"] == 4)
        gate.set()
        assert peer.take()[:2] == (3, 1)
        peer.socket.sendto(rrq("f"), peer.server)
        wait_until(lambda: running.journal.counts["tftp_repeated_requests"] == 5)
        assert len(running.journal.transfers) == 1
        peer.send(b"\0\5\0\0\0")
        running.idle()


@pytest.mark.parametrize("opened", [False, True])
def test_another_request_from_the_same_port_replaces_the_transfer(opened: bool) -> None:
    gate = threading.Event()
    with serving({"/f": DATA, "/g": b"second"}, gate=gate) as running, Peer(running) as peer:
        if opened:
            gate.set()
            assert peer.ask(rrq("f"))[:2] == (3, 1)
        else:
            peer.socket.sendto(rrq("f"), peer.server)
            wait_until(lambda: bool(running.files.asked))
        peer.socket.sendto(rrq("g"), peer.server)
        # Requests are read in order: when this one is refused, the one before has been taken.
        with Peer(running) as other:
            assert other.ask(rrq("../f"))[0] == 5
        gate.set()
        assert peer.take() == (3, 1, b"second")
        peer.ack(1)
        running.idle()
    assert [file.closed for file in running.files.opened] == [1, 1]


def test_no_address_takes_all_sessions() -> None:
    gate = threading.Event()
    with serving({"/f": DATA}, TftpLimits(sessions=8, sessions_per_address=3), gate=gate) as running:
        peers = [Peer(running) for _ in range(5)]
        for peer in peers:
            peer.socket.sendto(rrq("f"), peer.server)
        wait_until(lambda: running.journal.counts["tftp_over_limit"] == 2)
        assert running.server.active == 3
        gate.set()
        for peer in peers:
            peer.socket.close()


def test_forged_requests_do_not_lock_an_address_out() -> None:
    """They are never answered; the transfer that its real owner has begun goes on, and others begin."""
    with serving({"/f": DATA}, TftpLimits(sessions=100, sessions_per_address=3)) as running, Peer(running) as owner:
        owner.ask(rrq("f"))
        owner.ack(1)
        assert owner.take()[:2] == (3, 2)
        forged = [Peer(running) for _ in range(10)]
        for peer in forged:
            assert peer.ask(rrq("f"))[:2] == (3, 1)
        assert running.journal.counts["tftp_evicted"] == 8
        serves(running)
        owner.ack(2)
        assert owner.take()[:2] == (3, 3)
        for peer in forged:
            peer.socket.close()


def test_unanswered_sessions_give_way_when_there_is_no_room() -> None:
    limits = TftpLimits(sessions=4)
    with serving({"/f": DATA}, limits) as running:
        peers = [Peer(running) for _ in range(6)]
        steady = peers[0]
        steady.ask(rrq("f"))
        steady.ack(1)
        assert steady.take()[:2] == (3, 2)
        for peer in peers[1:]:
            assert peer.ask(rrq("f"))[:2] == (3, 1)
        assert running.journal.counts["tftp_evicted"] == 2
        steady.ack(2)
        assert steady.take()[:2] == (3, 3)
        serves(running)
        for peer in peers:
            peer.socket.close()


def test_the_server_takes_no_more_than_its_sessions() -> None:
    with serving({"/f": DATA}, TftpLimits(sessions=2)) as running:
        peers = [Peer(running) for _ in range(3)]
        for peer in peers[:2]:
            peer.ask(rrq("f"))
            peer.ack(1)
            peer.take()
        peers[2].socket.sendto(rrq("f"), peers[2].server)
        wait_until(lambda: running.journal.counts["tftp_over_limit"] == 1)
        peers[0].send(b"\0\5\0\0\0")
        wait_until(lambda: running.server.active == 1)
        # Refused by silence: asking again is all a client has to do.
        assert peers[2].ask(rrq("f"))[:2] == (3, 1)
        for peer in peers:
            peer.socket.close()


def test_who_never_answers_is_forgotten() -> None:
    with serving({"/f": DATA}, TftpLimits(half_open_seconds=0.3)) as running, Peer(running) as peer:
        peer.ask(rrq("f", "tsize", 0))
        running.idle()
    assert running.journal.transfers[0].end == ("timeout", 0)


def test_a_client_that_went_away_is_noticed_by_its_closed_port() -> None:
    with serving({"/f": DATA}) as running:
        with Peer(running) as peer:
            peer.ask(rrq("f"))
            peer.ack(1)
        running.idle()
    assert running.journal.outcomes == {"aborted": 1}


def test_strangers_are_not_heard() -> None:
    with serving({"/f": DATA}) as running, Peer(running) as peer, Peer(running) as stranger:
        peer.ask(rrq("f"))
        stranger.tid = peer.tid
        for datagram in (b"\0\4\0\1", b"\0\5\0\0\0", b"\0\4"):
            stranger.send(datagram)
        assert stranger.silent(0.2)
        peer.ack(1)
        assert peer.take()[:2] == (3, 2)
        peer.send(b"\0\5\0\0\0")


def test_a_file_that_is_cut_while_it_is_sent_ends_its_transfer_only(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(200_000))
    fd = os.open(path, os.O_RDONLY)
    with serving({"/cut": [Extent(200_000, fd=fd)], "/f": DATA}) as running:
        with Peer(running) as peer:
            peer.ask(rrq("cut"))
            os.truncate(path, 1000)
            for block in range(1, 200):
                peer.ack(block)
                packet = peer.take()
                if packet[0] == 5:
                    break
            assert packet == (5, 0, b"server error\0")
        running.idle()
        serves(running)
    os.close(fd)
    outcome = running.journal.transfers[0].outcome or ""
    assert outcome.startswith("error: ") and "short read" in outcome


def test_stop_lets_running_transfers_end() -> None:
    with serving({"/f": DATA}) as running, Peer(running) as peer:
        assert peer.ask(rrq("f"))[:2] == (3, 1)
        running.server.stop(60)
        wait_until(lambda: running.server._ends_at is not None)
        with Peer(running) as late:
            late.socket.sendto(rrq("f"), late.server)
            assert late.silent(0.3)
        for block in range(1, len(DATA) // 512 + 1):
            peer.ack(block)
            assert peer.take()[:2] == (3, block + 1)
        peer.ack(len(DATA) // 512 + 1)
        running.idle()
    assert running.journal.outcomes == {"done": 1}


def test_stop_ends_what_takes_too_long_and_says_so() -> None:
    with serving({"/f": DATA}) as running, Peer(running) as peer:
        peer.ask(rrq("f"))
        running.server.stop(0.3)
        packet = peer.take()
        while packet[0] == 3:
            packet = peer.take()
        assert packet == (5, 0, b"server stopped\0")
    assert running.journal.outcomes == {"error: server stopped": 1}


def test_a_file_that_opens_after_the_stop_is_closed() -> None:
    gate = threading.Event()
    with serving({"/f": DATA}, gate=gate) as running, Peer(running) as peer:
        peer.socket.sendto(rrq("f"), peer.server)
        wait_until(lambda: bool(running.files.asked))
        running.server.stop()
        running.idle()
        gate.set()
        wait_until(lambda: [file.closed for file in running.files.opened] == [1])


def test_a_disk_that_never_answers_does_not_keep_the_process_alive() -> None:
    code = """
import socket, threading
from pvboot.serve.tftp.server import TftpServer
from tests.serve.journal import MemoryJournal
from tests.serve.tftp.served import Files

class Dead(Files):
    def open(self, path, who):
        threading.Timer(0.1, server.stop).start()
        threading.Event().wait()

listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("127.0.0.1", 0))
server = TftpServer([listener], Dead({}), MemoryJournal())
listener.sendto(b"\\0\\1f\\0octet\\0", listener.getsockname())
server.run()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_slow_disk_does_not_hold_up_others() -> None:
    gate = threading.Event()

    class Slow(Files):
        def open(self, path: str, who: object) -> object:  # type: ignore[override]
            if path == "/slow":
                gate.wait(30)
            return super().open(path, who)  # type: ignore[arg-type]

    with serving({"/slow": DATA, "/f": DATA}) as running, Peer(running) as peer:
        slow = Slow(running.files.table, running.files.opened, running.files.asked)
        running.server.content = slow  # type: ignore[assignment]
        peer.socket.sendto(rrq("slow"), peer.server)
        serves(running)
        gate.set()
        assert peer.take()[:2] == (3, 1)
        peer.send(b"\0\5\0\0\0")


def test_stop_is_allowed_before_run_twice_and_afterwards() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        server = TftpServer([listener], Files({}), MemoryJournal())
        server.stop()
        server.stop(5)
        server.run()
        server.stop()
        assert listener.fileno() >= 0


def test_stop_works_from_a_signal_handler() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        server = TftpServer([listener], Files({}), MemoryJournal())
        before = signal.signal(signal.SIGUSR1, lambda *_: server.stop())
        try:
            timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGUSR1])
            timer.start()
            server.run()
            timer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
