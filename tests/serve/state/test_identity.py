"""Spellings of identities, and the names of menus that hold them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.serve.state.identity import (
    NOBODY,
    Identity,
    read_address,
    read_hostname,
    read_identity,
    read_mac,
    read_uuid,
)
from pvboot.serve.state.names import GRUB_CFG, IPXE, MENU_LST, PXELINUX, MenuName, read_name

MAC = "52:54:00:ab:cd:0e"
UUID = "0a1b2c3d-0000-1111-2222-333344445555"


@pytest.mark.parametrize(
    "text",
    [
        MAC,
        MAC.upper(),
        "52-54-00-AB-CD-0E",
        "5254.00ab.cd0e",
        "525400abcd0e",
        "01-52-54-00-ab-cd-0e",
        "01:52:54:00:ab:cd:0e",
        "52:54:0:ab:cd:e",
    ],
)
def test_spellings_of_one_mac(text: str) -> None:
    assert read_mac(text) == MAC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "52:54:00:ab:cd",
        "52:54:00:ab:cd:0e:11",
        "52:54-00:ab:cd:0e",
        "g2:54:00:ab:cd:0e",
        "525400abcd0",
        f" {MAC}",
        f"{MAC}\n",
        "02-52-54-00-ab-cd-0e",
        "５2:54:00:ab:cd:0e",
    ],
)
def test_no_mac(text: str) -> None:
    assert read_mac(text) is None


@given(st.binary(min_size=6, max_size=6), st.sampled_from([":", "-", ""]), st.booleans())
def test_every_mac_is_read_back(mac: bytes, separator: str, upper: bool) -> None:
    text = mac.hex(separator) if separator else mac.hex()
    assert read_mac(text.upper() if upper else text) == mac.hex(":")


@pytest.mark.parametrize("text", [UUID, UUID.upper(), f"{{{UUID}}}", UUID.replace("-", "")])
def test_spellings_of_one_uuid(text: str) -> None:
    assert read_uuid(text) == UUID


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.256", None),
        ("", None),
        ("host", None),
    ],
)
def test_address(text: str, address: str | None) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Web.Example.ORG.", "web.example.org"),
        ("web", "web"),
        ("-web", None),
        ("a..b", None),
        ("", None),
        ("a" * 64, None),
        ("a b", None),
        ("<b>", None),
    ],
)
def test_hostname(text: str, name: str | None) -> None:
    assert read_hostname(text) == name


@given(st.dictionaries(st.sampled_from(["mac", "uuid", "hostname", "other"]), st.text()), st.text())
def test_any_claims_make_an_identity(claims: dict[str, str], address: str) -> None:
    assert isinstance(read_identity(claims, address), Identity)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/boot/menu.lst", MenuName(MENU_LST)),
        (f"/boot/menu.lst.{MAC}", MenuName(MENU_LST, Identity(mac=MAC))),
        ("/boot/menu.lst.525400abcd0e", MenuName(MENU_LST, Identity(mac=MAC))),
        (f"/boot/menu.lst.{UUID}", MenuName(MENU_LST, Identity(uuid=UUID))),
        ("/boot/menu.lst.192.0.2.1", MenuName(MENU_LST, Identity(address="192.0.2.1"))),
        ("/boot/menu.lst.old", None),
        ("/boot/grub.cfg", MenuName(GRUB_CFG)),
        ("/boot/grub.cfg-01-52-54-00-ab-cd-0e", MenuName(GRUB_CFG, Identity(mac=MAC), searched=True)),
        ("/boot/grub.cfg-C0000201", MenuName(GRUB_CFG, Identity(address="192.0.2.1"), searched=True)),
        ("/boot/grub.cfg-C00002", MenuName(GRUB_CFG, NOBODY, searched=True)),
        ("/boot/grub.cfg-", None),
        ("/boot/grub.cfgx", None),
        ("/boot/pxelinux.cfg/default", MenuName(PXELINUX)),
        ("/boot/pxelinux.cfg/01-52-54-00-ab-cd-0e", MenuName(PXELINUX, Identity(mac=MAC), searched=True)),
        (f"/boot/pxelinux.cfg/{UUID}", MenuName(PXELINUX, Identity(uuid=UUID), searched=True)),
        ("/boot/pxelinux.cfg/C0000201", MenuName(PXELINUX, Identity(address="192.0.2.1"), searched=True)),
        ("/boot/pxelinux.cfg/C", MenuName(PXELINUX, NOBODY, searched=True)),
        ("/boot/pxelinux.cfg/", None),
        ("/boot/pxelinux.cfg", None),
        ("/boot/boot.ipxe", MenuName(IPXE)),
        (f"/boot/boot.ipxe.{MAC}", MenuName(IPXE, Identity(mac=MAC))),
        ("/boot/sub/menu.lst", None),
        ("/boot", None),
        ("/menu.lst", None),
        ("/bootmenu.lst", None),
    ],
)
def test_name(path: str, name: MenuName | None) -> None:
    assert read_name(path, "/boot") == name
