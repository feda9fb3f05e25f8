"""Who a client is: MAC, UUID, IP address and host name, in one spelling each."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from pvboot.serve.state.errors import DescriptionError

# Kinds of identity in the order in which they are looked up: the most particular first.
KINDS = ("mac", "uuid", "address", "hostname")

_HEX12 = re.compile(r"[0-9a-f]{12}")
_MAC_SPELLINGS = re.compile(
    r"(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}|(?:[0-9a-f]{2}-){5}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}"
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known about who asks or who is described; None where nothing is.  Spellings are canonical."""

    mac: str | None = None
    uuid: str | None = None
    address: str | None = None
    hostname: str | None = None

    def get(self, kind: str) -> str | None:
        """The identity of one of `KINDS`."""
        return {"mac": self.mac, "uuid": self.uuid, "address": self.address, "hostname": self.hostname}[kind]


NOBODY = Identity()


def read_mac(text: str) -> str | None:
    """`aa:bb:cc:dd:ee:ff` from any usual spelling (colons, dashes, Cisco's dots, bare); None if it is no MAC.

    PXELINUX and GRUB put the hardware type 01 (Ethernet, RFC 1700) in front: `01-aa-bb-cc-dd-ee-ff`.
    """
    lower = text.lower()
    if len(lower) == 20 and lower[:3] in ("01-", "01:"):
        lower = lower[3:]
    if _MAC_SPELLINGS.fullmatch(lower) is None:
        return None
    if ":" in lower:
        return ":".join(part.zfill(2) for part in lower.split(":"))
    plain = re.sub(r"[^0-9a-f]", "", lower)
    assert _HEX12.fullmatch(plain)
    return ":".join(plain[at : at + 2] for at in range(0, 12, 2))


def read_uuid(text: str) -> str | None:
    """The UUID with dashes in lower case; None if it is none."""
    lower = text.lower().removeprefix("{").removesuffix("}")
    return str(uuid.UUID(lower)) if _UUID.fullmatch(lower) else None


@lru_cache(maxsize=4096)
def read_address(text: str) -> str | None:
    """The IP address as `ipaddress` writes it, IPv4 mapped into IPv6 as IPv4; None if it is none."""
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def read_hostname(text: str) -> str | None:
    """The host name in lower case without a last dot; None if it is none."""
    lower = text.lower().removesuffix(".")
    labels = lower.split(".")
    return lower if lower and len(lower) <= 253 and all(_LABEL.fullmatch(label) for label in labels) else None


_READERS: dict[str, Callable[[str], str | None]] = {
    "mac": read_mac,
    "uuid": read_uuid,
    "address": read_address,
    "hostname": read_hostname,
}


def read_identity(claims: Mapping[str, str], address: str = "") -> Identity:
    """The identity in a request's claims and its sender's address; what makes no sense is left out."""
    found = {kind: _READERS[kind](claims[kind]) if claims.get(kind) else None for kind in ("mac", "uuid", "hostname")}
    return Identity(address=read_address(address), **found)


def check_identity(kind: str, text: str, where: str) -> str:
    """As the readers, but what makes no sense is a `DescriptionError`."""
    found = _READERS[kind](text)
    if found is None:
        raise DescriptionError(
            f"is no {kind.upper() if kind in ('mac', 'uuid') else kind}", where=where, found=ascii(text[:80])
        )
    return found
