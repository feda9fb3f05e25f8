"""The network commands.  They configure nothing: this machine has its network, and (nd) is what the user said.

Source of the rules: GRUB 0.97, stage2/builtins.c (bootp_func, ifconfig_func, tftpserver_func), as PV-GRUB has them.
"""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING
from grammars.commands import Arguments
from pvboot import grub_errors
from pvboot.device_names import Device, read_device
from pvboot.grub_errors import GrubError
from pvboot.menu.dialects import dialect_of
from pvboot.menu.discovery import FoundMenu
from pvboot.shell.request import OpenMenu, Outcome
from pvboot.shell.state import Shell
from pvboot.shell.table import command

if TYPE_CHECKING:
    from pvboot.devices import Network


def _network(shell: Shell) -> Network:
    shell.devices.check(Device("nd"))
    assert shell.devices.network is not None
    return shell.devices.network


def _configure(shell: Shell, args: Arguments) -> Outcome | None:
    network = _network(shell)
    shell.out(f"Server: {network.default_server}  (nd) is {network.url}")
    if "configfile" not in args:
        return None
    if network.config is None:
        raise GrubError(grub_errors.INVALID_DEVICE, "nobody named a configuration file; --net URL of a file does")
    name, file = shell.open(network.config)
    device, path = read_device(name)
    return OpenMenu(FoundMenu(device, path, dialect_of(path), file))


command("dhcp", text="Say what (nd) is; with the option, go on with the menu of --net.")(_configure)
command("bootp", text="Like dhcp.")(_configure)
command("rarp", text="Like dhcp, without a configuration file.")(_configure)


@command("tftpserver", "ifconfig", text="Make (nd) another server, one that --net names; other addresses are accepted.")
def choose_server(shell: Shell, args: Arguments) -> Outcome | None:
    network = _network(shell)
    for server in args.all("server"):
        network.choose(server)
    if not args.text:
        shell.out(f"Server: {network.default_server}  (nd) is {network.url}")
    return None
