"""A process that checks one source after the other for a worker of a cluster: `python -m pvboot.check.worker`.

A worker of Dask has threads and must not fork, so that each thread has such a process.  Jobs come as lines of JSON on
standard input, results leave as lines on standard output; it ends with its input.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import BinaryIO, Final

from pvboot.check.codec import decode_options, encode, encode_options
from pvboot.check.fleet import TRIES, check_confined, stopped
from pvboot.check.model import CheckOptions
from pvboot.check.run_entry import RUN_FACTOR
from pvboot.confine.jobs import JobLimits

GRACE_SECONDS: Final = 15.0  # for a process whose child is out of time to say so itself
LINE_LIMIT_BYTES: Final = 256 << 20


class Checker:
    """One such process, started again when it dies, for a thread that waits for each result."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def check(self, source: str, options: CheckOptions, limits: JobLimits) -> bytes:
        """The result of one source as the codec writes it; never raises for what the source holds."""
        line = json.dumps([source, encode_options(options), limits]).encode() + b"\n"
        for _ in range(TRIES):
            answer = self._ask(line, (limits.wall_seconds or 0) * RUN_FACTOR + GRACE_SECONDS)
            if answer.endswith(b"\n"):
                return answer
            self.end()
        return encode(stopped(source, "its checker was ended")).encode()

    def _ask(self, line: bytes, seconds: float) -> bytes:
        """A whole line, or less if the process died or takes too long."""
        if self._process is None:
            path = os.pathsep.join(folder for folder in sys.path if folder)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pvboot.check.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path},
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        deadline = time.monotonic() + seconds
        answer = bytearray()
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            while not answer.endswith(b"\n") and len(answer) < LINE_LIMIT_BYTES:
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    break
                piece = os.read(self._process.stdout.fileno(), 1 << 20)
                if not piece:
                    break
                answer += piece
        except OSError:  # it is gone
            pass
        return bytes(answer)

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve(jobs: BinaryIO, results: BinaryIO) -> None:
    """Work until `jobs` ends."""
    for line in jobs:
        source, options, limits = json.loads(line)
        result = check_confined(source, decode_options(options), JobLimits(*limits))
        results.write(encode(result).encode("ascii") + b"\n")
        results.flush()


def main() -> None:
    """Run as a program.  Whatever is printed by mistake goes to stderr and not between the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its parent's pipe, not with the keyboard
    out = os.dup(1)
    os.dup2(2, 1)
    with open(out, "wb") as results:
        serve(sys.stdin.buffer, results)


if __name__ == "__main__":
    main()
