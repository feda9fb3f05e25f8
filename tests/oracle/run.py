"""Run the oracle and read its JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BUILT, REFUSED, CRASHED = 0, 1, 3  # 2 is wrong usage


class OracleError(Exception):
    """The oracle itself did not work."""


def run_oracle(oracle: Path, kernel: Path | str, *args: Path | str, timeout: int = 30) -> dict[str, Any]:
    """The oracle's JSON for one kernel; `args` are its options, `timeout` (seconds) ends a hanging builder.

    `oracle` is the folder that tests.oracle.build.ensure gives.  Raises OracleError.
    """
    command = [oracle / "oracle", kernel, "--quiet", "--timeout", str(timeout), "--json", "-", *args]
    done = subprocess.run(list(map(str, command)), capture_output=True)
    if done.returncode not in (BUILT, REFUSED, CRASHED):
        raise OracleError(f"{kernel} {args}: {done.stderr.decode(errors='replace').strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_many(
    oracle: Path, runs: Iterable[Sequence[Path | str]], *, timeout: int = 30, jobs: int | None = None
) -> list[dict[str, Any]]:
    """`run_oracle` for many (kernel, *args), side by side; results in the order of `runs`."""
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        return list(pool.map(lambda each: run_oracle(oracle, each[0], *each[1:], timeout=timeout), runs))
