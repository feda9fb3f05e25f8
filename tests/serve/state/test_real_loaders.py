"""The real iPXE, GRUB 2 and PXELINUX, in QEMU, read the menus that are made for them and boot what the profile says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pvboot.serve.state.history import COMPLETE
from pvboot.serve.state.names import PXELINUX
from pvboot.serve.state.render import FetchContext, render
from pvboot.serve.state.server import ServerState
from tests.serve.http.support import running
from tests.serve.state.helpers import MAC, MemoryContent, ask, load, read_profile, served

# Where a guest of QEMU's user network finds the host, and an address of it that only the tests give a meaning.
HOST, FORWARDED = "10.0.2.2", "10.0.2.100"
ARGS = "console=ttyS0 pvboot.words=a,b%c panic=-1 {x}"
Parts = Callable[[str], Path]


def boot(folder: Path, parts: Parts, profile: Mapping[str, Any], bases: Mapping[str, str], network: Any) -> Any:
    """A machine's serial console up to the command line of its kernel, and what the history says of the boot.

    `network(port)` gives the options of QEMU's network; our server listens at that port of the loopback.
    """
    kernel, initrd = parts("vmlinuz-6.1").read_bytes(), parts("initrd-busybox.cpio.gz").read_bytes()
    files = {"/odd name/vmlinuz": kernel, "/vmlinuz": kernel, "/initrd": initrd, "/more": initrd}
    config = {
        "state": str(folder / "state.db"),
        "profiles": {"other": {"kernel": "/other"}, "p": profile},
        "clients": {"it": {"mac": MAC, "profile": "p"}},
        "default": "other",
    }
    state = ServerState(load(config), MemoryContent(files), bases)
    with served(state) as api:
        with running(state.content, journal=state.journal) as server:
            log = run_machine(network(str(server.port)))
        state.journal.flush()
        (found,) = ask(api, "GET", "/api/v1/boots", token=False)[1]["items"]
    return log, found


def run_machine(network: str) -> str:
    """The serial console of a machine that boots by network, until its kernel shows its command line or it ends."""
    card = f"e1000,netdev=n,mac={MAC}"
    pc = f"-machine pc,accel=tcg -m 512 -display none -serial stdio -monitor none -no-reboot -boot n -device {card}"
    command = ["qemu-system-x86_64", *pc.split(), "-netdev", f"user,id=n,{network}"]
    machine = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    assert machine.stdout is not None
    log = ""
    try:
        for line in machine.stdout:
            log += line.decode("utf-8", "replace")
            if "ommand line:" in log.rpartition("\n")[0]:
                break
    finally:
        machine.kill()
        machine.wait()
        machine.stdout.close()
    return log


@pytest.mark.slow
def test_ipxe_falls_back_to_the_entry_that_is_there(tmp_path: Path, parts: Parts) -> None:
    there = {"title": "It's & <there>", "kernel": "/odd name/vmlinuz", "initrd": ["/initrd", "/more"]}
    args = f"{ARGS} $HOME 'y' \"z\""
    profile = {
        "title": "Choose (one) of 2",
        "entries": [{"title": "Not there", "kernel": "/gone"}, {**there, "args": args}],
        "fallback": [1],
        "timeout": 1,
    }
    log, found = boot(
        tmp_path, parts, profile, {}, lambda port: f"bootfile=http://{HOST}:{port}/boot/boot.ipxe?mac=${{mac}}"
    )
    assert f"initrd=initrd0 initrd=initrd1 {args}" in log
    assert (found["client"], found["profile"], found["dialect"], found["outcome"]) == ("it", "p", "ipxe", COMPLETE)
    assert found["fetched"] == ["/odd name/vmlinuz", "/initrd", "/more"]


@pytest.mark.slow
def test_grub_boots_its_own_grub_cfg(tmp_path: Path, parts: Parts) -> None:
    """GRUB 2.06 knows no ports: port 80 of an address is led to our server by a program for each connection."""
    args = f'{ARGS} a="b c" $z'
    profile = {"title": "It's <one>", "kernel": "/vmlinuz", "initrd": ["/initrd", "/more"], "args": args}
    make_grub(tmp_path / "tftp", parts)
    forward = tmp_path / "forward"
    forward.write_text(f'#!/bin/sh\nexec {parts("busybox")} nc 127.0.0.1 "$1"\n')
    forward.chmod(0o755)
    log, found = boot(
        tmp_path,
        parts,
        profile,
        {"http": f"http://{FORWARDED}"},
        lambda port: f"tftp={tmp_path / 'tftp'},bootfile=grub,guestfwd=tcp:{FORWARDED}:80-cmd:{forward} {port}",
    )
    assert f'BOOT_IMAGE=(http,{FORWARDED})/vmlinuz {ARGS} "a=b c" $z' in log
    assert (found["client"], found["profile"], found["dialect"], found["outcome"]) == ("it", "p", "grub.cfg", COMPLETE)


@pytest.mark.slow
def test_pxelinux_boots_its_configuration(tmp_path: Path, parts: Parts) -> None:
    """Over QEMU's own TFTP server, which has the files in a directory: the text is what matters here."""
    args = f"{ARGS} a=\"b c\" $z 'y' \\n"
    entries = [
        {"title": "Local", "local": True},
        {"title": "It's <one>", "kernel": "/vmlinuz", "initrd": ["/i", "/j"], "args": args},
    ]
    profile = read_profile("p", {"entries": entries, "default": 1, "timeout": 1})
    packages = parts("pxelinux/root")
    (tmp_path / "pxelinux.cfg").mkdir()
    (tmp_path / "pxelinux.cfg" / "default").write_text(render(profile, PXELINUX, FetchContext("tftp", {})).text)
    files = {
        "pxelinux.0": packages / "usr/lib/PXELINUX/pxelinux.0",
        "vmlinuz": parts("vmlinuz-6.1"),
        "ldlinux.c32": packages / "usr/lib/syslinux/modules/bios/ldlinux.c32",
        "i": parts("initrd-busybox.cpio.gz"),
        "j": parts("initrd-busybox.cpio.gz"),
    }
    for name, source in files.items():
        shutil.copyfile(source, tmp_path / name)
    log = run_machine(f"tftp={tmp_path},bootfile=pxelinux.0")
    assert f"BOOT_IMAGE=/vmlinuz {args} initrd=/i,/j" in log


def make_grub(folder: Path, parts: Parts) -> None:
    """A GRUB that boots by PXE and asks for its menu over HTTP."""
    folder.mkdir()
    start = folder / "start.cfg"
    start.write_text(
        "serial --unit=0\nterminal_output serial\nnet_bootp\n"
        f"set prefix=(http,{FORWARDED})/boot\nnormal $prefix/grub.cfg-$net_default_mac\n"
    )
    modules = parts("grub-pc/root") / "usr/lib/grub/i386-pc"
    command = f"grub-mkimage -O i386-pc-pxe -d {modules} -c {start} -o {folder}/grub -p /boot"
    wanted = "pxe http net normal linux echo test serial terminal"
    subprocess.run([*command.split(), *wanted.split()], check=True, capture_output=True)
