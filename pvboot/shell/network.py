"""The network commands.  They configure nothing: this machine has its network, and (nd) is what the user said.

Source of the rules: GRUB 0.97, stage2/builtins.c (bootp_func, ifconfig_func, tftpserver_func), as PV-GRUB has them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pvboot import grub_errors
from pvboot.device_names import Device, read_device
from pvboot.grub_errors import GrubError, first_word, skip_word
from pvboot.menu.dialects import dialect_of
from pvboot.menu.discovery import FoundMenu
from pvboot.shell.request import OpenMenu, Outcome
from pvboot.shell.state import Shell
from pvboot.shell.table import command

if TYPE_CHECKING:
    from pvboot.devices import Network

WITH_CONFIGFILE = "--with-configfile"

_ADDRESS = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})")


def _network(shell: Shell) -> Network:
    shell.devices.check(Device("nd"))
    assert shell.devices.network is not None
    return shell.devices.network


def _configure(shell: Shell, args: str) -> Outcome | None:
    network = _network(shell)
    shell.out(f"Server: {network.default_server}  (nd) is {network.url}")
    if not args.startswith(WITH_CONFIGFILE):
        return None
    if network.config is None:
        raise GrubError(grub_errors.INVALID_DEVICE, "nobody named a configuration file; --net URL of a file does")
    name, file = shell.open(network.config)
    device, path = read_device(name)
    return OpenMenu(FoundMenu(device, path, dialect_of(path), file))


command(f"dhcp [{WITH_CONFIGFILE}]", "Say what (nd) is; with the option, go on with the menu of --net.")(_configure)
command(f"bootp [{WITH_CONFIGFILE}]", "Like dhcp.")(_configure)


@command("rarp", "Like dhcp, without a configuration file.")
def rarp(shell: Shell, args: str) -> Outcome | None:
    return _configure(shell, "")


@command("tftpserver IP", "Make (nd) another server, one that --net names.")
def tftpserver(shell: Shell, args: str) -> Outcome | None:
    _network(shell).choose(_address(first_word(args)))
    return None


@command("ifconfig [--address=IP] [--gateway=IP] [--mask=IP] [--server=IP]", "Accepted; --server is like tftpserver.")
def ifconfig(shell: Shell, args: str) -> Outcome | None:
    network = _network(shell)
    words = []
    while args:
        words.append(first_word(args))
        args = skip_word(args)
    for word in words:
        option, _equals, value = word.partition("=")
        if option not in ("--address", "--gateway", "--mask", "--server"):
            raise GrubError(grub_errors.INVALID_ARGUMENT, f"unknown word {grub_errors.shorten(word)!r}")
        if option == "--server":
            network.choose(_address(value))
        else:
            _address(value)
    if not words:
        shell.out(f"Server: {network.default_server}  (nd) is {network.url}")
    return None


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or any(int(number) > 255 for number in match.groups()):
        raise GrubError(grub_errors.INVALID_ARGUMENT, f"{grub_errors.shorten(text)!r} is no IPv4 address")
    return text
