"""The identities of a client: MAC, UUID, IP address and host name, in one spelling each."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from pvboot.validation import Model, refuse, show

_HEX12 = re.compile(r"[0-9a-f]{12}")
_MAC_SPELLINGS = re.compile(
    r"(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}|(?:[0-9a-f]{2}-){5}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}"
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


def read_mac(text: str) -> str | None:
    """`aa:bb:cc:dd:ee:ff` from any usual spelling (colons, dashes, Cisco's dots, bare); None for other texts.

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
    """The UUID with dashes in lower case; None for other texts."""
    lower = text.lower().removeprefix("{").removesuffix("}")
    return str(uuid.UUID(lower)) if _UUID.fullmatch(lower) else None


@lru_cache(maxsize=4096)
def read_address(text: str) -> str | None:
    """The IP address as `ipaddress` writes it, IPv4 mapped into IPv6 as IPv4; None for other texts."""
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def read_hostname(text: str) -> str | None:
    """The host name in lower case without a last dot; None for other texts."""
    lower = text.lower().removesuffix(".")
    labels = lower.split(".")
    return lower if lower and len(lower) <= 253 and all(_LABEL.fullmatch(label) for label in labels) else None


def _spelled(read: Callable[[str], str | None], what: str) -> AfterValidator:
    """Validate an identity, and spell it the one way."""

    def check(text: str) -> str:
        found = read(text)
        if found is None:
            raise refuse(f"not {what}", found=show(text))
        return found

    return AfterValidator(check)


_Text = Annotated[str, Field(max_length=253)]
Mac = Annotated[
    _Text, Field(description="any usual spelling; answered with colons"), _spelled(read_mac, "a MAC address")
]
Uuid = Annotated[_Text, _spelled(read_uuid, "a UUID")]
Address = Annotated[_Text, Field(description="IPv4 or IPv6"), _spelled(read_address, "an address")]
Hostname = Annotated[_Text, _spelled(read_hostname, "a host name")]


class Identity(Model):
    """The known identities of a client, in canonical spelling; None for the others."""

    mac: Mac | None = None
    uuid: Uuid | None = None
    address: Address | None = None
    hostname: Hostname | None = None

    def get(self, kind: str) -> str | None:
        """The identity of one of `KINDS`."""
        value: str | None = getattr(self, kind)
        return value


# Kinds of identity in the order in which they are looked up: the most particular first.
KINDS = tuple(Identity.model_fields)
NOBODY = Identity()


def read_identity(claims: Mapping[str, str], address: str = "") -> Identity:
    """The identity in a request's claims and its sender's address; what makes no sense is left out."""
    mac, uuid, name = read_mac(claims.get("mac", "")), read_uuid(claims.get("uuid", "")), claims.get("hostname", "")
    return Identity(mac=mac, uuid=uuid, address=read_address(address), hostname=read_hostname(name))
