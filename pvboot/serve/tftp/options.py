"""Negotiation of options (RFC 2347): blksize (2348), timeout and tsize (2349), windowsize (7440)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pvboot.serve.tftp.limits import DEFAULT_BLKSIZE, MIN_BLKSIZE, TftpLimits
from pvboot.serve.tftp.packets import HEADER_BYTES

# No option has a value of more digits (tsize included: 10^16 bytes).
MAX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class NegotiatedOptions:
    """Bytes a block, blocks a window, the client's own timeout in seconds or None, and the options to acknowledge:
    name in the client's case, number."""

    blksize: int
    windowsize: int
    timeout: int | None
    accepted: tuple[tuple[bytes, int], ...]


def negotiate(asked: Iterable[tuple[bytes, bytes]], size: int, payload: int, limits: TftpLimits) -> NegotiatedOptions:
    """Negotiate how a file of `size` bytes is sent over a path whose unfragmented datagrams carry `payload` bytes.

    Options that are unknown, malformed or out of range are left out of the answer, as RFC 2347 says, and count as not
    asked; of an option asked twice the first one counts.  Nothing is ever answered that was not asked: PV-GRUB gives
    up on such an OACK.
    """
    wanted: dict[bytes, tuple[bytes, int]] = {}
    for name, text in asked:
        value = _number(text)
        if value is not None:
            wanted.setdefault(name.lower(), (name, value))
    values: dict[bytes, int] = {}
    blksize = DEFAULT_BLKSIZE
    if wanted.get(b"blksize", (b"", 0))[1] >= MIN_BLKSIZE:
        blksize = values[b"blksize"] = _blksize(wanted[b"blksize"][1], payload, limits)
    window = 1
    if 1 <= wanted.get(b"windowsize", (b"", 0))[1] <= 65535:
        room = max(1, limits.window_bytes // (blksize + HEADER_BYTES))
        window = values[b"windowsize"] = min(wanted[b"windowsize"][1], limits.windowsize, room)
    timeout = None
    if 1 <= wanted.get(b"timeout", (b"", 0))[1] <= 255:
        timeout = values[b"timeout"] = wanted[b"timeout"][1]
    # curl takes the size 0 for an error; without it, it takes the empty file.
    if b"tsize" in wanted and size:
        values[b"tsize"] = size
    accepted = tuple((name, values[key]) for key, (name, _) in wanted.items() if key in values)
    return NegotiatedOptions(blksize, window, timeout, accepted)


def _number(text: bytes) -> int | None:
    """Return a decimal number of ASCII digits, None for other text (`int` would take " +1_0")."""
    if not text.isdigit() or len(text) > MAX_DIGITS:
        return None
    return int(text)


def _blksize(asked: int, payload: int, limits: TftpLimits) -> int:
    """Return at most what was asked, what the limits allow and one packet carries; every path carries the default."""
    most = limits.blksize if limits.fragment else min(limits.blksize, max(payload - HEADER_BYTES, DEFAULT_BLKSIZE))
    return min(asked, most)
