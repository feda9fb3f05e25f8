"""`pvboot serve`: the netboot server."""

from __future__ import annotations

import argparse
import json
from functools import partial

from fsdrivers.light import Any
from pvboot.errors import PvbootError, UsageError

HELP = "the netboot server: TFTP and HTTP out of directories and disk images"

EXAMPLES = """\
examples:
  pvboot serve pvboot.toml                       serve until Ctrl-C
  pvboot serve pvboot.toml --check-config        is the configuration right?
  pvboot serve pvboot.toml --print-dhcp dnsmasq  the configuration for the DHCP server
  pvboot serve --print-unit service              a unit file for systemd
"""

UNITS = ("service", "tftp.socket", "http.socket", "https.socket")
DHCP_SERVERS = ("dnsmasq", "kea")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """[CONFIG] and the things to do with it instead of serving."""
    parser.description = "Serve directories, the inside of disk images and made menus by TFTP and HTTP."
    parser.epilog = EXAMPLES
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="the configuration file (TOML)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check-config", action="store_true", help="print all mistakes of the configuration, one a line"
    )
    instead.add_argument(
        "--print-dhcp", type=_dhcp_server, choices=DHCP_SERVERS, help="print the configuration for a DHCP server"
    )
    instead.add_argument("--print-unit", choices=UNITS, help="print a unit file for systemd")
    parser.add_argument(
        "--ready-fd",
        metavar="FD",
        type=int,
        help="write the addresses as a line of JSON to this descriptor when serving begins",
    )
    parser.add_argument("--json", action="store_true", help="print the addresses, or the check's answer, as JSON")


def run(args: argparse.Namespace) -> int:
    """0 after an orderly stop."""
    if args.print_unit:
        from pvboot.serve.units import unit

        print(unit(args.print_unit), end="")
        return 0
    if args.config is None:
        raise UsageError("a configuration file is needed", expected="pvboot serve CONFIG")
    from pvboot.serve.config import load_config

    if args.check_config:
        return _check(args)
    config = load_config(args.config)
    if args.print_dhcp:
        from pvboot.serve.dhcp import print_dhcp

        print(print_dhcp(config, args.print_dhcp), end="")
        return 0
    from pvboot.serve.daemon import Supervisor

    private = () if args.ready_fd is None else (args.ready_fd,)
    return Supervisor(args.config, config, partial(_announce, args), private).run()


def _dhcp_server(name: str) -> str:
    if name == "isc":
        raise argparse.ArgumentTypeError("the text for ISC dhcpd was removed with that server's end of life: use kea")
    return name


def _check(args: argparse.Namespace) -> int:
    """Complain about every mistake that a start would meet; returns 0 without any."""
    from pvboot.cli.common import complain
    from pvboot.serve.config import ConfigError, load_config
    from pvboot.serve.daemon import check_user, load_tls
    from pvboot.serve.worker import preload

    mistakes: list[PvbootError] = []
    try:
        config = load_config(args.config)
    except ConfigError as err:
        mistakes = [err, *err.further]
    else:
        for check in (check_user, load_tls, preload):
            try:
                check(config)
            except PvbootError as err:
                mistakes.append(err)
    for mistake in mistakes:
        complain(str(mistake))
    if mistakes:
        return mistakes[0].exit_code
    print(json.dumps({"config": args.config, "ok": True}) if args.json else f"{args.config}: good")
    return 0


def _announce(args: argparse.Namespace, addresses: dict[str, Any]) -> None:
    if args.ready_fd is not None:
        from pvboot.serve.daemon import announce_on

        announce_on(args.ready_fd, addresses)
    if args.json:
        print(json.dumps(addresses), flush=True)
        return
    from pvboot.serve.sockets import as_url_host

    for protocol in ("tftp", "http", "https", "admin"):
        for address in addresses[protocol]:
            place = f"unix:{address}" if isinstance(address, str) else f"{as_url_host(address[0])}:{address[1]}"
            print(f"admin {place}" if protocol == "admin" else f"{protocol}://{place}", flush=True)
