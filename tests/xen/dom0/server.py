"""Serves the host from inside dom0: runs its commands, one request a line of JSON, and answers with one line each.

    {"argv": [...], "seconds": N}                       run a command
    {"argv": [...], "seconds": N, "steps": [[R, K]]}    run it on a terminal; each time the output shows the regular
                                                        expression R, type the keys K, then look for the next R

Answer: {"status": exit status, null when the time ran out, "output": text, "steps": how many were done}.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from typing import Any

OUTPUT_LIMIT = 1 << 20
KEY_PAUSE_SECONDS = 0.3  # a program may throw away what was typed before it had set up the terminal


def run_command(argv: list[str], seconds: float) -> dict[str, Any]:
    """Run a command without input; when time runs out its whole process group is killed."""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
            status: int | None = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            status = None
    return {"status": status, "output": output[-OUTPUT_LIMIT:].decode("utf-8", "replace"), "steps": 0}


def run_on_terminal(argv: list[str], seconds: float, steps: list[list[str]]) -> dict[str, Any]:
    """Run a command on a fresh pty and answer what it shows with keys."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    deadline = time.monotonic() + seconds
    output = bytearray()
    seen = done = 0
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            break
        output += data
        while done < len(steps) and (match := re.compile(steps[done][0].encode()).search(output, seen)):
            seen = match.end()
            time.sleep(KEY_PAUSE_SECONDS)
            os.write(terminal, steps[done][1].encode())
            done += 1
    else:
        os.killpg(pid, signal.SIGKILL)
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if left > 0 else None
    return {"status": status, "output": output[-OUTPUT_LIMIT:].decode("utf-8", "replace"), "steps": done}


def main(port: str) -> None:
    """Greet, then serve until the host is gone."""
    with open(port, "r+b", buffering=0) as channel:
        channel.write(b'{"ready": true}\n')
        pending = b""
        while data := channel.read(65536):
            pending += data
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                request = json.loads(line)
                try:
                    if "steps" in request:
                        answer = run_on_terminal(request["argv"], request["seconds"], request["steps"])
                    else:
                        answer = run_command(request["argv"], request["seconds"])
                except OSError as err:
                    answer = {"status": 127, "output": str(err), "steps": 0}
                channel.write(json.dumps(answer).encode() + b"\n")


main(sys.argv[1])
