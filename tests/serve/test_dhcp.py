"""What `--print-dhcp` prints: judged by the DHCP servers themselves, and by what a real dnsmasq then answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvboot.serve.config import ConfigError, read_config
from pvboot.serve.dhcp import print_dhcp
from tests.serve.dhcp_packets import parse

CONFIG = """\
host = "192.0.2.1"

[listen]
tftp = ["0.0.0.0:69"]
http = ["0.0.0.0:8080"]

[dhcp]
subnet = "192.0.2.0/24"
{range}
router = "192.0.2.254"
bootfile = "/ipxe/undionly.kpxe"
{efi}

[profiles.debian]
kernel = "/k"

[clients."web 1"]
mac = "00:16:3e:00:00:01"
address = "192.0.2.50"
hostname = "web1"
profile = "debian"

[clients.other]
mac = "52:54:00:00:00:02"
"""
RANGE, EFI = 'range = ["192.0.2.100", "192.0.2.199"]', 'efi_bootfile = "/ipxe/ipxe.efi"'
WHOLE = CONFIG.format(range=RANGE, efi=EFI)
SMALL = '[listen]\ntftp = ["192.0.2.1:69"]\n[dhcp]\nsubnet = "192.0.2.0/24"\ninterface = "lo"\n'
CONFIGS = [WHOLE, CONFIG.format(range="", efi=""), CONFIG.format(range=RANGE, efi=""), SMALL, SMALL + RANGE]

HERE = Path(__file__).parent


def printed(text: str, kind: str) -> str:
    return print_dhcp(read_config(text.encode(), "serve.toml"), kind)


@pytest.mark.parametrize("text", CONFIGS)
def test_dnsmasq_takes_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text(printed(text, "dnsmasq"))
    done = subprocess.run(["dnsmasq", "--test", "-C", str(tmp_path / "conf")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", CONFIGS)
def test_kea_takes_it(parts: Callable[[str], Path], text: str, tmp_path: Path) -> None:
    root = parts("dhcp-servers")
    (tmp_path / "conf").write_text(printed(text, "kea"))
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    command = [str(root / "usr/sbin/kea-dhcp4"), "-t", str(tmp_path / "conf")]
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries, "KEA_LOCKFILE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout


def test_isc_dhcpd_is_gone(run_cli: Callable[..., Any]) -> None:
    done = run_cli("serve", "serve.toml", "--print-dhcp", "isc")
    assert done.returncode == 2
    assert "removed" in done.stderr and "kea" in done.stderr and done.stderr.count("\n") == 1


def test_dnsmasq_keeps_answering_dns() -> None:
    assert not [line for line in printed(WHOLE, "dnsmasq").splitlines() if line.startswith("port=")]


@pytest.mark.parametrize("kind", ["dnsmasq", "kea"])
def test_the_trap_of_option_150_is_told(kind: str) -> None:
    text = printed(WHOLE, kind)
    assert "Cisco" in text
    assert "192.0.2.50" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[listen]\ntftp = ["192.0.2.1:69"]\n', "serve.toml: dhcp.subnet: --print-dhcp needs the subnet"),
        (
            '[listen]\ntftp = ["0.0.0.0:69"]\n[dhcp]\nsubnet = "192.0.2.0/24"\n',
            "serve.toml:3: dhcp.server: --print-dhcp",
        ),
        (SMALL + f'menu = "/{"m" * 120}"\n', "serve.toml:6: dhcp.menu: the menu's path is too long for PV-GRUB"),
    ],
)
def test_what_is_missing_is_said(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        printed(text, "dnsmasq")
    assert str(caught.value).startswith(message)


def test_the_option_of_the_command_line(run_cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text(WHOLE)
    done = run_cli("serve", tmp_path / "serve.toml", "--print-dhcp", "dnsmasq")
    assert done.stdout == printed(WHOLE, "dnsmasq")


# --- a real dnsmasq in a namespace ------------------------------------------------------------------------

# Who asks, and the options of the question: a PV-GRUB (its list of wanted options), iPXE, EFI and BIOS firmware.
PVGRUB = {"55": "01030c12"}
PXE = {"55": "0103060c4243", "60": b"PXEClient:Arch:00000:UNDI:002001".hex(), "93": "0000"}
ASKERS = {
    "pvgrub": ("00:16:3e:12:34:56", PVGRUB),
    "named": ("00:16:3e:00:00:01", PVGRUB),
    "ipxe": ("52:54:00:00:00:09", {**PXE, "77": b"iPXE".hex()}),
    "efi": ("52:54:00:00:00:0a", {**PXE, "93": "0007"}),
    "bios": ("52:54:00:00:00:0b", PXE),
    "own menu": ("52:54:00:00:00:02", PVGRUB),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, bytes], dict[int, bytes]]]:
    """What each asker is answered: fixed fields and options."""
    folder = tmp_path_factory.mktemp("dhcp")
    (folder / "conf").write_text(printed(WHOLE, "dnsmasq"))
    unshare = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*unshare, sys.executable, str(HERE / "ask_dhcp.py"), str(folder / "conf")],
        input=json.dumps(list(ASKERS.values())),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return {name: parse(bytes.fromhex(answer)) for name, answer in zip(ASKERS, json.loads(done.stdout), strict=True)}


Answers = dict[str, tuple[dict[str, bytes], dict[int, bytes]]]
SERVER = bytes([192, 0, 2, 1])


@pytest.mark.parametrize("name", ASKERS)
def test_everybody_learns_the_server(answers: Answers, name: str) -> None:
    fields, options = answers[name]
    assert options[53] == b"\2"
    assert fields["siaddr"] == SERVER
    assert options[66].rstrip(b"\0") == b"192.0.2.1"
    assert fields["yiaddr"][:3] == SERVER[:3]


@pytest.mark.parametrize("name", ["pvgrub", "named", "own menu"])
def test_pv_grub_gets_its_menu_as_text(answers: Answers, name: str) -> None:
    """It cuts trailing NULs, and never asks for the option."""
    assert answers[name][1][150].rstrip(b"\0") == b"(nd)/boot/menu.lst"


@pytest.mark.parametrize("name", ["ipxe", "efi", "bios"])
def test_nobody_else_is_given_option_150(answers: Answers, name: str) -> None:
    assert 150 not in answers[name][1]


@pytest.mark.parametrize(
    ("name", "file"),
    [("ipxe", b"http://192.0.2.1:8080/boot/boot.ipxe"), ("efi", b"/ipxe/ipxe.efi"), ("bios", b"/ipxe/undionly.kpxe")],
)
def test_firmware_is_sent_to_ipxe_and_ipxe_to_its_script(answers: Answers, name: str, file: bytes) -> None:
    assert answers[name][1][67].rstrip(b"\0") == file


def test_a_configured_client_gets_its_address_and_name(answers: Answers) -> None:
    fields, options = answers["named"]
    assert fields["yiaddr"] == bytes([192, 0, 2, 50])
    assert options[12] == b"web1"
    assert options[3] == bytes([192, 0, 2, 254])
