"""The configuration that the network's own DHCP server needs so that guests find this server.

A PV-GRUB takes its TFTP server from siaddr ("next server") and its menu's path from option 150 *as text*; it takes the
first offer, whole, so the options must come from the DHCP server that gives the address (no proxyDHCP can help).
Others (GRUB 2, pvboot, PXE) read options 66 and 67, or siaddr and the file field.  Sources: PV-GRUB's and GRUB Legacy's
netboot code, RFC 2132, RFC 3004 (user class), RFC 4578 (client architecture), ipxe.org/howto/dhcpd.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pvboot.serve.config import Config
from pvboot.serve.sockets import as_url_host
from pvboot.serve.state.clients import Client
from pvboot.templates import environment

# PV-GRUB copies option 150 into a fixed buffer without looking at its length.
MENU_LIMIT_BYTES = 120


@dataclass(frozen=True, slots=True)
class BootFile:
    """The file that a kind of client is sent: "ipxe", "efi" or "other"; `others` are the kinds with files of their own
    that come first."""

    name: str
    file: str
    others: tuple[str, ...]


def print_dhcp(config: Config, kind: str) -> str:
    """The configuration for `dnsmasq` or `kea`.  Raises `ConfigError` if a setting that it needs is missing."""
    dhcp, file = config.dhcp, config.file
    if not dhcp.subnet:
        raise file.error("--print-dhcp needs the subnet", "dhcp.subnet", '[dhcp] subnet = "192.0.2.0/24"')
    server = dhcp.server or _own_address(config)
    if not server:
        raise file.error("--print-dhcp needs this server's IPv4 address", "dhcp.server", '[dhcp] server = "192.0.2.1"')
    # On PV-GRUB's own network device, whatever disk it has.
    menu = f"(nd){dhcp.menu}" if dhcp.menu.startswith("/") else dhcp.menu
    size = len(menu.encode())
    if size > MENU_LIMIT_BYTES:
        expected = f"at most {MENU_LIMIT_BYTES} bytes"
        raise file.error("the menu's path is too long for PV-GRUB", "dhcp.menu", expected, str(size))
    templates = environment("pvboot.serve")
    templates.filters |= {"as_addresses": _as_addresses, "commented": _commented}
    return templates.get_template(f"{kind}.j2").render(
        dhcp=dhcp,
        network=ipaddress.IPv4Network(dhcp.subnet),
        server=server,
        menu=menu,
        boots=_boot_files(config, server),
        hosts=[_host(client) for client in config.clients.values() if client.mac],
    )


def _own_address(config: Config) -> str:
    """The first IPv4 address that TFTP listens on, or the server's host if it is one."""
    for host in (*(host for host, _port in config.listen.tftp), config.public_host):
        try:
            address = ipaddress.IPv4Address(host)
        except ValueError:
            continue
        if not address.is_unspecified:
            return str(address)
    return ""


def _boot_files(config: Config, server: str) -> list[BootFile]:
    """iPXE itself is sent on to its script; EFI and BIOS firmware get the iPXE made for them."""
    dhcp = config.dhcp
    files = {"ipxe": dhcp.ipxe_script or _own_script(config, server), "efi": dhcp.efi_bootfile}
    files = {name: file for name, file in files.items() if file} | {"other": dhcp.bootfile or dhcp.menu}
    names = tuple(files)
    return [BootFile(name, file, names[:at]) for at, (name, file) in enumerate(files.items())]


def _own_script(config: Config, server: str) -> str:
    """The iPXE script that profiles are made into; "" without profiles or HTTP."""
    if not config.profiles or not config.listen.http:
        return ""
    port = config.listen.http[0][1]
    return f"http://{as_url_host(server)}{'' if port in (0, 80) else f':{port}'}{config.menus.path}/boot.ipxe"


def _host(client: Client) -> dict[str, str]:
    """A client with a MAC, in Kea's words."""
    address = client.address if ":" not in (client.address or "") else None
    known = {"hw-address": client.mac, "ip-address": address, "hostname": client.hostname}
    return {key: value for key, value in known.items() if value}


def _as_addresses(text: str) -> str:
    """A text's bytes, NULs behind them, as IPv4 addresses: to dnsmasq option 150 is a list of addresses.

    None of them is 0.0.0.0, which would stand for dnsmasq's own.
    """
    data = text.encode()
    data += bytes(-len(data) % 4)
    return ",".join(".".join(map(str, data[at : at + 4])) for at in range(0, len(data), 4))


def _commented(text: str, mark: str) -> str:
    return "".join(f"{mark} {line}\n" for line in text.splitlines())
