"""`pvboot serve`: the netboot server."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from pvboot.errors import UsageError

if TYPE_CHECKING:
    from pvboot.serve.config import Config

HELP = "the netboot server: TFTP and HTTP out of directories and disk images"

EXAMPLES = """\
examples:
  pvboot serve pvboot.toml                       serve until Ctrl-C
  pvboot serve pvboot.toml --check-config        is the configuration right?
  pvboot serve pvboot.toml --print-dhcp dnsmasq  what the DHCP server has to say
  pvboot serve --print-unit service              a unit file for systemd
"""

UNITS = ("service", "tftp.socket", "http.socket", "https.socket")
DHCP_SERVERS = ("dnsmasq", "kea", "isc")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """[CONFIG] and what to do with it instead of serving."""
    parser.description = "Serve directories, the inside of disk images and made menus by TFTP and HTTP."
    parser.epilog = EXAMPLES
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="the configuration file (TOML)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check-config", action="store_true", help="read the configuration, say what is wrong, end")
    instead.add_argument("--print-dhcp", choices=DHCP_SERVERS, help="print the configuration for a DHCP server")
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
    config = _checked(args.config)
    if args.check_config:
        _check_further(config)
        _report(args, config)
        return 0
    if args.print_dhcp:
        from pvboot.serve.dhcp import print_dhcp

        print(print_dhcp(config, args.print_dhcp), end="")
        return 0
    from pvboot.serve.daemon import Supervisor

    private = () if args.ready_fd is None else (args.ready_fd,)
    return Supervisor(args.config, config, partial(_announce, args), private).run()


def _checked(path: str) -> Config:
    from pvboot.serve.config import load_config
    from pvboot.serve.daemon import check_state_tables

    config = load_config(path)
    check_state_tables(config)
    return config


def _check_further(config: Config) -> None:
    """What a start would find out."""
    from pvboot.serve.daemon import check_user, load_tls
    from pvboot.serve.worker import preload

    check_user(config)
    load_tls(config)
    preload(config)


def _report(args: argparse.Namespace, config: Config) -> None:
    if args.json:
        print(json.dumps({"config": config.name, "ok": True}))
    else:
        print(f"{config.name}: good")


def _announce(args: argparse.Namespace, addresses: dict[str, Any]) -> None:
    if args.ready_fd is not None:
        from pvboot.serve.daemon import announce_on

        announce_on(args.ready_fd, addresses)
    if args.json:
        print(json.dumps(addresses), flush=True)
        return
    from pvboot.serve.sockets import as_url_host

    for protocol in ("tftp", "http", "https"):
        for host, port in addresses[protocol]:
            print(f"{protocol}://{as_url_host(host)}:{port}", flush=True)
    sys.stdout.flush()
