"""Starting an entry in the embedded machine until its first line on the console, in a confined child.

The machine makes machine code and needs a thread; everything else is kept from it, and what is not is reported.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pvboot.check.model import CheckOptions
from pvboot.confine import layers, parent, preload
from pvboot.confine.child import Channel
from pvboot.confine.jobs import CODE, Grants, Job, JobLimits, Message, SandboxError
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from pvboot.kexec.layout import DomainLayout
    from pvboot.machine.outcome import Outcome

# What the machine and its code generator take beside the guest's memory (address space, hardly any of it is touched).
ENGINE_BYTES: Final = 6 << 30
RUN_FACTOR: Final = 10  # starting every entry takes its time, and has limits of its own for each
WALL_FACTOR: Final = 4  # of CPU time: a busy host
WALL_SLACK_SECONDS: Final = 60.0
SILENT_SECONDS: Final = 30.0
LINE_CHARACTERS: Final = 160
REASON_CHARACTERS: Final = 500
LOG_LINES: Final = 3
_DEFAULT_MIB: Final = 512


@dataclass(frozen=True, slots=True)
class Ran:
    """How a start went: `good` if the console showed what was waited for, after `seconds` of CPU time; `line` is the
    console's last line, `reason` how the machine ended.  `missing` are the layers of the sandbox that did not hold."""

    good: bool
    seconds: float
    line: str
    reason: str
    missing: tuple[str, ...] = ()


def _read_ran(data: bytes) -> Ran:
    """What a child says of its guest's start.  Raises `ValueError`."""
    good, seconds, line, reason = json.loads(data)
    if type(good) is not bool or type(seconds) is not float or not 0 <= seconds < 1e9:
        raise ValueError("impossible facts")
    if not (isinstance(line, str) and isinstance(reason, str)):
        raise ValueError("no texts")
    return Ran(good, seconds, safe(line[:LINE_CHARACTERS]), safe(reason[:REASON_CHARACTERS]))


MACHINE: Final = Job(
    "pvboot-machine",
    "the child that runs the entry",
    "running the entry",
    {"ran": Message(64 << 10, _read_ran, final=True)},
    rights=CODE,
)


def run_limits(options: CheckOptions, limits: JobLimits) -> JobLimits:
    """The limits for checking a source whose entries are run in the same child."""
    guest = (options.memory_mib or _DEFAULT_MIB) << 20
    wall = (limits.wall_seconds or 0) * RUN_FACTOR
    return JobLimits(2 * wall, 2 * wall, limits.memory_bytes + 2 * guest + ENGINE_BYTES, guest + (64 << 20), wall)


def run_layout(layout: DomainLayout, until: str | None, cpu_seconds: float) -> Ran:
    """Start a domain and wait for `until` on its console, else for the end of the first line that is not blank.

    A confined process does so itself.  Raises `SandboxError` if the child had to be stopped.
    """
    if layers.is_confined():
        return replace(_start(layout, until, cpu_seconds), missing=layers.missing_layers())
    preload.preload("machine")
    limit = max(1, int(cpu_seconds) + 1)
    guest = layout.nr_pages * 4096
    limits = JobLimits(
        parse_seconds=limit + 5,
        cpu_seconds=limit + 10,
        memory_bytes=guest * 2 + ENGINE_BYTES,
        file_bytes=guest + (64 << 20),
        wall_seconds=limit * WALL_FACTOR + WALL_SLACK_SECONDS,
    )

    def work(channel: Channel) -> None:
        ran = _start(layout, until, cpu_seconds)
        channel.send("ran", json.dumps([ran.good, ran.seconds, ran.line, ran.reason]).encode())

    report = parent.run(MACHINE, work, Grants(tuple(_descriptors())), limits)
    ran = report.get("ran")
    if not isinstance(ran, Ran):
        raise SandboxError("the entry could not be started", found=str(report.get("error") or "the child said nothing"))
    return replace(ran, missing=tuple(report.missing))


def _descriptors() -> set[int]:
    """The guest's disks and files among what this process has open: whatever can be read and not written."""
    return {int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2 and _is_readable_file(int(name))}


def _is_readable_file(number: int) -> bool:
    try:
        mode = os.fstat(number).st_mode
        access = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False  # the listing's own descriptor
    return (stat.S_ISREG(mode) or stat.S_ISBLK(mode)) and access == os.O_RDONLY


def _start(layout: DomainLayout, until: str | None, cpu_seconds: float) -> Ran:
    from pvboot.handoff.machine import start_by_kexec
    from pvboot.machine.machine import Machine
    from pvboot.machine.outcome import RunLimits

    machine = Machine(layout.width, layout.nr_pages, strict=True, output=lambda _data: None)
    start_by_kexec(machine, layout)
    limits = RunLimits(cpu_seconds=cpu_seconds, silent_seconds=SILENT_SECONDS, idle_seconds=SILENT_SECONDS)
    wanted = os.fsencode(until) if until else b"\n"
    outcome = machine.run(limits, wanted)
    tail = outcome.console_tail
    while until is None and outcome.reason == "until" and not tail.strip():
        outcome = machine.run(limits, wanted)  # an empty line says nothing
        tail += outcome.console_tail
    good = outcome.reason == "until"
    seconds = float(round(outcome.cpu_seconds, 2))
    return Ran(good, seconds, _line(tail, until), "" if good else _reason(outcome))


def _line(tail: bytes, until: str | None) -> str:
    """The line that was waited for, else the last one."""
    lines = [line.strip() for line in tail.decode("utf-8", "replace").splitlines() if line.strip()]
    if until is not None:
        lines = [line for line in lines if until in line] or lines
    return safe(lines[-1][:LINE_CHARACTERS]) if lines else ""


def _reason(outcome: Outcome) -> str:
    text = f"{outcome.reason}{f': {outcome.detail}' if outcome.detail else ''}"
    if outcome.report is not None and outcome.report.kernel_log:
        text += "; its log ends: " + " | ".join(outcome.report.kernel_log[-LOG_LINES:])
    return safe(text[:REASON_CHARACTERS])
