"""BOOTP and DHCP messages, declared as RFC 951, RFC 2131 and RFC 2132 have them."""

from __future__ import annotations

from construct import Bytes, Const, GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct

# The fixed part; the options follow the magic cookie.
MESSAGE = Struct(
    "op" / Int8ub,
    "htype" / Const(1, Int8ub),
    "hlen" / Const(6, Int8ub),
    "hops" / Int8ub,
    "xid" / Int32ub,
    "secs" / Int16ub,
    "flags" / Int16ub,
    "ciaddr" / Bytes(4),
    "yiaddr" / Bytes(4),
    "siaddr" / Bytes(4),
    "giaddr" / Bytes(4),
    "chaddr" / Bytes(16),
    "sname" / Bytes(64),
    "file" / Bytes(128),
    "cookie" / Const(b"\x63\x82\x53\x63"),
    "options" / GreedyBytes,
)
# Every option that is asked for here has a length; 255 ends them.
PLAIN = Struct("code" / Int8ub, "value" / Prefixed(Int8ub, GreedyBytes))


def discover(mac: bytes, options: dict[int, bytes]) -> bytes:
    """A DHCPDISCOVER that wants its answer broadcast."""
    given = {53: b"\1", **options}
    packed = b"".join(PLAIN.build({"code": code, "value": value}) for code, value in given.items()) + b"\xff"
    fixed = {"op": 1, "hops": 0, "xid": 0x50564254, "secs": 0, "flags": 0x8000, "chaddr": mac + bytes(10)}
    empty = {"ciaddr": bytes(4), "yiaddr": bytes(4), "siaddr": bytes(4), "giaddr": bytes(4), "sname": bytes(64)}
    return bytes(MESSAGE.build({**fixed, **empty, "file": bytes(128), "options": packed}))


def parse(data: bytes) -> tuple[dict[str, bytes], dict[int, bytes]]:
    """The fixed fields that matter, and the options."""
    message = MESSAGE.parse(data)
    options: dict[int, bytes] = {}
    at = 0
    while message.options[at] != 255:
        option = PLAIN.parse(message.options[at:])
        options[option.code] = option.value
        at += 2 + len(option.value)
    return {name: message[name] for name in ("yiaddr", "siaddr", "file")}, options
