"""PV guests on the real Xen: their configuration, their start by `xl create`, what they said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.xen.machine import Machine

GUEST_SECONDS = 150  # Debian's kernel takes some ten under emulation when the host is idle
LOOP_DEVICE = "/dev/loop0"

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A guest that ended: `xl`'s exit status (None: it did not end in time) and output, what the guest wrote to its
    console, what its boot loader wrote, and, when keys were typed, the whole screen and the number of steps taken."""

    status: int | None
    xl: str
    console: str
    bootloader: str
    steps: int

    def __str__(self) -> str:
        sections = (("xl", self.xl), ("boot loader", self.bootloader), ("console", self.console))
        text = "\n".join(f"--- {title}\n{content}" for title, content in sections)
        return f"status {self.status}, {self.steps} steps\n{text}"


def put(machine: Machine, source: Path) -> str:
    """Put a file into the machine's share and return its name in dom0."""
    folder = machine.share / "files"
    folder.mkdir(exist_ok=True)
    target = folder / f"{next(_numbers)}-{source.name}"
    shutil.copy(source, target)
    return f"/host/files/{target.name}"


def run_guest(
    machine: Machine,
    *,
    disk: Path | None = None,
    bootloader: str | None = None,
    bootloader_args: Sequence[str] = (),
    kernel: Path | None = None,
    ramdisk: Path | None = None,
    command_line: str | None = None,
    memory_mib: int = 128,
    steps: Sequence[tuple[str, str]] | None = None,
) -> Outcome:
    """Create a PV guest, wait for its end (it is not restarted) and collect what was said.

    With `steps` its console is attached from the start and keys are typed, the boot loader's menu included.
    """
    name = f"guest{next(_numbers)}"
    settings: dict[str, object] = {
        "name": name,
        "type": "pv",
        "vcpus": 1,
        "memory": memory_mib,
        "maxmem": memory_mib,
        "on_poweroff": "destroy",
        "on_reboot": "destroy",
        "on_crash": "destroy",
    }
    if disk is not None:
        attached = machine.run("losetup", "-r", LOOP_DEVICE, put(machine, disk))
        assert attached.status == 0, attached.output
        # phy: a device's name is given to the boot loader as it is.
        settings["disk"] = [f"format=raw,vdev=xvda,access=r,backendtype=phy,target={LOOP_DEVICE}"]
    if bootloader is not None:
        settings["bootloader"] = bootloader
        settings["bootloader_args"] = list(bootloader_args)
    if kernel is not None:
        settings["kernel"] = put(machine, kernel)
    if ramdisk is not None:
        settings["ramdisk"] = put(machine, ramdisk)
    if command_line is not None:
        settings["cmdline"] = command_line
    try:
        return create(machine, name, settings, steps)
    finally:
        if disk is not None:
            machine.run("losetup", "-d", LOOP_DEVICE)


def create(
    machine: Machine, name: str, settings: dict[str, object], steps: Sequence[tuple[str, str]] | None
) -> Outcome:
    """`xl create` with a configuration file of `settings`."""
    config = machine.share / f"{name}.cfg"
    # xl's lists and strings are written as JSON's; its quotes know the same escapes.
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    attach = ("-c",) if steps is not None else ()
    answer = machine.run("xl", "create", *attach, "-F", f"/host/{name}.cfg", seconds=GUEST_SECONDS, steps=steps)
    if answer.status is None:
        machine.run("xl", "destroy", name)
    console = machine.run("sh", "-c", f"sleep 0.3; cat /var/log/xen/console/guest-{name}.log")
    bootloader = machine.run("sh", "-c", "cd /var/log/xen; cat bootloader.*.log 2>/dev/null; rm -f bootloader.*.log")
    return Outcome(
        answer.status,
        answer.output.replace("\r", ""),
        console.output.replace("\r", "") if console.status == 0 else "",
        bootloader.output.replace("\r", "") if bootloader.status == 0 else "",
        answer.steps,
    )
