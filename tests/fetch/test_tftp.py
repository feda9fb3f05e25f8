"""Files by TFTP, from real servers and from one that follows a script."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fsdrivers.errors import NotFound
from pvboot.errors import NetworkError
from pvboot.fetch.errors import ChecksumError, FetchError
from pvboot.fetch.fetch import Fetcher
from pvboot.fetch.settings import FetchLimits, NetSettings
from pvboot.fetch.tftp_client import BLOCK_BYTES, ask_size
from pvboot.fetch.urls import parse_url
from tests.fetch.conftest import QUICK, quick, sha256
from tests.fetch.servers import ScriptedTftp, dnsmasq, free_port, scripted_tftp, tftp_data, tftp_oack, tftpd_hpa

LIMIT = 1 << 20
Script = Callable[[ScriptedTftp], None]


def get(url: str, settings: NetSettings = QUICK, limit: int = LIMIT) -> bytes:
    with closing(Fetcher(settings)) as fetcher:
        file = fetcher.fetch(parse_url(url), limit_bytes=limit)
    return file.read_at(0, file.size)


@pytest.fixture(scope="module", params=["tftpd-hpa", "dnsmasq"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> Iterator[str]:
    root = tmp_path_factory.mktemp("tftp")
    root.chmod(0o755)
    for name, data in {"file": noise, "empty": b"", "even": noise[: BLOCK_BYTES * 3], "a b": b"blank"}.items():
        (root / name).write_bytes(data)
    (root / "sub").mkdir()
    (root / "sub" / "file").write_bytes(b"below")
    with (tftpd_hpa if request.param == "tftpd-hpa" else dnsmasq)(root) as url:
        yield url


@pytest.mark.parametrize(
    ("name", "size"),
    [("file", 300_001), ("empty", 0), ("even", BLOCK_BYTES * 3), ("a%20b", 5), ("sub/file", 5), ("/sub/file", 5)],
)
def test_files_of_real_servers(real: str, noise: bytes, name: str, size: int) -> None:
    expected = {"a%20b": b"blank", "sub/file": b"below", "/sub/file": b"below"}.get(name, noise[:size])
    assert get(f"{real}/{name}") == expected
    assert ask_size(parse_url(f"{real}/{name}"), QUICK.limits) == size


def test_absent_files_of_real_servers(real: str) -> None:
    with pytest.raises(NotFound):
        get(f"{real}/nothing")
    with pytest.raises(NotFound):
        ask_size(parse_url(f"{real}/nothing"), QUICK.limits)


def test_over_the_limit_by_the_servers_own_word(real: str) -> None:
    with pytest.raises(FetchError, match="too large"):
        get(f"{real}/file", limit=300_000)


def test_a_wrong_checksum(real: str, noise: bytes) -> None:
    assert get(f"{real}/file#sha256={sha256(noise)}") == noise
    with pytest.raises(ChecksumError):
        get(f"{real}/file#sha256={'0' * 64}")


def test_ipv6(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_bytes(b"six")
    with tftpd_hpa(tmp_path, "::1") as url:
        assert get(f"{url}/file") == b"six"


def test_nobody_answers() -> None:
    with pytest.raises(NetworkError, match="does not answer") as caught:
        get(f"tftp://127.0.0.1:{free_port()}/x")
    assert caught.value.exit_code == 4


# --- a server that follows a script -----------------------------------------------------------------------


def send_file(server: ScriptedTftp, data: bytes, block: int = BLOCK_BYTES, first: int = 1) -> None:
    """Plain blocks, each after the ACK of the one before."""
    for number, start in enumerate(range(0, len(data) + 1, block), first):
        server.send(tftp_data(number, data[start : start + block]))
        server.hear()


def test_requests(noise: bytes) -> None:
    requests: list[bytes] = []

    def script(server: ScriptedTftp) -> None:
        requests.append(server.request)
        server.send(tftp_oack(("blksize", 1432), ("tsize", 10)))
        server.hear()
        send_file(server, b"0123456789")

    with scripted_tftp(script) as (url, heard):
        assert get(f"{url}/d/f%C3%A9") == b"0123456789"
    assert requests == [b"\0\1d/f\xc3\xa9\0octet\0blksize\x001432\0tsize\x000\0"]
    assert heard == [b"\0\4\0\0", b"\0\4\0\1"]


@pytest.mark.parametrize(
    "answer",
    [(), (("blksize", 512),), (("BLKSIZE", 1000),), (("tsize", 3000),), (("Tsize", 3000), ("blkSize", 8))],
    ids=["no options", "smaller blocks", "capitals", "size only", "tiny blocks"],
)
def test_options_that_are_taken(noise: bytes, answer: tuple[tuple[str, int], ...]) -> None:
    data = noise[:3000]
    block = next((size for name, size in answer if name.lower() == "blksize"), 512)

    def script(server: ScriptedTftp) -> None:
        if answer:
            server.send(tftp_oack(*answer))
            server.hear()
        send_file(server, data, block)

    with scripted_tftp(script) as (url, _heard):
        assert get(f"{url}/x") == data


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (tftp_oack(("windowsize", 16)), 8),
        (tftp_oack(("blksize", 1432), ("timeout", 1)), 8),
        (tftp_oack(("blksize", 1433)), 8),
        (tftp_oack(("blksize", 65464)), 8),
        (tftp_oack(("blksize", 7)), 8),
        (tftp_oack(("blksize", -5)), 8),
        (tftp_oack(("blksize", "x")), 8),
        (tftp_oack(("tsize", "9" * 30)), 8),
        (tftp_oack(("blksize", 600), ("blksize", 700)), 8),
        (tftp_oack(("tsize", 1), ("TSIZE", 2)), 8),
        (b"\0\6", None),
        (b"\0\6blksize", 8),
        (b"\0\6blksize\0", 8),
        (b"\0\6\0\0\0\0", 8),
        (b"\0\6" + b"\xff\0" * 40, 8),
        (b"\0\4\0\0", 4),
        (b"\0\1x\0octet\0", 4),
        (b"\0\x63ab", 4),
        (b"\0", None),
        (b"", None),
        (b"\0\3\0", None),
        (tftp_data(1, b"x" * 513), 4),
    ],
)
def test_packets_that_no_honest_server_sends(packet: bytes, error: int | None) -> None:
    def script(server: ScriptedTftp) -> None:
        server.send(packet)
        server.hear()

    with scripted_tftp(script) as (url, heard), pytest.raises(FetchError, match="breaks the rules"):
        get(f"{url}/x")
    if error is not None:
        assert heard[0][:4] == struct.pack(">HH", 5, error)


def test_a_block_larger_than_agreed() -> None:
    def script(server: ScriptedTftp) -> None:
        server.send(tftp_oack(("blksize", 600)))
        server.hear()
        server.send(tftp_data(1, b"x" * 601))
        server.hear()

    with scripted_tftp(script) as (url, _heard), pytest.raises(FetchError, match="601 bytes in a block of 600"):
        get(f"{url}/x")


@pytest.mark.parametrize(
    ("packet", "kind", "text"),
    [
        (b"\0\5\0\1gone\0", NotFound, "gone"),
        (b"\0\5\0\2no\0", NotFound, "no"),
        (b"\0\5\0\0\xff\x1b[2J", FetchError, "error 0"),
        (b"\0\5\xff\xff", FetchError, "error 65535"),
        (b"\0\5\0\4" + b"x" * 5000, FetchError, "error 4"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_errors_of_the_server(packet: bytes, kind: type[Exception], text: str, begun: bool) -> None:
    def script(server: ScriptedTftp) -> None:
        if begun:
            server.send(tftp_data(1, b"x" * 512))
            server.hear()
        server.send(packet)

    with scripted_tftp(script) as (url, _heard), pytest.raises(kind, match=text) as caught:
        get(f"{url}/x")
    assert len(str(caught.value)) < 300


def test_strangers_are_not_heard(noise: bytes) -> None:
    """Data with the right number from another port of the same machine, all the time."""

    def script(server: ScriptedTftp) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            server.send(tftp_oack(("blksize", 512), ("tsize", 1200)))
            server.hear()
            for number, start in enumerate((0, 512, 1024), 1):
                stranger.sendto(tftp_data(number, b"evil" * 128), server.client)
                stranger.sendto(b"\0\5\0\1evil\0", server.client)
                server.send(tftp_data(number, noise[start : min(start + 512, 1200)]))
                server.hear()

    with scripted_tftp(script) as (url, _heard):
        assert get(f"{url}/x") == noise[:1200]


def test_a_stranger_that_talks_on_does_not_keep_the_clock_from_running() -> None:
    def script(server: ScriptedTftp) -> None:
        server.send(tftp_data(1, b"x" * 512))
        server.hear()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(40):
                stranger.sendto(tftp_data(2, b"evil" * 128), server.client)
                time.sleep(0.03)

    with scripted_tftp(script) as (url, heard), pytest.raises(FetchError, match="does not answer"):
        get(f"{url}/x")
    assert set(heard) == {b"\0\4\0\1"}


def test_endless_data_are_cut_off() -> None:
    def script(server: ScriptedTftp) -> None:
        for number in range(1, 5000):
            server.send(tftp_data(number, bytes(512)))
            if server.hear()[:2] == b"\0\5":
                return

    with scripted_tftp(script) as (url, heard), pytest.raises(FetchError, match="too large"):
        get(f"{url}/x", limit=100_000)
    assert heard[-1][:4] == b"\0\5\0\3"


def test_a_server_that_drips_does_not_hold_us() -> None:
    def script(server: ScriptedTftp) -> None:
        server.send(tftp_oack(("blksize", 8)))
        server.hear()
        for number in range(1, 200):
            server.send(tftp_data(number, bytes(8)))
            if server.hear()[:2] == b"\0\5":
                return
            time.sleep(0.05)

    slow = quick(limits=FetchLimits(step_seconds=0.5, tftp_wait_seconds=0.5))
    with scripted_tftp(script) as (url, _heard), pytest.raises(FetchError, match="too slow"):
        get(f"{url}/x", slow)


@pytest.mark.parametrize("said", [999, 1001, 0])
def test_the_size_must_be_what_the_server_said(said: int) -> None:
    def script(server: ScriptedTftp) -> None:
        server.send(tftp_oack(("tsize", said)))
        server.hear()
        send_file(server, bytes(1000), 512)

    with scripted_tftp(script) as (url, _heard), pytest.raises(FetchError, match="not as long as the server said"):
        get(f"{url}/x")


def test_lost_and_doubled_packets(noise: bytes) -> None:
    """The OACK comes twice, data come twice, out of turn and late; every lost ACK is repeated."""
    data = noise[:2000]

    def script(server: ScriptedTftp) -> None:
        for _ in range(2):
            server.send(tftp_oack(("blksize", 512), ("tsize", 2000)))
        assert server.hear() == b"\0\4\0\0"
        assert server.hear() == b"\0\4\0\0"
        for number, start in enumerate((0, 512, 1024, 1536), 1):
            server.send(tftp_data(number + 1, b"future" * 80))
            for _ in range(2):
                server.send(tftp_data(number, data[start : start + 512]))
            assert server.hear() == struct.pack(">HH", 4, number)
            if number < 4:
                assert server.hear() == struct.pack(">HH", 4, number)
            if number > 2:
                server.send(tftp_data(number - 2, b"past" * 128))

    with scripted_tftp(script) as (url, _heard):
        assert get(f"{url}/x") == data


def test_a_lost_request_is_sent_again(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))

        def serve() -> None:
            heard.append(door.recv(600))
            again, client = door.recvfrom(600)
            heard.append(again)
            door.sendto(tftp_data(1, b"late"), client)

        thread = threading.Thread(target=serve)
        thread.start()
        assert get(f"tftp://127.0.0.1:{door.getsockname()[1]}/x") == b"late"
        thread.join()
    assert heard[0] == heard[1]


packets = st.one_of(
    st.binary(max_size=20),
    st.binary(max_size=600).map(lambda data: b"\0\3\0\1" + data),
    st.binary(max_size=60).map(lambda data: b"\0\5\0\0" + data),
    st.lists(
        st.tuples(st.sampled_from(["blksize", "tsize", "TSIZE", "x", ""]), st.text("012345-x\0", max_size=6)),
        max_size=3,
    ).map(lambda pairs: tftp_oack(*pairs)),
)


@settings(max_examples=150)
@given(st.lists(packets, max_size=4))
@example([b"\0\5\0\0\n\1"])
def test_any_packets_end_in_a_file_or_one_error(sent: list[bytes]) -> None:
    def script(server: ScriptedTftp) -> None:
        for packet in sent:
            server.send(packet)

    hasty = quick(limits=FetchLimits(tftp_wait_seconds=0.01, tftp_retries=2))
    with scripted_tftp(script) as (url, _heard):
        try:
            data = get(f"{url}/x", hasty)
        except (NotFound, NetworkError) as err:
            assert "\n" not in str(err)
        else:
            assert any(packet[4:] == data for packet in sent)


def test_a_full_disk_of_temporary_files(real: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full stands for it."""
    monkeypatch.setattr(
        "pvboot.fetch.sink.tempfile.TemporaryFile", lambda buffering: _Full("/dev/full", "wb", buffering)
    )
    with pytest.raises(FetchError, match="cannot write a temporary file: No space left"):
        get(f"{real}/file")


class _Full:
    """/dev/full, which can neither be read nor cut."""

    def __init__(self, *how: Any) -> None:
        self._file = open(*how)  # noqa: SIM115
        self.write, self.flush, self.close, self.fileno = (
            self._file.write,
            self._file.flush,
            self._file.close,
            self._file.fileno,
        )

    def seek(self, _offset: int) -> None:
        pass

    def truncate(self) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("last", [65535, 65536, 65537], ids=["65535", "0", "1"])
def test_more_than_65535_blocks_with_a_lost_ack_at_the_turn(last: int) -> None:
    """93 MB at 1432 bytes a block; here at 16, which has the same numbers.  The ACK of block `last` is lost."""
    block, count = 16, 65_600
    data = bytes(range(256)) * (block * count // 256) + b"end"

    def script(server: ScriptedTftp) -> None:
        server.sock.settimeout(5)
        server.send(tftp_oack(("blksize", block), ("tsize", len(data))))
        server.hear()
        for number, start in enumerate(range(0, len(data), block), 1):
            packet = tftp_data(number, data[start : start + block])
            for _ in range(2 if number == last else 1):
                server.send(packet)
                acknowledged = server.sock.recv(100)
                assert acknowledged == struct.pack(">HH", 4, number & 0xFFFF), number

    with scripted_tftp(script) as (url, _heard):
        assert get(f"{url}/x", limit=2 << 20) == data


@pytest.mark.slow
def test_a_real_server_sends_more_than_65535_blocks(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    size = 65_536 * BLOCK_BYTES + 1000
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
        file.seek(65_535 * BLOCK_BYTES)
        file.write(b"turn" * 608)
    with tftpd_hpa(tmp_path) as url, closing(Fetcher()) as fetcher:
        file = fetcher.fetch(parse_url(f"{url}/large"))
    assert file.size == size
    assert file.read_at(65_535 * BLOCK_BYTES - 4, 3000) == bytes(4) + b"turn" * 608
