"""What a server costs: CPU from the kernel's own accounting, all its threads and children, dead or alive."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType


class Group:
    """A control group (cgroup2, root only) of a server; `with` removes it when its processes have ended."""

    def __init__(self) -> None:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        places = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
        if not places:
            raise SystemExit("no cgroup2 is mounted: the CPU of servers that fork cannot be told")
        self._folder = Path(tempfile.mkdtemp(prefix="pvboot-bench-", dir=places[0]))

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A process leaves its group a moment after it has been waited for.
        for _ in range(100):
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)
                return
            time.sleep(0.02)

    def wrap(self, command: list[str]) -> list[str]:
        """The command, started inside the group."""
        return ["sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh", *command]

    def cpu_seconds(self) -> float:
        """CPU that all its processes have used since it was made."""
        line = (self._folder / "cpu.stat").read_text().splitlines()[0]
        return int(line.removeprefix("usage_usec ")) / 1e6


def memory_bytes(pid: int) -> int:
    """Peak resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


@contextlib.contextmanager
def running(command: list[str], cwd: Path, ready: Callable[[], bool]) -> Iterator[tuple[int, Group]]:
    """A server in the foreground that is `ready`; its process id and group.  Ended by SIGTERM."""
    with Group() as group:
        silent = subprocess.DEVNULL
        process = subprocess.Popen(group.wrap(command), cwd=cwd, stdout=silent, stderr=silent)
        try:
            while not ready():
                if process.poll() is not None:
                    raise SystemExit(f"{command[0]} ended with {process.returncode}")
                time.sleep(0.05)
            yield process.pid, group
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
