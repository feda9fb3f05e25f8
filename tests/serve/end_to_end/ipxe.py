"""A PC in QEMU whose network card boots by iPXE; QEMU's own network leads its 10.0.2.2 to this host's loopback."""

from __future__ import annotations

import subprocess
from pathlib import Path

SERVER = "10.0.2.2"
SECONDS = 240


def boot(url: str, console: Path) -> str:
    """Boot what the DHCP answer's file name `url` leads to, until it powers off; what its console showed."""
    board = f"-machine pc,accel=tcg -m 512 -display none -monitor none -no-reboot -boot n -serial file:{console}"
    card = f"-netdev user,id=net,bootfile={url} -device virtio-net-pci,netdev=net"
    command = ["qemu-system-x86_64", *board.split(), *card.split()]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as pc:
        try:
            said, _ = pc.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            pc.kill()
            said, _ = pc.communicate()
    shown = console.read_text(errors="replace") if console.exists() else ""
    return shown + said.decode(errors="replace")
