"""A process that checks sources for a worker of a cluster: `python -m pvboot.check.worker`.

A worker of Dask has threads and must not fork.  Tasks come as lines of JSON on standard input, results leave as lines
on standard output as they are ready.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from pvboot.check import codec
from pvboot.check.fleet import TRIES, Task, run_fleet, stopped
from pvboot.check.model import SourceResult
from pvboot.check.run_entry import RUN_FACTOR
from pvboot.confine.jobs import JobLimits
from pvboot.confine.layers import die_with_parent

GRACE_SECONDS: Final = 15.0  # beyond what its children may take


def check_elsewhere(tasks: Sequence[Task], limits: JobLimits) -> list[SourceResult]:
    """Check the sources in a process of their own, and those that it left when it died in one more."""
    found: dict[int, SourceResult] = {}
    for _ in range(TRIES):
        left = [task for task in tasks if task[0] not in found]
        lines = [json.dumps([*task[:2], codec.encode_options(task[2]), limits]) for task in left]
        seconds = len(left) * (limits.wall_seconds or 0) * RUN_FACTOR + GRACE_SECONDS
        for line in _lines_of(lines, seconds) if left else ():
            number, _, result = line.partition(b" ")
            found[int(number)] = codec.decode(result)
    return [found.get(task[0]) or stopped(task[1], "its checker was ended") for task in tasks]


def _lines_of(lines: list[str], seconds: float) -> list[bytes]:
    """The whole lines that a process says to these; fewer if it dies."""
    path = os.pathsep.join(folder for folder in sys.path if folder)
    command = [sys.executable, "-m", "pvboot.check.worker", str(os.getpid())]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    text = "".join(f"{line}\n" for line in lines).encode()
    try:
        said = subprocess.run(command, input=text, stdout=subprocess.PIPE, env=environment, timeout=seconds).stdout
    except subprocess.TimeoutExpired as err:
        said = err.stdout or b""
    return said.split(b"\n")[:-1]


def main() -> None:
    """Run as a program.  Whatever is printed by mistake goes to stderr and not between the results."""
    die_with_parent(int(sys.argv[1]))
    out = os.dup(1)
    os.dup2(2, 1)
    tasks, limits = [], None
    for line in sys.stdin:
        number, source, options, limits = json.loads(line)
        tasks.append((number, source, codec.decode_options(options)))
    with open(out, "wb") as results:
        for number, result in run_fleet(tasks, 1, JobLimits(*limits or ())):
            results.write(b"%d %s\n" % (number, codec.encode(result).encode()))
            results.flush()


if __name__ == "__main__":
    main()
