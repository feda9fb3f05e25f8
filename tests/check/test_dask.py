"""A fleet on a real Dask cluster: a scheduler and two worker processes, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from pvboot.check import dask_fleet
from pvboot.check.dask_fleet import run_on_dask
from pvboot.check.engine import check_source
from pvboot.check.fleet import LIMITS
from pvboot.check.model import CheckOptions, SourceResult
from pvboot.errors import NetworkError
from tests import REPOSITORY
from tests.check.fleets import make_fleet

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]
OPTIONS = CheckOptions()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eight images; do not write to them."""
    return make_fleet(tmp_path_factory.mktemp("fleet"), 8)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A scheduler with two worker processes of one thread each, none of which is started again."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


def worker_pids(address: str) -> list[int]:
    with Client(address, set_as_default=False) as client:
        return sorted(client.run(os.getpid).values())


def test_a_killed_worker_loses_nothing_and_doubles_nothing(guests: list[str], address: str) -> None:
    sources = [guests[number % len(guests)] for number in range(60)] + ["/nowhere"]
    tasks = [(number, source, OPTIONS) for number, source in enumerate(sources)]
    victim = worker_pids(address)[0]
    found: dict[int, SourceResult] = {}
    for number, result in run_on_dask(tasks, address, LIMITS):
        assert number not in found
        found[number] = result
        if len(found) == 20:
            os.kill(victim, signal.SIGKILL)
    assert [found[number] for number in range(len(sources))] == [check_source(source, OPTIONS) for source in sources]


def test_the_report_is_that_of_one_machine(run_cli: RunCli, guests: list[str], address: str, tmp_path: Path) -> None:
    local = run_cli("check", "--format", "json", *guests)
    state = tmp_path / "state"
    there = run_cli("check", "--format", "json", "--dask", address, "--state", state, *guests)
    assert there.stderr == ""
    assert (there.returncode, there.stdout) == (local.returncode, local.stdout)
    assert state.read_bytes().count(b"\n") == len(guests) + 1
    assert len(json.loads(there.stdout)["sources"]) == len(guests)


def test_no_checker_is_left_when_a_worker_ends(guests: list[str], address: str) -> None:
    """Its process is killed in the middle of a batch; the scheduler gives the batch to the other worker."""
    tasks = [(number, guests[number % 8], OPTIONS) for number in range(60)]
    results = run_on_dask(tasks, address, LIMITS)
    next(results)
    workers = worker_pids(address)
    checkers = checker_pids(workers)
    while not checkers:
        checkers = checker_pids(workers)
    os.kill(next(parent_of(pid) for pid in checkers), signal.SIGKILL)
    list(results)
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in checkers):
            return
        time.sleep(0.1)
    raise AssertionError(f"left: {checkers}")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def checker_pids(parents: list[int]) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"pvboot.check.worker" in (folder / "cmdline").read_bytes() and parent_of(int(folder.name)) in parents:
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def test_a_scheduler_that_is_not_there_is_network_trouble(guests: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_fleet, "CONNECT_SECONDS", 2)
    with pytest.raises(NetworkError, match="no Dask scheduler"):
        list(run_on_dask([(0, guests[0], OPTIONS)], "tcp://127.0.0.1:1", LIMITS))


def test_dask_is_only_imported_when_it_is_asked_for(guests: list[str]) -> None:
    code = (
        "import sys; from pvboot.cli.main import main; main(sys.argv[1:]);"
        "print([name for name in ('dask', 'distributed', 'fsspec') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--jobs", "2", *guests[:2]],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
