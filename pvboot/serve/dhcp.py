"""What the network's own DHCP server has to say so that guests find this server; pvboot is none itself.

A PV-GRUB takes its TFTP server from siaddr ("next server") and its menu's path from option 150 *as text*; it takes the
first offer, whole, so the options must come from the DHCP server that gives the address (no proxyDHCP can help).
Others (GRUB 2, pvboot, PXE) read options 66 and 67, or siaddr and the file field.  Sources: PV-GRUB's and GRUB Legacy's
netboot code, RFC 2132, RFC 3004 (user class), RFC 4578 (client architecture), ipxe.org/howto/dhcpd.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pvboot.serve.config import Config
from pvboot.serve.sockets import as_url_host

if TYPE_CHECKING:
    from pvboot.serve.state.clients import Client

XEN_PREFIX = "00:16:3e"  # Xen's own range of MAC addresses
# PV-GRUB copies option 150 into a fixed buffer without looking at its length.
MENU_LIMIT_BYTES = 120
# Of option 93: EFI for x86-64, twice, because firmware has used 9 where the RFC's errata say 7.
EFI_ARCHITECTURES = (7, 9)

_WARNING = (
    "Option 150 is text here: the path of PV-GRUB's menu. Cisco's telephones and others take the same option for a",
    "list of TFTP servers' addresses. So only guests with Xen's MAC addresses (00:16:3e:...) and the hosts listed",
    "below are given it; keep them away from a subnet on which something else needs option 150.",
)


@dataclass(frozen=True, slots=True)
class Host:
    """A client of the configuration that has a MAC; its address and name may be ""."""

    label: str
    mac: str
    address: str
    hostname: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What all three print."""

    network: ipaddress.IPv4Network
    first: str
    last: str
    router: str
    server: str
    menu: str
    bootfile: str
    efi_bootfile: str
    ipxe_script: str
    lease_seconds: int
    interface: str
    hosts: tuple[Host, ...]


def print_dhcp(config: Config, kind: str) -> str:
    """The configuration for `dnsmasq`, `kea` or `isc`.  Raises `ConfigError` for what the printing lacks."""
    return {"dnsmasq": _dnsmasq, "kea": _kea, "isc": _isc}[kind](_facts(config))


def _facts(config: Config) -> Facts:
    given, fail = config.dhcp, config.source.fail
    if not given.subnet:
        fail("--print-dhcp needs the subnet", "dhcp.subnet", expected='[dhcp] subnet = "192.0.2.0/24"')
    network = ipaddress.IPv4Network(given.subnet)
    server = given.server or _own_address(config)
    if not server:
        fail("--print-dhcp needs this server's IPv4 address", "dhcp.server", expected='[dhcp] server = "192.0.2.1"')
    # On PV-GRUB's own network device, whatever disk it has.
    pvgrub_menu = f"(nd){given.menu}" if given.menu.startswith("/") else given.menu
    size = len(pvgrub_menu.encode())
    if size > MENU_LIMIT_BYTES:
        fail(
            "the menu's path is too long for PV-GRUB",
            "dhcp.menu",
            expected=f"at most {MENU_LIMIT_BYTES} bytes",
            found=str(size),
        )
    script = given.ipxe_script or _own_script(config, server)
    return Facts(
        network,
        given.first,
        given.last,
        given.router,
        server,
        pvgrub_menu,
        given.bootfile or given.menu,
        given.efi_bootfile,
        script,
        given.lease_seconds,
        given.interface,
        _hosts(config),
    )


def _own_address(config: Config) -> str:
    """The first IPv4 address that TFTP listens on, or the server's host if it is one."""
    for host in (*(host for host, _port in config.listen["tftp"]), config.host):
        try:
            address = ipaddress.IPv4Address(host)
        except ValueError:
            continue
        if not address.is_unspecified:
            return str(address)
    return ""


def _own_script(config: Config, server: str) -> str:
    """The iPXE script that profiles are made into; "" without profiles or HTTP."""
    if "profiles" not in config.tables or not config.listen["http"]:
        return ""
    from pvboot.serve.state import settings

    port = config.listen["http"][0][1]
    menus = settings.load(config.tables).menus
    return f"http://{as_url_host(server)}{'' if port in (0, 80) else f':{port}'}{menus}/boot.ipxe"


def _hosts(config: Config) -> tuple[Host, ...]:
    if "clients" not in config.tables:
        return ()
    from pvboot.serve.state import settings

    return tuple(_host(client) for client in settings.load(config.tables).clients.values() if client.identity.mac)


def _host(client: Client) -> Host:
    identity = client.identity
    address = identity.address or ""
    label = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in client.name).strip("-")
    return Host(label or "client", identity.mac or "", "" if ":" in address else address, identity.hostname or "")


def _comment(mark: str, facts: Facts) -> list[str]:
    lines = ["Made by `pvboot serve --print-dhcp`.", *_WARNING]
    if not (facts.first and facts.last):
        lines.append("No range is configured: only the hosts below get an address.")
    return [f"{mark} {line}" for line in lines]


# --- dnsmasq ----------------------------------------------------------------------------------------------


def _dnsmasq(facts: Facts) -> str:
    lines = _comment("#", facts)
    lines.append("#port=0               # if this dnsmasq is not to answer DNS")
    if facts.interface:
        lines += [f"interface={facts.interface}", "bind-interfaces"]
    mask, lease = facts.network.netmask, facts.lease_seconds
    if facts.first and facts.last:
        lines.append(f"dhcp-range={facts.first},{facts.last},{mask},{lease}")
    else:
        lines.append(f"dhcp-range={facts.network.network_address},static,{mask},{lease}")
    if facts.router:
        lines.append(f"dhcp-option=option:router,{facts.router}")
    lines += ["", "# Who asks", f"dhcp-mac=set:pvgrub,{XEN_PREFIX}:*:*:*", "dhcp-userclass=set:ipxe,iPXE"]
    lines += [f"dhcp-match=set:efi,option:client-arch,{number}" for number in EFI_ARCHITECTURES]
    lines += ["", "# siaddr and options 66 and 67; forced, for PV-GRUB asks for nothing"]
    lines += _dnsmasq_boot(facts)
    lines += [f"dhcp-option-force=option:tftp-server,{facts.server}", "", "# PV-GRUB's menu"]
    # dnsmasq takes option 150 for a list of addresses, whatever is written; the bytes on the wire are the same.
    lines += [
        f"# {facts.menu}, four letters an address, for dnsmasq takes nothing else; PV-GRUB drops the NULs",
        f"dhcp-option-force=tag:pvgrub,150,{_as_addresses(facts.menu)}",
    ]
    if facts.hosts:
        lines += ["", "# Hosts"]
    for host in facts.hosts:
        lines.append(
            ",".join(part for part in (f"dhcp-host={host.mac}", "set:pvgrub", host.address, host.hostname) if part)
        )
    return "\n".join(lines) + "\n"


def _as_addresses(text: str) -> str:
    """The text's bytes, NULs behind them, as IPv4 addresses; none is 0.0.0.0, which would stand for dnsmasq's own."""
    data = text.encode()
    data += bytes(-len(data) % 4)
    return ",".join(".".join(map(str, data[at : at + 4])) for at in range(0, len(data), 4))


def _dnsmasq_boot(facts: Facts) -> list[str]:
    """iPXE itself is sent on to its script, EFI and BIOS firmware get the iPXE made for them."""
    lines = []
    if facts.ipxe_script:
        lines.append(f"dhcp-boot=tag:ipxe,{facts.ipxe_script},,{facts.server}")
    not_ipxe = "tag:!ipxe," if facts.ipxe_script else ""
    if facts.efi_bootfile:
        lines.append(f"dhcp-boot={not_ipxe}tag:efi,{facts.efi_bootfile},,{facts.server}")
    not_efi = "tag:!efi," if facts.efi_bootfile else ""
    lines.append(f"dhcp-boot={not_ipxe}{not_efi}{facts.bootfile},,{facts.server}")
    named = [f"tag:ipxe,{facts.ipxe_script}"] if facts.ipxe_script else []
    named += [f"{not_ipxe}tag:efi,{facts.efi_bootfile}"] if facts.efi_bootfile else []
    named.append(f"{not_ipxe}{not_efi}{facts.bootfile}")
    for entry in named:
        tags, _, file = entry.rpartition(",")
        lines.append("dhcp-option-force=" + (f"{tags}," if tags else "") + f"option:bootfile-name,{file}")
    return lines


# --- Kea --------------------------------------------------------------------------------------------------


def _kea(facts: Facts) -> str:
    def option(name: str, data: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "data": data, **more}

    subnet: dict[str, Any] = {"id": 1, "subnet": str(facts.network), "next-server": facts.server}
    if facts.first and facts.last:
        subnet["pools"] = [{"pool": f"{facts.first} - {facts.last}"}]
    if facts.router:
        subnet["option-data"] = [option("routers", facts.router)]
    subnet["reservations"] = [_kea_host(host) for host in facts.hosts]
    menu = option("pvgrub-menu", facts.menu, **{"always-send": True})
    bytes_of_prefix = XEN_PREFIX.replace(":", "")
    classes: list[dict[str, Any]] = []
    for name, test, file in _boot_classes(facts):
        classes.append(
            {
                "name": name,
                "test": test,
                "next-server": facts.server,
                "boot-file-name": file,
                "option-data": [option("boot-file-name", file, **{"always-send": True})],
            }
        )
    classes.append({"name": "xen", "test": f"substring(pkt4.mac, 0, 3) == 0x{bytes_of_prefix}", "option-data": [menu]})
    server = option("tftp-server-name", facts.server, **{"always-send": True})
    dhcp4: dict[str, Any] = {
        "interfaces-config": {"interfaces": [facts.interface or "*"]},
        "valid-lifetime": facts.lease_seconds,
        "option-def": [{"name": "pvgrub-menu", "code": 150, "type": "string", "space": "dhcp4"}],
        "option-data": [server],
        "client-classes": classes,
        "subnet4": [subnet],
    }
    for host in subnet["reservations"]:
        host["option-data"] = [menu]
    comment = "\n".join(_comment("//", facts))
    return f"{comment}\n{json.dumps({'Dhcp4': dhcp4}, indent=2)}\n"


def _boot_classes(facts: Facts) -> list[tuple[str, str, str]]:
    """Name, test and file of Kea's classes; every client is in exactly one."""
    classes = []
    # Option 77 is text with iPXE, not the RFC's list of counted texts.
    ipxe = "(option[77].hex == 'iPXE' or substring(option[77].hex, 1, 4) == 'iPXE')"
    efi = "(" + " or ".join(f"option[93].hex == 0x{number:04x}" for number in EFI_ARCHITECTURES) + ")"
    others = []
    if facts.ipxe_script:
        classes.append(("ipxe", ipxe, facts.ipxe_script))
        others.append(f"not {ipxe}")
    if facts.efi_bootfile:
        classes.append(("efi", " and ".join([*others, efi]), facts.efi_bootfile))
        others.append(f"not {efi}")
    classes.append(("other", " and ".join(others) or "option[53].exists", facts.bootfile))
    return classes


def _kea_host(host: Host) -> dict[str, Any]:
    known = {"hw-address": host.mac, "ip-address": host.address, "hostname": host.hostname}
    return {name: value for name, value in known.items() if value}


# --- ISC dhcpd --------------------------------------------------------------------------------------------


def _isc(facts: Facts) -> str:
    lines = [*_comment("#", facts), "option pvgrub-menu code 150 = text;"]
    lines.append("option client-arch code 93 = unsigned integer 16;")
    lines += [f"default-lease-time {facts.lease_seconds};", f"max-lease-time {2 * facts.lease_seconds};", ""]
    lines += [f"subnet {facts.network.network_address} netmask {facts.network.netmask} {{"]
    if facts.first and facts.last:
        lines.append(f"  range {facts.first} {facts.last};")
    if facts.router:
        lines.append(f"  option routers {facts.router};")
    lines += [f"  next-server {facts.server};", f'  option tftp-server-name "{facts.server}";']
    lines += [*_isc_boot(facts), "}", ""]
    # PV-GRUB's list of wanted options lacks 150 (0x96), 66 and 67: they are added to whatever a client asks for.
    wanted = "  option dhcp-parameter-request-list = concat(option dhcp-parameter-request-list, 42, 43, 96);"
    lines += [
        'class "xen" {',
        '  match if binary-to-ascii(16, 8, ":", substring(hardware, 1, 3)) = "0:16:3e";',
        f'  option pvgrub-menu "{facts.menu}";',
        wanted,
        "}",
    ]
    for number, host in enumerate(facts.hosts, 1):
        lines += [f"host {host.label}-{number} {{", f"  hardware ethernet {host.mac};"]
        lines += [f"  fixed-address {host.address};"] if host.address else []
        lines += [f'  option host-name "{host.hostname}";'] if host.hostname else []
        lines += [f'  option pvgrub-menu "{facts.menu}";', wanted, "}"]
    return "\n".join(lines) + "\n"


def _isc_boot(facts: Facts) -> list[str]:
    branches = []
    if facts.ipxe_script:
        branches.append(('exists user-class and option user-class = "iPXE"', facts.ipxe_script))
    if facts.efi_bootfile:
        efi = " or ".join(f"option client-arch = {number}" for number in EFI_ARCHITECTURES)
        branches.append((f"exists client-arch and ({efi})", facts.efi_bootfile))
    last = facts.bootfile
    if not branches:
        return [f'  filename "{last}";', f'  option bootfile-name "{last}";']
    lines = []
    for index, (test, file) in enumerate(branches):
        lines += [
            f"  {'if' if not index else '} elsif'} {test} {{",
            f'    filename "{file}";',
            f'    option bootfile-name "{file}";',
        ]
    return [*lines, "  } else {", f'    filename "{last}";', f'    option bootfile-name "{last}";', "  }"]
