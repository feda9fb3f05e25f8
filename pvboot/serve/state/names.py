"""The names under which menus are asked for: the dialect, and the client that the name itself names.

Loaders build these names: PXELINUX and GRUB 2 try one after the other until one is there (`searched`), PV-GRUB and iPXE
ask for one only.
Sources: PXELINUX (wiki.syslinux.org, "Configuration filename"), GRUB 2 (manual, "Network"; grub-core/net/net.c
`grub_net_search_config_file`), iPXE (`${mac}` and `${uuid}` in a URL).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, get_args

from pvboot.serve.state.identity import NOBODY, Identity, read_address, read_mac, read_uuid

Dialect = Literal["menu.lst", "grub.cfg", "pxelinux", "ipxe"]
DIALECTS = MENU_LST, GRUB_CFG, PXELINUX, IPXE = get_args(Dialect)

_HEX_ADDRESS = re.compile(r"[0-9A-F]{1,8}")


@dataclass(frozen=True, slots=True)
class MenuName:
    """A menu that is asked for.

    `named` is who asks according to the name itself.  `searched`: the loader goes on to the next name when this one
    does not exist, so nobody but the named client gets an answer.
    """

    dialect: str
    named: Identity = NOBODY
    searched: bool = False


def read_name(path: str, prefix: str) -> MenuName | None:
    """The menu that `path` asks for, None for other files.  `prefix` is "/boot" or another directory."""
    if not path.startswith(f"{prefix}/"):
        return None
    name = path[len(prefix) + 1 :]
    directory, _, last = name.rpartition("/")
    if directory == "pxelinux.cfg":
        return _read_searched(PXELINUX, last, "default")
    if directory:
        return None
    if name.startswith("grub.cfg"):
        return _read_searched(GRUB_CFG, name[len("grub.cfg") :].removeprefix("-"), "") if name != "grub.cfg-" else None
    for dialect, stem in ((MENU_LST, "menu.lst"), (IPXE, "boot.ipxe")):
        if name == stem:
            return MenuName(dialect)
        if name.startswith(f"{stem}."):
            who = _read_who(name[len(stem) + 1 :])
            return MenuName(dialect, who) if who else None
    return None


def _read_searched(dialect: str, rest: str, last_name: str) -> MenuName | None:
    """`01-MAC`, UUID, the address in hexadecimal, that shortened digit by digit; the search ends with `last_name`."""
    if rest == last_name:
        return MenuName(dialect)
    if _HEX_ADDRESS.fullmatch(rest):
        # A shortened one is a group of addresses, and clients are described one by one: it names nobody.
        whole = str(ipaddress.IPv4Address(int(rest, 16))) if len(rest) == 8 else None
        return MenuName(dialect, Identity(address=whole), searched=True)
    who = _read_who(rest)
    return MenuName(dialect, who, searched=True) if who else None


def _read_who(text: str) -> Identity | None:
    mac, uuid, address = read_mac(text), read_uuid(text), read_address(text)
    return Identity(mac=mac, uuid=uuid, address=address) if mac or uuid or address else None
