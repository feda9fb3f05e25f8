"""Packets: what is read and written agrees with the declarations, and nothing but `BadRequest` comes of junk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.tftp import packets, structs

TEXT = st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"?"))
NAMES = TEXT.filter(bool)


def rrq(name: bytes, mode: bytes = b"octet", **options: object) -> bytes:
    fields = [name, mode, *(str(part).encode() for pair in options.items() for part in pair)]
    return b"\0\1" + b"".join(field + b"\0" for field in fields)


@given(NAMES, st.sampled_from([b"octet", b"OCTET", b"netascii", b"NetASCII"]), st.lists(st.tuples(TEXT, TEXT)))
def test_requests_are_read_as_declared(name: bytes, mode: bytes, options: list[tuple[bytes, bytes]]) -> None:
    datagram = structs.REQUEST.build(
        {"opcode": "RRQ", "filename": name, "mode": mode, "options": [{"name": k, "value": v} for k, v in options]}
    )
    if len(options) > packets.MAX_OPTIONS or len(datagram) > packets.MAX_REQUEST_BYTES:
        with pytest.raises(packets.BadRequest):
            packets.parse_request(datagram)
        return
    assert packets.parse_request(datagram) == packets.ReadRequest(name, mode.lower().decode(), tuple(options))


@given(st.lists(st.tuples(TEXT, st.integers(0, 10**12)), max_size=5))
def test_oacks_are_written_as_declared(options: list[tuple[bytes, int]]) -> None:
    parsed = structs.OACK.parse(packets.oack(options))
    assert [(option.name, int(option.value)) for option in parsed.options] == options


@given(st.integers(0, 8), st.text(max_size=200))
def test_errors_are_written_as_declared_and_printable(code: int, text: str) -> None:
    parsed = structs.ERROR.parse(packets.error(code, text))
    assert parsed.code == code
    assert len(parsed.message) == min(len(text), packets.MAX_ERROR_TEXT)
    assert all(32 <= byte < 127 for byte in parsed.message)


@pytest.mark.parametrize(
    ("declared", "opcode"), [(structs.DATA, packets.DATA), (structs.ACK, packets.ACK)], ids=["DATA", "ACK"]
)
@pytest.mark.parametrize("block", [0, 1, 65535])
def test_headers_are_as_declared(declared: object, opcode: int, block: int) -> None:
    assert declared.build({"block": block, "data": b""}) == packets.HEADER.pack(opcode, block)  # type: ignore[attr-defined]


def test_opcodes_are_those_declared() -> None:
    names = ("RRQ", "WRQ", "DATA", "ACK", "ERROR", "OACK")
    assert [int(structs.OPCODE.encmapping[name]) for name in names] == [getattr(packets, name) for name in names]


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
