"""What a server process costs: CPU from the kernel's own accounting, threads and children included."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU of a process and its children so far: living threads to the nanosecond, the rest to the clock's tick."""
    total = 0.0
    for child in _tree(pid):
        total += sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{child}/task").glob("*/schedstat")) / 1e9
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        # cutime and cstime (proc(5)): children that were waited for.
        total += (int(fields[13]) + int(fields[14])) / TICKS
    return total


def _tree(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def memory_bytes(pid: int) -> int:
    """Peak resident memory of the process itself."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server that was started here."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
