"""TFTP packets as the loop reads and writes them (RFC 1350, 2347); their fixed parts are declared in `structs.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pvboot.serve.tftp._formats import HEADER, OPCODE

HEADER_BYTES = HEADER.size

RRQ, WRQ, DATA, ACK, ERROR, OACK = range(1, 7)

# Error codes of RFC 1350 and RFC 2347.
UNDEFINED, NOT_FOUND, ACCESS_VIOLATION, _DISK_FULL, ILLEGAL_OPERATION, _UNKNOWN_TID, _EXISTS, _NO_USER, BAD_OPTION = (
    range(9)
)

# RFC 2347 allows a request 512 bytes; long paths with many options are heard a little further.
MAX_REQUEST_BYTES = 1024
MAX_OPTIONS = 32
MAX_ERROR_TEXT = 120

MODES = (b"octet", b"netascii")


class BadRequest(Exception):  # noqa: N818  (the name says what is wrong)
    """A datagram that a read-only server cannot serve; it is answered by an ERROR of `code`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """An RRQ: the client's name of the file, "octet" or "netascii", options in the client's order and case."""

    name: bytes
    mode: str
    options: tuple[tuple[bytes, bytes], ...]


def is_request(datagram: bytes) -> bool:
    """Return whether a datagram is an RRQ or WRQ.

    Nothing else that is sent to the server's own port is answered: an ERROR that answers an ERROR keeps two servers
    talking for ever.
    """
    return len(datagram) > 1 and datagram[0] == 0 and datagram[1] in (RRQ, WRQ)


def parse_request(datagram: bytes) -> ReadRequest:
    """Read an RRQ.  Raises `BadRequest` for a WRQ and for a malformed request.

    An option without a value at the end is dropped: RFC 2347 does not have it, and the file can be served without.
    """
    if len(datagram) > MAX_REQUEST_BYTES:
        raise BadRequest(ILLEGAL_OPERATION, f"request longer than {MAX_REQUEST_BYTES} bytes")
    if not is_request(datagram):
        raise BadRequest(ILLEGAL_OPERATION, "not a read request")
    if datagram[1] == WRQ:
        raise BadRequest(ACCESS_VIOLATION, "this server is read-only")
    if datagram[-1]:
        raise BadRequest(ILLEGAL_OPERATION, "request does not end in NUL")
    fields = datagram[2:-1].split(b"\0")
    if len(fields) < 2 or not fields[0]:
        raise BadRequest(ILLEGAL_OPERATION, "request without file name or mode")
    mode = fields[1].lower()
    if mode not in MODES:
        raise BadRequest(ILLEGAL_OPERATION, "mode is neither octet nor netascii")
    if len(fields) > 2 + 2 * MAX_OPTIONS:
        raise BadRequest(BAD_OPTION, f"more than {MAX_OPTIONS} options")
    return ReadRequest(fields[0], mode.decode("ascii"), tuple(zip(fields[2::2], fields[3::2], strict=False)))


def oack(options: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the OACK of options (name as the client wrote it, number)."""
    return OPCODE.pack(OACK) + b"".join(b"%b\0%d\0" % option for option in options)


def error(code: int, text: str) -> bytes:
    """Return an ERROR; its text is cut and made printable ASCII, since it may repeat what the client sent."""
    message = "".join(char if " " <= char <= "~" else "?" for char in text[:MAX_ERROR_TEXT])
    return HEADER.pack(ERROR, code) + message.encode("ascii") + b"\0"
