"""The bounds of a run, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pvboot.machine.domain import Call
from pvboot.machine.space import WalkStep


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Bounds of one run.  CPU seconds are those of the thread that runs the guest.

    `silent_seconds`: CPU time without console output; `idle_seconds`: time the guest spends asleep without any;
    `wall_seconds`: time by the clock, whatever the guest does.  None means no bound.
    """

    cpu_seconds: float | None = 60.0
    silent_seconds: float | None = 30.0
    idle_seconds: float | None = 30.0
    wall_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The state a guest was left in, for people to understand a failure."""

    registers: dict[str, int]
    in_kernel: bool
    hypercalls: tuple[Call, ...]
    fault_address: int | None
    fault_walk: tuple[WalkStep, ...]
    stack: tuple[int, ...]
    kernel_log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run.

    reason: poweroff, reboot, suspend, crash, watchdog (the guest's shutdown), until (the pattern was seen), cpu-limit,
    time-limit, silent, halted (nothing can wake the guest), fault (the CPU engine cannot go on), stopped (by
    `Machine.stop`).  `first_hypercall`, `first_console`: CPU seconds from the first run on.
    """

    reason: str
    code: int | None
    detail: str
    cpu_seconds: float
    counters: dict[str, int]
    first_hypercall: float | None
    first_console: float | None
    console_tail: bytes = b""
    report: Report | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the guest ended as guests should, or showed what was waited for."""
        return self.reason in ("poweroff", "reboot", "suspend", "until")


def summary(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain data, without console and report."""
    return {
        "reason": outcome.reason,
        "code": outcome.code,
        "detail": outcome.detail,
        "cpu_seconds": round(outcome.cpu_seconds, 3),
        "first_console_cpu_seconds": outcome.first_console,
        "counters": outcome.counters,
    }


def describe(outcome: Outcome) -> list[str]:
    """The outcome in lines of text, with the report if there is one."""
    code = f" (code {outcome.code})" if outcome.code is not None else ""
    lines = [f"guest ended: {outcome.reason}{code} after {outcome.cpu_seconds:.1f} CPU seconds"]
    if outcome.detail:
        lines.append(f"  {outcome.detail}")
    if outcome.report is not None:
        lines += describe_report(outcome.report)
    return lines


def describe_report(report: Report) -> list[str]:
    """A report in lines of text."""
    lines = [f"registers ({'kernel' if report.in_kernel else 'user'} mode):"]
    pairs = [f"{name}={value:#x}" for name, value in report.registers.items()]
    lines += ["  " + " ".join(pairs[at : at + 6]) for at in range(0, len(pairs), 6)]
    if report.fault_address is not None:
        lines.append(f"last page fault at {report.fault_address:#x}:")
        for step in report.fault_walk:
            lines.append(f"  L{step.level} frame {step.table_mfn:#x}[{step.index}] = {step.entry:#x}")
    if report.stack:
        lines.append("stack: " + " ".join(f"{word:#x}" for word in report.stack))
    if report.hypercalls:
        lines.append("last hypercalls:")
        for call in report.hypercalls:
            arguments = ", ".join(f"{argument:#x}" for argument in call.arguments)
            lines.append(f"  {call.name}({arguments}) = {call.result}")
    if report.kernel_log:
        lines.append("the kernel's own log, found in its memory:")
        lines += [f"  | {line}" for line in report.kernel_log]
    return lines
