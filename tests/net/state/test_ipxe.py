"""The real iPXE, in QEMU, reads the script that is made for it and boots what the profile says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.net.serve.state.history import COMPLETE
from pvboot.net.serve.state.server import build_state
from tests.net.state.helpers import FILES, MAC, MemoryContent, ask
from tests.net.state.web_server import web_server

ARGS = "console=ttyS0 pvboot.words=a,b%c panic=-1 $HOME {x} 'y'"
PROFILE = {
    "title": "Choose (one) of 2",
    "entries": [
        {"title": "Not there", "kernel": "/gone"},
        {"title": "It's & <there>", "kernel": "/odd name/vmlinuz", "initrd": ["/initrd", "/more"], "args": ARGS},
    ],
    "default": 0,
    "fallback": [1],
    "timeout": 1,
}


@pytest.mark.slow
def test_ipxe_falls_back_to_the_entry_that_is_there(tmp_path: Path, parts: Callable[[str], Path]) -> None:
    initrd = parts("initrd-busybox.cpio.gz").read_bytes()
    files = {"/odd name/vmlinuz": parts("vmlinuz-6.1-cloud").read_bytes(), "/initrd": initrd, "/more": initrd}
    config = {
        "state": str(tmp_path / "state.db"),
        "profiles": {"other": {"kernel": "/other"}, "p": PROFILE},
        "clients": {"it": {"mac": MAC, "profile": "p"}},
        "default": "other",
    }
    state = build_state(config, MemoryContent({**FILES, **files}), base_urls={})
    try:
        with web_server(state) as url:
            port = url.rpartition(":")[2]
            # Where the guest sees the host, as QEMU's user network has it.
            log = run_ipxe(f"http://10.0.2.2:{port}/boot/boot.ipxe?mac=${{mac}}")
        state.journal.flush()
        (boot,) = ask(state, "GET", "/api/v1/boots", token=False)[1]["items"]
    finally:
        state.close()
    assert (boot["client"], boot["profile"], boot["dialect"], boot["outcome"]) == ("it", "p", "ipxe", COMPLETE)
    assert boot["fetched"] == ["/odd name/vmlinuz", "/initrd", "/more"]
    assert f"initrd=initrd0 initrd=initrd1 {ARGS}" in log


def run_ipxe(script: str) -> str:
    """The serial console of a machine that boots by network, until its kernel shows its command line or it ends."""
    command = [
        "qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "512", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-monitor", "none", "-boot", "n",
        "-netdev", f"user,id=n,bootfile={script}", "-device", f"virtio-net-pci,netdev=n,mac={MAC}",
    ]  # fmt: skip
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
