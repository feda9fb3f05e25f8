"""Starting an entry in the embedded machine until its first line on the console, in a child with few rights.

The machine makes machine code and needs a thread, so that neither the list of system calls nor the limit of processes
can hold there; every other layer of `pvboot.sandbox` does, and what is missing is reported.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pvboot import sandbox
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from pvboot.kexec.layout import DomainLayout
    from pvboot.machine.outcome import Outcome

# What the machine and its code generator take beside the guest's memory (address space, hardly any of it is touched).
ENGINE_BYTES: Final = 6 << 30
IMPORTABLE: Final = sandbox.IMPORTABLE | {"numpy", "unicorn", "lz4", "backports", "lzallright", "datetime", "locale"}
WALL_FACTOR: Final = 4  # of CPU time: a busy host
WALL_SLACK_SECONDS: Final = 60.0
NOBODY: Final = 65534  # what root becomes in the child
SILENT_SECONDS: Final = 30.0
_NEEDED: Final = ("numpy.ma", "unicorn", "pvboot.handoff.machine", "pvboot.machine.run", "pvboot.machine.kernel_log")
LINE_CHARACTERS: Final = 160
LOG_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Ran:
    """How a start went: `good` if the console showed what was waited for, after `seconds` of CPU time; `line` is the
    console's last line, `reason` how the machine ended.  `missing` are the layers of the sandbox that did not hold."""

    good: bool
    seconds: float
    line: str
    reason: str
    missing: tuple[str, ...] = ()


def run_layout(layout: DomainLayout, until: str | None, cpu_seconds: float) -> Ran:
    """Start a domain and wait for `until` on its console, else for the end of the first line that is not blank.

    Raises `SandboxError` if the child had to be stopped.
    """
    # Nothing can be loaded any more once the child has given up its rights.
    for name in _NEEDED:
        import_module(name)
    limit = max(1, int(cpu_seconds) + 1)
    limits = sandbox.Limits(
        think_seconds=limit + 5,
        cpu_seconds=limit + 10,
        memory_bytes=layout.nr_pages * 4096 * 2 + ENGINE_BYTES,
        file_bytes=layout.nr_pages * 4096 + (64 << 20),
        wall_seconds=limit * WALL_FACTOR + WALL_SLACK_SECONDS,
        makes_code=True,
    )

    def job(channel: sandbox.Channel) -> None:
        channel.send("ran", json.dumps(_start(layout, until, cpu_seconds)))

    report = sandbox.run(job, keep=_descriptors(), limits=limits, uid=NOBODY, importable=IMPORTABLE)
    messages = dict(report.messages)
    if "ran" not in messages:
        detail = messages.get("error", b"the child said nothing").decode("utf-8", "replace")
        raise sandbox.SandboxError("the entry could not be started", found=detail)
    return Ran(**json.loads(messages["ran"]), missing=tuple(report.missing))


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


def _start(layout: DomainLayout, until: str | None, cpu_seconds: float) -> dict[str, Any]:
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
    return {
        "good": good,
        "seconds": round(outcome.cpu_seconds, 2),
        "line": _line(tail, until),
        "reason": "" if good else _reason(outcome),
    }


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
    return safe(text[:500])
