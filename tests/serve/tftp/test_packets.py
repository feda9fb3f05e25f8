"""Packets: tftpy, which others wrote, reads and writes the same, and nothing but `BadRequest` comes of junk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftpy import TftpPacketTypes
from tftpy.TftpPacketFactory import TftpPacketFactory

from pvboot.serve.tftp import packets
from pvboot.serve.tftp._formats import HEADER

TEXT = st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"?"))
NAMES = TEXT.filter(bool)


def rrq(name: bytes, mode: bytes = b"octet", **options: object) -> bytes:
    fields = [name, mode, *(str(part).encode() for pair in options.items() for part in pair)]
    return b"\0\1" + b"".join(field + b"\0" for field in fields)


ASCII = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=20)


@given(NAMES, st.sampled_from([b"octet", b"OCTET", b"netascii", b"NetASCII"]), st.lists(st.tuples(TEXT, TEXT)))
def test_requests(name: bytes, mode: bytes, options: list[tuple[bytes, bytes]]) -> None:
    datagram = b"\0\1" + b"".join(part + b"\0" for part in (name, mode, *sum(options, ())))
    if len(options) > packets.MAX_OPTIONS or len(datagram) > packets.MAX_REQUEST_BYTES:
        with pytest.raises(packets.BadRequest):
            packets.parse_request(datagram)
        return
    assert packets.parse_request(datagram) == packets.ReadRequest(name, mode.lower().decode(), tuple(options))


@given(ASCII.filter(bool), st.dictionaries(ASCII.filter(bool).map(str.lower), st.integers(0, 10**12), max_size=5))
def test_requests_of_tftpy_are_read(name: str, options: dict[str, int]) -> None:
    packet = TftpPacketTypes.TftpPacketRRQ()
    packet.filename, packet.mode, packet.options = name, "octet", options
    expected = tuple((key.encode(), str(value).encode()) for key, value in options.items())
    assert packets.parse_request(packet.encode().buffer) == packets.ReadRequest(name.encode(), "octet", expected)


@given(st.dictionaries(ASCII.filter(bool).map(str.lower), st.integers(0, 10**12), min_size=1, max_size=5))
def test_oacks_are_read_by_tftpy(options: dict[str, int]) -> None:
    parsed = TftpPacketFactory().parse(packets.oack((name.encode(), value) for name, value in options.items()))
    assert {name: int(value) for name, value in parsed.options.items()} == options


@given(st.integers(0, 8), st.text(max_size=200))
def test_errors_are_read_by_tftpy_and_printable(code: int, text: str) -> None:
    parsed = TftpPacketFactory().parse(packets.error(code, text))
    assert parsed.errorcode == code
    assert len(parsed.errmsg) == min(len(text), packets.MAX_ERROR_TEXT)
    assert all(32 <= byte < 127 for byte in parsed.errmsg)


@pytest.mark.parametrize("block", [0, 1, 65535])
def test_headers_are_read_by_tftpy(block: int) -> None:
    data, ack = (TftpPacketFactory().parse(HEADER.pack(opcode, block)) for opcode in (packets.DATA, packets.ACK))
    assert (type(data), data.blocknumber, data.data) == (TftpPacketTypes.TftpPacketDAT, block, b"")
    assert (type(ack), ack.blocknumber) == (TftpPacketTypes.TftpPacketACK, block)


@pytest.mark.parametrize(
    ("datagram", "code"),
    [
        (b"\0\2f\0octet\0", packets.ACCESS_VIOLATION),
        (b"\0\1f\0octet", packets.ILLEGAL_OPERATION),
        (b"\0\1f\0", packets.ILLEGAL_OPERATION),
        (b"\0\1\0octet\0", packets.ILLEGAL_OPERATION),
        (b"\0\1f\0mail\0", packets.ILLEGAL_OPERATION),
        (b"\0\1f\0\0", packets.ILLEGAL_OPERATION),
        (b"\0\1", packets.ILLEGAL_OPERATION),
        (b"\0\1\0\0", packets.ILLEGAL_OPERATION),
        (rrq(b"f" * 1100), packets.ILLEGAL_OPERATION),
        (rrq(b"f", **{f"o{number}": 1 for number in range(33)}), packets.BAD_OPTION),
    ],
)
def test_malformed_requests_get_an_error(datagram: bytes, code: int) -> None:
    with pytest.raises(packets.BadRequest) as caught:
        packets.parse_request(datagram)
    assert caught.value.code == code


def test_an_option_without_a_value_is_dropped() -> None:
    assert packets.parse_request(b"\0\1f\0octet\0tsize\0000\0blksize\0").options == ((b"tsize", b"0"),)


@given(st.binary(max_size=1200) | st.binary(max_size=60).map(lambda tail: b"\0\1" + tail))
def test_junk_is_refused_or_read(datagram: bytes) -> None:
    try:
        request = packets.parse_request(datagram)
    except packets.BadRequest as err:
        assert packets.error(err.code, err.text)
    else:
        assert request.name and request.mode in ("octet", "netascii")
