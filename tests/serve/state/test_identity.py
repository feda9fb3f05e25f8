"""Spellings of identities, and the names of menus that hold them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.state.identity import Identity, read_address, read_hostname, read_identity, read_mac, read_uuid
from pvboot.serve.state.names import GRUB_CFG, IPXE, MENU_LST, PXELINUX, MenuName, read_name

MAC = "52:54:00:ab:cd:0e"
UUID = "0a1b2c3d-0000-1111-2222-333344445555"


OF_MAC = (
    f"{MAC} {MAC.upper()} 52-54-00-AB-CD-0E 5254.00ab.cd0e 525400abcd0e "
    "01-52-54-00-ab-cd-0e 01:52:54:00:ab:cd:0e 52:54:0:ab:cd:e"
)
NOT_MAC = (
    "52:54:00:ab:cd 52:54:00:ab:cd:0e:11 52:54-00:ab:cd:0e g2:54:00:ab:cd:0e "
    "525400abcd0 02-52-54-00-ab-cd-0e ５2:54:00:ab:cd:0e"
)


@pytest.mark.parametrize(
    ("read", "identity", "texts"),
    [
        (read_mac, MAC, OF_MAC.split()),
        (read_mac, None, ["", f" {MAC}", f"{MAC}\n", *NOT_MAC.split()]),
        (read_uuid, UUID, [UUID, UUID.upper(), f"{{{UUID}}}", UUID.replace("-", "")]),
        (read_address, "192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"]),
        (read_address, "2001:db8::1", ["2001:DB8:0::1", "[2001:db8::1]"]),
        (read_address, "fe80::1", ["fe80::1%eth0"]),
        (read_address, None, ["192.0.2.256", "", "host"]),
        (read_hostname, "web.example.org", ["Web.Example.ORG."]),
        (read_hostname, "web", ["web"]),
        (read_hostname, None, ["-web", "a..b", "", "a" * 64, "a b", "<b>"]),
    ],
)
def test_spellings_of_an_identity(read: Callable[[str], str | None], identity: str | None, texts: list[str]) -> None:
    assert {text: read(text) for text in texts} == dict.fromkeys(texts, identity)


@given(st.binary(min_size=6, max_size=6), st.sampled_from([":", "-", ""]), st.booleans())
def test_every_mac_is_read_back(mac: bytes, separator: str, upper: bool) -> None:
    text = mac.hex(separator) if separator else mac.hex()
    assert read_mac(text.upper() if upper else text) == mac.hex(":")


@given(st.dictionaries(st.sampled_from(["mac", "uuid", "hostname", "other"]), st.text()), st.text())
def test_any_claims_make_an_identity(claims: dict[str, str], address: str) -> None:
    assert isinstance(read_identity(claims, address), Identity)


def searched(dialect: str, **who: str) -> MenuName:
    return MenuName(dialect, Identity(**who), searched=True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/menu.lst", MenuName(MENU_LST)),
        (f"/menu.lst.{MAC}", MenuName(MENU_LST, Identity(mac=MAC))),
        ("/menu.lst.525400abcd0e", MenuName(MENU_LST, Identity(mac=MAC))),
        (f"/menu.lst.{UUID}", MenuName(MENU_LST, Identity(uuid=UUID))),
        ("/menu.lst.192.0.2.1", MenuName(MENU_LST, Identity(address="192.0.2.1"))),
        ("/grub.cfg", MenuName(GRUB_CFG)),
        ("/grub.cfg-01-52-54-00-ab-cd-0e", searched(GRUB_CFG, mac=MAC)),
        ("/grub.cfg-C0000201", searched(GRUB_CFG, address="192.0.2.1")),
        ("/grub.cfg-C00002", searched(GRUB_CFG)),
        ("/pxelinux.cfg/default", MenuName(PXELINUX)),
        ("/pxelinux.cfg/01-52-54-00-ab-cd-0e", searched(PXELINUX, mac=MAC)),
        (f"/pxelinux.cfg/{UUID}", searched(PXELINUX, uuid=UUID)),
        ("/pxelinux.cfg/C0000201", searched(PXELINUX, address="192.0.2.1")),
        ("/pxelinux.cfg/C", searched(PXELINUX)),
        ("/boot.ipxe", MenuName(IPXE)),
        (f"/boot.ipxe.{MAC}", MenuName(IPXE, Identity(mac=MAC))),
    ],
)
def test_the_name_of_a_menu(path: str, name: MenuName) -> None:
    assert read_name(f"/boot{path}", "/boot") == name


def test_other_names_are_not_menus() -> None:
    below = ["menu.lst.old", "grub.cfg-", "grub.cfgx", "pxelinux.cfg/", "pxelinux.cfg", "sub/menu.lst"]
    for path in (*(f"/boot/{name}" for name in below), "/boot", "/menu.lst", "/bootmenu.lst"):
        assert read_name(path, "/boot") is None, path
